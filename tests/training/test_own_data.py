"""Data of the user's own: a function's arrays or Datasets, and folders of images, made into an .npz once."""

from __future__ import annotations

import io
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ablate.campaign.local import run_in_subprocess
from ablate.campaign.options import RunOptions
from ablate.campaign.planning import prepare_own
from ablate.campaign.trained import kept_nets
from ablate.design.datasets import describe
from ablate.design.own_data import prepared_own
from ablate.design.plan import make_plan
from ablate.design.read import load_study
from ablate.design.study import DataSpec, Study
from ablate.errors import DataError
from ablate.training.data import load_images
from ablate.training.own_data import FORMATS, make_own
from ablate.training.pictures import open_picture

DATA_PY = """
import numpy as np
import torch

images = np.arange(12 * 4 * 4 * 3, dtype=np.uint8).reshape(12, 4, 4, 3)
labels = np.arange(12) % 3


class Pairs(torch.utils.data.Dataset):
    classes = ["cat", "dog", "owl"]

    def __init__(self, part, floats):
        self.part, self.floats = part, floats

    def __len__(self):
        return len(labels[self.part])

    def __getitem__(self, index):
        image = torch.from_numpy(images[self.part][index]).permute(2, 0, 1)
        return (image / 255 if self.floats else image), labels[self.part][index]


def arrays():
    return {"train_images": images[:9], "train_labels": labels[:9], "test_images": images[9:],
            "test_labels": labels[9:], "class_names": ["cat", "dog", "owl"]}


def datasets(floats=True):
    return Pairs(slice(0, 9), floats), Pairs(slice(9, 12), floats)


def of_bytes():
    return datasets(floats=False)


def nothing():
    pass


def lacks():
    return {"train_images": images}


def misnamed():
    return {**arrays(), "testing": 1}


def normalised():
    return [[(torch.full((1, 4, 4), -2.0), 0)]] * 2


def uneven():
    return [[(np.zeros((size, 4), np.uint8), size % 2) for size in (4, 5)]] * 2


def raises():
    return 1 / 0
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "data_of_mine.py").write_text(DATA_PY)
    yield tmp_path / "root"
    sys.modules.pop("data_of_mine", None)


def made(name: str, root: Path) -> dict[str, Any]:
    path = prepared_own(name, root)
    make_own(name, path, root, lambda _: None)
    with np.load(path) as content:
        return dict(content)


def test_arrays_and_datasets_of_bytes_or_floats_give_the_same_images(root: Path) -> None:
    arrays, floats, of_bytes = (made(f"data_of_mine:{one}", root) for one in ("arrays", "datasets", "of_bytes"))
    for key, value in arrays.items():
        assert np.array_equal(value, floats[key]), key
        assert np.array_equal(value, of_bytes[key]), key


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("nothing", "must return a dict of arrays .*; got NoneType"),
        ("lacks", "it lacks train_labels, test_images, test_labels"),
        ("misnamed", r"it also holds testing \(allowed: train_images"),
        ("normalised", "images of floats must be from 0 to 1"),
        ("uneven", "all images must have one size, got 4x4x1 and 5x4x1"),
        ("raises", r"raises\(\) failed: ZeroDivisionError: division by zero \(.*data_of_mine.py, line"),
    ],
)
def test_what_gives_no_data_is_told(root: Path, function: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        made(f"data_of_mine:{function}", root)
    assert not list(root.glob("prepared/*.npz"))


def draw(folder: Path, names: Callable[[int], str], size: tuple[int, int] = (6, 5), mode: str = "RGB") -> None:
    for number in range(10):
        path = folder / names(number % 2)
        path.mkdir(parents=True, exist_ok=True)
        Image.new(mode, size, number).save(path / f"{number}.png")


def test_a_folder_with_a_folder_a_class_is_split_by_class(root: Path, tmp_path: Path) -> None:
    draw(tmp_path / "photos", lambda label: ("owl", "cat")[label])
    made("photos/", root)
    info = describe(DataSpec(name="photos/"), root)
    assert (info.num_train, info.num_test, info.height, info.width, info.channels) == (8, 2, 5, 6, 3)
    assert info.class_names == ("cat", "owl")
    assert [info.class_name(label) for label in (0, 1)] == ["cat", "owl"]
    images = load_images(DataSpec(name="photos/", validation=0.25), root, root, download=False)
    assert images.test.shape == (2, 3, 5, 6)


def test_parts_of_their_own_are_kept_and_grey_images_have_one_channel(root: Path, tmp_path: Path) -> None:
    for part in ("train", "val", "test"):
        draw(tmp_path / "photos" / part, lambda label: f"class{label}", mode="L")
    made("photos/", root)
    info = describe(DataSpec(name="photos/"), root)
    assert (info.num_train, info.num_val, info.num_test, info.channels) == (10, 10, 10, 1)


def test_a_folder_that_cannot_be_used_is_told_with_the_file(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere/: there is no such folder"):
        prepared_own("nowhere/", root)
    (tmp_path / "flat").mkdir()
    with pytest.raises(DataError, match="must hold a folder a class, at least two; it holds none"):
        made("flat/", root)
    draw(tmp_path / "photos", str)
    (tmp_path / "photos" / "1" / "x.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"x.png: is no PNG, .* or PPM image that can be read"):
        made("photos/", root)
    Image.new("RGB", (6, 5)).save(tmp_path / "photos" / "1" / "x.png", format="EPS")  # Pillow would run Ghostscript
    with pytest.raises(DataError, match=r"x.png: is no PNG"):
        made("photos/", root)
    Image.new("RGB", (9, 9)).save(tmp_path / "photos" / "1" / "x.png")
    with pytest.raises(DataError, match=r"x.png: is 9x9 pixels, the first image is 6x5"):
        made("photos/", root)


def test_one_image_a_class_is_too_few_for_a_test_part_and_told_so(root: Path, tmp_path: Path) -> None:
    for name in ("cat", "owl"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (6, 5)).save(tmp_path / "photos" / name / "1.png")
    with pytest.raises(DataError, match=r"2 images are too few to hold 0.2 of them back for the test; add images"):
        made("photos/", root)
    assert not list(root.rglob("*.npz"))


def test_a_folder_with_links_pipes_and_empty_files_is_read_or_told(root: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    draw(photos, str)
    (photos / "0" / "again").symlink_to(photos, target_is_directory=True)
    (photos / "1" / "linked.png").symlink_to(photos / "1" / "1.png")
    assert len(made("photos/", root)["train_labels"]) + len(made("photos/", root)["test_labels"]) == 11
    spoilt = photos / "1" / "x.png"
    for spoil in (spoilt.touch, lambda: spoilt.symlink_to(spoilt), lambda: os.mkfifo(spoilt)):
        spoil()
        with pytest.raises(DataError, match=r"x.png: (is no PNG, .* or PPM image|is no file, or a link to none)"):
            made("photos/", root)
        spoilt.unlink()
    (photos / "empty").mkdir()
    with pytest.raises(DataError, match="photos/empty: holds no image; each folder must be a class"):
        made("photos/", root)


WHOLE = {}
for _format in FORMATS:
    _file = io.BytesIO()
    Image.new("RGB", (7, 5), "red").save(_file, _format)
    WHOLE[_format] = _file.getvalue()


@given(
    kind=st.sampled_from(FORMATS),
    changes=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.integers(0, 400),
)
@settings(derandomize=True)
def test_any_bytes_are_an_image_or_refused_with_the_files_name(
    kind: str, changes: list[tuple[int, int]], cut: int
) -> None:
    spoilt = bytearray(WHOLE[kind])
    for at, value in changes:
        spoilt[at % len(spoilt)] = value
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
        path = Path(folder) / "any.png"
        path.write_bytes(spoilt[:-cut] if cut % 2 else spoilt)
        try:
            assert open_picture(path, FORMATS, turn=True).convert("RGB").size > (0, 0)
        except DataError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017


def test_data_are_prepared_once_and_again_after_an_edit(root: Path, tmp_path: Path) -> None:
    study = Study(name="x", data=DataSpec(name="data_of_mine:arrays"), arms={"a": {"bottleneck": "relu"}})
    with pytest.raises(
        DataError, match=r"study x: data.name data_of_mine:arrays is not prepared yet: running the study"
    ):
        make_plan(study, root)
    said: list[str] = []
    for _ in range(2):
        prepare_own(study, root, said.append)
    assert len(said) == 1
    assert "data_of_mine" not in sys.modules
    before = prepared_own("data_of_mine:arrays", root)
    first = describe(study.data, root).digest
    (tmp_path / "data_of_mine.py").write_text(DATA_PY.replace("np.arange(12 * 4", "7 + np.arange(12 * 4"))
    assert prepared_own("data_of_mine:arrays", root) != before
    prepare_own(study, root, said.append)
    assert describe(study.data, root).digest != first


def test_a_function_beside_a_study_file_in_another_folder_is_found_by_every_process(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "data_beside_it.py").write_text(DATA_PY)
    file = tmp_path / "elsewhere" / "beside.toml"
    file.write_text('[control]\nnet = "mobilenet_v2_mnist"\n[arms.a]\nbottleneck = "relu"\n'
                    '[data]\nname = "data_beside_it:arrays"\n[recipe]\nbatch_size = 4\n')  # fmt: skip
    study, how = load_study(file), RunOptions(runs=tmp_path / "runs", data_root=tmp_path / "data")
    assert kept_nets(study, "control", how) == []  # planned, although nothing prepared the data before
    file = run_in_subprocess(_prepared, study.data.name, tmp_path / "data", say=print)
    assert file == prepared_own(study.data.name, tmp_path / "data")
    assert file.is_file()


def _prepared(name: str, root: Path, say: Callable[[str], None]) -> Path:
    return prepared_own(name, root)
