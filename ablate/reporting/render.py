"""The report notebook, executed for one study: an .ipynb and a self-contained .html, figures beside them."""

from __future__ import annotations

import html
import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ablate
from ablate.errors import AblateError
from ablate.files import write_whole
from ablate.paths import tracking_uri as resolve_uri

if TYPE_CHECKING:
    from jupyter_client.manager import AsyncKernelManager
    from nbformat import NotebookNode

NOTEBOOK = "study_report.py"
CELL_TIMEOUT_S = 600
QUIET = "ignore:IProgress not found"  # tqdm looks for widgets that a report has no use for


class ReportError(AblateError):
    """The report could not be made; the message says which cell failed and why."""


def render_report(
    study_name: str, *, runs: Path, tracking_uri: str | None = None, digest: str | None = None, log: bool = True
) -> Path:
    """Executes the report notebook for a study that MLflow holds.

    Args:
        study_name: the study's name.
        runs: the runs folder; the report goes to ``runs/reports/NAME/``.
        tracking_uri: the MLflow store; None: $MLFLOW_TRACKING_URI, or sqlite in ``runs``.
        digest: which campaign; None: the newest.
        log: also keep the report with the campaign's run in MLflow, and the verdicts as its note.

    Returns:
        The page, ``report.html``; beside it ``report.ipynb`` and ``figures/`` (SVG and PNG).

    Raises:
        AblateError: there is no such campaign, a cell of the notebook failed, or the disk will not do.
    """
    runs = runs.resolve()
    uri = resolve_uri(runs, tracking_uri)
    folder = runs / "reports" / study_name
    try:
        # another campaign of this study may have drawn more of them
        shutil.rmtree(folder / "figures", ignore_errors=True)
        notebook = execute({"study_name": study_name, "digest": digest}, runs=runs, uri=uri)
        write_whole(folder / "report.ipynb", _as_json(notebook).encode())
        page = folder / "report.html"
        write_whole(page, as_page(notebook, study_name).encode())
        if log:
            _log(folder, study_name, runs, uri, digest)
    except OSError as error:
        where = error.filename or folder
        raise ReportError(
            f"{where}: the report cannot be written ({error.strerror or error}); records and verdicts are kept"
        ) from error
    return page


def _log(folder: Path, study_name: str, runs: Path, uri: str, digest: str | None) -> None:
    from ablate.campaign.tracking import Tracking

    tracking = Tracking(uri, runs / "artifacts")
    found = tracking.find_campaign(study_name, digest)
    if found is not None:
        tracking.log_report(found.run_id, folder, (folder / "verdicts.md").read_text(encoding="utf-8"))


def find_notebook() -> Path:
    """The notebook's source: in the installed package, else in the checkout beside it.

    Raises:
        ReportError: it is in neither place.
    """
    package = Path(ablate.__file__).parent
    places = [package / "reports" / NOTEBOOK, package.parent / "reports" / NOTEBOOK]
    for place in places:
        if place.is_file():
            return place
    raise ReportError(f"{NOTEBOOK}: found neither as {places[0]} nor as {places[1]}; install ablate again")


def execute(parameters: dict[str, str | None], *, runs: Path, uri: str) -> NotebookNode:
    """The notebook with its outputs, run by this interpreter in a folder of its own.

    Args:
        parameters: set in a cell after the notebook's own ``parameters`` cell.
        runs: the runs folder.
        uri: of the MLflow store; it reaches the kernel through the environment alone, since it may hold a password.

    Raises:
        ReportError: a cell failed, with the last line of its error.
    """
    import jupytext
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError

    notebook: NotebookNode = jupytext.read(find_notebook())
    assigned = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
    own = [i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", [])]
    notebook.cells.insert(own[0] + 1, _cell(assigned))
    environment = {**os.environ, **_environment(runs, uri)}
    with tempfile.TemporaryDirectory(prefix="ablate-report-") as folder:
        client = NotebookClient(
            notebook, timeout=CELL_TIMEOUT_S, startup_timeout=CELL_TIMEOUT_S, iopub_timeout=60, record_timing=False,
            resources={"metadata": {"path": folder}}, kernel_name="python3",
            kernel_manager_class=_this_interpreter(Path(folder)),
        )  # fmt: skip
        try:
            client.execute(env=environment)
        except CellExecutionError as error:
            raise ReportError(f"the report of {parameters['study_name']}: {error.ename}: {error.evalue}") from error
        except (CellTimeoutError, RuntimeError) as error:  # the kernel died, or did not start
            raise ReportError(f"the report of {parameters['study_name']}: {error}") from error
    return notebook


def _environment(runs: Path, uri: str) -> dict[str, str]:
    settings = {"ABLATE_RUNS": str(runs), "MLFLOW_TRACKING_URI": uri, "MPLBACKEND": "agg", "PYTHONWARNINGS": QUIET}
    home = str(Path(ablate.__file__).parents[1])
    if home not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):  # a checkout that is not installed
        settings["PYTHONPATH"] = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH", "")]))
    return settings


def _this_interpreter(folder: Path) -> type[AsyncKernelManager]:
    """A kernel manager whose every kernel is this interpreter, whatever kernels are installed on the machine.

    It talks through sockets in ``folder`` instead of open ports, where the system has such.
    """
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from traitlets import default

    class ThisInterpreter(KernelSpecManager):
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=40"]
            return KernelSpec(argv=command, display_name="Python 3", language="python", name=kernel_name)

    class Manager(AsyncKernelManager):
        @default("kernel_spec_manager")
        def _every_spec_is_this_interpreter(self) -> KernelSpecManager:
            return ThisInterpreter(parent=self)

        @default("transport")
        def _no_open_port(self) -> str:
            return "tcp" if sys.platform == "win32" else "ipc"

        @default("ip")
        def _socket(self) -> str:
            return "127.0.0.1" if self.transport == "tcp" else str(folder / "kernel")

    return Manager


def _cell(source: str) -> NotebookNode:
    from nbformat import v4

    made: NotebookNode = v4.new_code_cell(source, metadata={"tags": ["injected-parameters"]})  # type: ignore[no-untyped-call]
    return made


def _as_json(notebook: NotebookNode) -> str:
    import nbformat

    return str(nbformat.writes(notebook))  # type: ignore[no-untyped-call]


def as_page(notebook: NotebookNode, title: str) -> str:
    """The outputs as one page that loads nothing: no script, no font, no style sheet, no image from elsewhere."""
    from nbconvert import HTMLExporter

    exporter: Any = HTMLExporter(  # type: ignore[no-untyped-call]
        template_name="basic", exclude_input=True, exclude_input_prompt=True, exclude_output_prompt=True,
        exclude_anchor_links=True, exclude_markdown=True,
    )  # fmt: skip
    resources: dict[str, Any] = {"metadata": {"name": title}}
    body, _ = exporter.from_notebook_node(notebook, resources)
    style = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )
