from __future__ import annotations

import contextlib
import functools
import importlib
import io
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

Run = Callable[..., subprocess.CompletedProcess[str]]

# how many examples a property is tried on: in the ordinary session, and in the slow one
settings.register_profile("ordinary", max_examples=25, deadline=None)
settings.register_profile("thorough", max_examples=300, deadline=None)
settings.load_profile("ordinary")


@pytest.fixture(autouse=True, scope="session")
def interruptible() -> None:
    """A shell that starts the tests in the background has them ignore Ctrl-C, and what they start inherits that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def command() -> Run:
    """``command("study", "relu6", "--plan", cwd=folder)``: what a command prints and returns, in this process."""

    def run(module: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        main = importlib.import_module(f"ablate.{module}").main
        out, errors = io.StringIO(), io.StringIO()
        with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            try:
                status = main(list(arguments))
            except SystemExit as end:  # argparse
                status = int(end.code or 0)
        return subprocess.CompletedProcess(arguments, status, out.getvalue(), errors.getvalue())

    return run


@pytest.fixture(scope="session")
def empty_views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the empty databases of both views, which take seconds to make."""
    import mlflow.store.db.utils as schema

    from ablate.campaign.mlflow_view import MlflowView
    from ablate.campaign.optuna_view import OptunaView

    # of the installed MLflow: it reads 67 files to find out, each time a store is opened
    schema._get_latest_schema_revision = functools.cache(schema._get_latest_schema_revision)
    folder = tmp_path_factory.mktemp("views")
    assert MlflowView(f"sqlite:///{folder}/mlflow.db", folder).trial_runs("none") == []
    optuna = OptunaView(folder)
    optuna._connect()
    optuna.close()
    return folder


@pytest.fixture
def runs(tmp_path: Path, empty_views: Path) -> Path:
    """A runs folder with empty views in it."""
    return with_empty_views(tmp_path / "runs", empty_views)


@pytest.fixture(scope="session")
def new_runs(empty_views: Path) -> Callable[[Path], Path]:
    """Makes a folder a runs folder with empty views in it."""
    return functools.partial(with_empty_views, empty_views=empty_views)


def with_empty_views(folder: Path, empty_views: Path) -> Path:
    folder.mkdir(parents=True)
    for name in ("mlflow.db", "optuna.db"):
        shutil.copy(empty_views / name, folder / name)
    return folder
