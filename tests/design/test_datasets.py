from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ablate.design.datasets import DIGESTS, EMBEDDED, KNOWN, describe
from ablate.design.study import DataSpec
from ablate.errors import DataError


def write(path: Path) -> Path:
    images, labels = np.zeros((6, 9, 8, 3), np.uint8), np.arange(6) % 2
    np.savez(path, train_images=images, train_labels=labels, test_images=images[:4], test_labels=labels[:4])
    return path


def test_a_known_set_is_described_without_its_file(tmp_path: Path) -> None:
    info = describe(DataSpec(name="cifar100"), tmp_path)
    assert (info.channels, info.height, info.width, info.num_classes) == (3, 32, 32, 100)
    assert (info.num_train, info.num_test, info.digest) == (50_000, 10_000, "")


def test_an_npz_of_ones_own_is_described_from_its_content(tmp_path: Path) -> None:
    info = describe(DataSpec(name=str(write(tmp_path / "own.npz"))))
    assert (info.channels, info.height, info.width, info.num_classes) == (3, 9, 8, 2)
    assert (info.num_train, info.num_test, len(info.digest)) == (6, 4, 16)


def test_a_relative_path_is_looked_for_here_and_then_below_the_data_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "root").mkdir()
    write(tmp_path / "root" / "own.npz")
    monkeypatch.chdir(tmp_path / "here")
    assert describe(DataSpec(name="own.npz"), tmp_path / "root").num_train == 6
    with pytest.raises(DataError, match="is missing"):
        describe(DataSpec(name="own.npz"), tmp_path / "here")


def test_an_unknown_name_gets_the_nearest_right_one() -> None:
    with pytest.raises(DataError, match="got 'fashon_mnist'; did you mean 'fashion_mnist'"):
        describe(DataSpec(name="fashon_mnist"))


def test_every_embedded_set_is_known_and_has_a_digest() -> None:
    assert set(EMBEDDED) <= set(KNOWN)
    assert set(EMBEDDED) <= set(DIGESTS) <= set(KNOWN)


def test_describing_a_known_set_loads_neither_numpy_nor_torch() -> None:
    code = (
        "import sys; from ablate.design.datasets import describe; from ablate.design.study import DataSpec; "
        "describe(DataSpec()); print({'numpy', 'torch'} & set(sys.modules))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"
