"""The report notebook, executed for one campaign: an .ipynb with its outputs, which can be run again in its folder."""

from __future__ import annotations

import os
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import ablate
from ablate.files import write_whole
from ablate.reporting.folders import ReportError, writing
from ablate.reporting.results import Results

if TYPE_CHECKING:
    from jupyter_client.manager import AsyncKernelManager
    from nbformat import NotebookNode

NOTEBOOK = "study_report.ipynb"
CELL_TIMEOUT_S = 600
QUIET = "ignore:IProgress not found"  # tqdm looks for widgets that a report has no use for


def execute_notebook(results: Results, folder: Path, *, runs: Path) -> Path:
    """Executes the report notebook for a campaign, with this interpreter.

    The notebook in ``folder`` holds the way to the runs folder, relative to itself where both lie in one tree, so that
    "Run all" works there.

    Args:
        results: whose study and campaign the notebook shows.
        folder: where it goes; it runs there too.
        runs: the runs folder that it loads the campaign from.

    Returns:
        ``folder/report.ipynb``.

    Raises:
        ReportError: a cell failed, with the last line of its error, or the folder cannot be written.
    """
    import nbformat

    study = results.plan.study
    notebook = read_notebook()
    _set_parameters(
        notebook, {"study_name": study.name, "digest": study.digest, "runs": _way(folder.resolve(), runs.resolve())}
    )
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _execute(notebook, folder, study.name)
        text = str(nbformat.writes(notebook))  # type: ignore[no-untyped-call]
        write_whole(folder / "report.ipynb", text.encode())
    return folder / "report.ipynb"


def _way(folder: Path, runs: Path) -> str:
    """From the folder to the runs folder; relative where the folder lies in it, so that both can move together."""
    return os.path.relpath(runs, folder) if folder.is_relative_to(runs) else str(runs)


def read_notebook() -> NotebookNode:
    """The notebook as it was written, without outputs.

    Raises:
        ReportError: it is missing.
    """
    import nbformat

    place = find_notebook()
    notebook: NotebookNode = nbformat.read(place, as_version=4)  # type: ignore[no-untyped-call]
    return notebook


def find_notebook() -> Path:
    """The notebook: in the installed package, else in the checkout beside it.

    Raises:
        ReportError: it is in neither place.
    """
    package = Path(ablate.__file__).parent
    places = [package / "reports" / NOTEBOOK, package.parent / "reports" / NOTEBOOK]
    for place in places:
        if place.is_file():
            return place
    raise ReportError(f"{NOTEBOOK}: found neither as {places[0]} nor as {places[1]}; install ablate again")


def _set_parameters(notebook: NotebookNode, parameters: dict[str, str]) -> None:
    """Replaces the cell that is tagged ``parameters``."""
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    cell.source = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())


def _execute(notebook: NotebookNode, folder: Path, name: str) -> None:
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError

    with tempfile.TemporaryDirectory(prefix="ablate-report-") as sockets:
        client = NotebookClient(
            notebook, timeout=CELL_TIMEOUT_S, startup_timeout=CELL_TIMEOUT_S, iopub_timeout=60, record_timing=False,
            resources={"metadata": {"path": str(folder)}}, kernel_name="python3",
            kernel_manager_class=_this_interpreter(Path(sockets)),
        )  # fmt: skip
        try:
            client.execute(env={**os.environ, **_environment()})
        except CellExecutionError as error:
            raise ReportError(f"the notebook of {name}: {error.ename}: {error.evalue}") from error
        except (CellTimeoutError, RuntimeError) as error:  # the kernel died, or did not start
            raise ReportError(f"the notebook of {name}: {error}") from error


def _environment() -> dict[str, str]:
    settings = {"MPLBACKEND": "agg", "PYTHONWARNINGS": QUIET}
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
