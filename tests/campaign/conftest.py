from __future__ import annotations

import multiprocessing.util
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
