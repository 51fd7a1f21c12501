from __future__ import annotations

import multiprocessing.util
import shutil
import sys
from pathlib import Path

import pytest

# so that workers, which inherit the path, find the trainers of these tests by name
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True, scope="session")
def own_folder_of_multiprocessing() -> None:
    """Made before a test moves tempfile's folder: it is removed at the very end, when that test's is long gone."""
    multiprocessing.util.get_temp_dir()


@pytest.fixture(autouse=True)
def own_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def empty_views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the empty databases of both views, which take seconds to make."""
    from ablate.campaign.mlflow_view import MlflowView
    from ablate.campaign.optuna_view import OptunaView

    folder = tmp_path_factory.mktemp("views")
    assert MlflowView(f"sqlite:///{folder}/mlflow.db", folder).trial_runs("none") == []
    optuna = OptunaView(folder)
    optuna._connect()
    optuna.close()
    return folder


@pytest.fixture
def runs(tmp_path: Path, empty_views: Path) -> Path:
    """A runs folder with empty views in it."""
    folder = tmp_path / "runs"
    folder.mkdir()
    for name in ("mlflow.db", "optuna.db"):
        shutil.copy(empty_views / name, folder / name)
    return folder
