from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ablate.design import npz
from ablate.design.npz import read_npz, summarise
from ablate.errors import DataError


def arrays(**changes: object) -> dict[str, object]:
    plain: dict[str, object] = {
        "train_images": np.arange(12 * 5 * 6, dtype=np.uint8).reshape(12, 5, 6),
        "train_labels": np.arange(12) % 3,
        "test_images": np.zeros((4, 5, 6), np.uint8),
        "test_labels": np.array([0, 1, 2, 0]),
    }
    return {name: value for name, value in {**plain, **changes}.items() if value is not None}


def write(path: Path, **changes: object) -> Path:
    np.savez(path, **arrays(**changes))
    return path


def test_grey_images_without_a_channel_axis_get_one(tmp_path: Path) -> None:
    found = read_npz(write(tmp_path / "own.npz"))
    assert found.image_shape == (5, 6, 1)
    assert found.num_classes == 3
    assert np.array_equal(found.train.images[..., 0], arrays()["train_images"])
    assert found.val is None


def test_medmnist_files_with_labels_in_a_column_and_a_validation_part_are_read(tmp_path: Path) -> None:
    colour = {f"{part}_images": np.full((6, 4, 4, 3), 7, np.uint8) for part in ("train", "val", "test")}
    labels = {f"{part}_labels": (np.arange(6) % 2)[:, None].astype(np.uint8) for part in ("train", "val", "test")}
    path = tmp_path / "breastmnist.npz"
    np.savez_compressed(path, **colour, **labels)
    found = read_npz(path)
    assert found.image_shape == (4, 4, 3)
    assert found.val is not None
    assert found.val.labels.tolist() == [0, 1, 0, 1, 0, 1]


def test_the_digest_follows_the_content_and_not_the_compression(tmp_path: Path) -> None:
    plain = summarise(write(tmp_path / "plain.npz"))
    np.savez_compressed(tmp_path / "small.npz", **arrays())
    changed = write(tmp_path / "changed.npz", test_labels=np.array([0, 1, 2, 1]))
    assert summarise(tmp_path / "small.npz") == plain
    assert summarise(changed).digest != plain.digest


def test_a_file_that_was_written_anew_is_read_anew(tmp_path: Path) -> None:
    path = write(tmp_path / "own.npz")
    before = summarise(path)
    write(path, train_labels=np.arange(12) % 4, test_labels=np.array([3, 3, 3, 3], np.int16))
    assert (before.num_classes, summarise(path).num_classes) == (3, 4)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"test_labels": None}, "lacks test_labels; it holds test_images, train_images, train_labels"),
        ({"train_images": np.zeros((12, 5, 6))}, "train_images have dtype float64, not uint8"),
        ({"train_images": np.zeros((12, 30), np.uint8)}, "train_images have shape 12x30"),
        ({"train_images": np.zeros((0, 5, 6), np.uint8)}, "train_images have shape 0x5x6"),
        ({"train_images": np.zeros((12, 3, 32, 32), np.uint8)}, "looks like N C H W"),
        ({"train_labels": np.zeros(12)}, "train_labels have dtype float64, not whole numbers"),
        ({"train_labels": np.arange(11) % 3}, "train_labels have shape 11, but there are 12 train_images"),
        ({"train_labels": np.arange(12).astype("m8[s]")}, "train_labels have dtype timedelta64[s], not whole numbers"),
        ({"train_labels": np.eye(12, dtype=int)}, "train_labels have shape 12x12"),
        ({"train_labels": np.arange(12) % 3 - 1}, "train_labels go from -1 to 1"),
        ({"train_labels": np.arange(12) % 3 + 1}, "no training image has label 0"),
        ({"train_labels": np.zeros(12, int)}, "a single class"),
        ({"test_labels": np.array([0, 1, 2, 3])}, "test_labels go up to 3, but train_labels to 2"),
        ({"test_images": np.zeros((4, 6, 6), np.uint8)}, "test_images are 6x6x1, but train_images are 5x6x1"),
        ({"val_images": np.zeros((4, 5, 6), np.uint8)}, "only one of val_images and val_labels"),
        ({"train_labels": np.array([{}] * 12, dtype=object)}, "does not hold plain arrays"),
    ],
)
def test_each_fault_names_the_file_what_was_found_and_what_was_expected(
    tmp_path: Path, changes: dict[str, object], found: str
) -> None:
    path = write(tmp_path / "own.npz", **changes)
    with pytest.raises(DataError) as fault:
        read_npz(path)
    assert str(path) in str(fault.value)
    assert found in str(fault.value)
    assert "expected an .npz file with train_images" in str(fault.value)


def test_keras_names_are_found_and_the_expected_ones_named(tmp_path: Path) -> None:
    path = tmp_path / "mnist.npz"
    own = arrays()
    np.savez(path, x_train=own["train_images"], y_train=own["train_labels"], x_test=own["test_images"],
             y_test=own["test_labels"])  # fmt: skip
    with pytest.raises(DataError) as error:
        read_npz(path)
    assert "it holds x_test, x_train, y_test, y_train; save x_train as train_images, y_train as train_labels, " in str(
        error.value
    )
    assert "expected an .npz file with train_images, train_labels, test_images and test_labels" in str(error.value)


def test_every_problem_of_a_file_comes_in_one_answer(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read_npz(write(tmp_path / "own.npz", train_images=np.zeros((12, 30)), test_labels=np.zeros(4)))
    for told in ("train_images have dtype float64", "train_images have shape 12x30", "test_labels have dtype float64"):
        assert told in str(error.value)
    with pytest.raises(DataError) as error:
        read_npz(write(tmp_path / "own.npz", test_images=np.zeros((4, 6, 6), np.uint8), test_labels=np.full(4, 3)))
    for told in ("test_labels go up to 3, but train_labels to 2", "test_images are 6x6x1, but train_images are 5x6x1"):
        assert told in str(error.value)


@pytest.mark.parametrize("keep", [0, 10, 300, 900, -30, -3])
def test_a_truncated_file_is_said_to_be_so_at_whatever_byte_it_ends(tmp_path: Path, keep: int) -> None:
    path = write(tmp_path / "own.npz")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"own\.npz: (is truncated|is a single|does not hold|cannot be read)"):
        read_npz(path)


def test_a_flipped_byte_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "own.npz")
    content = bytearray(path.read_bytes())
    content[400] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="damaged"):
        read_npz(path)


def test_a_missing_file_a_folder_and_a_single_array_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is missing"):
        read_npz(tmp_path / "none.npz")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(DataError, match="cannot be read"):
        read_npz(tmp_path / "folder.npz")
    with (tmp_path / "one.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(DataError, match="single array"):
        read_npz(tmp_path / "one.npz")


MANY = settings(derandomize=True, suppress_health_check=list(HealthCheck))


class Trap:
    """Unpickled, it leaves a file behind."""

    sprung = Path(tempfile.gettempdir()) / f"ablate-trap-{os.getpid()}"

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.sprung),)


def content(*, compressed: bool, **changes: object) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays(**changes))  # type: ignore[arg-type]
    return file.getvalue()


SOUND = {compressed: content(compressed=compressed) for compressed in (True, False)}
PICKLED = content(compressed=False, train_labels=np.array([Trap()] * 12, dtype=object))


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """A file with bytes turned over, most of them in the zip's own headers, and perhaps cut off."""
    spoilt = bytearray(draw(st.sampled_from([*SOUND.values(), PICKLED])))
    headers = [at for at in range(len(spoilt)) if spoilt[at : at + 2] == b"PK"]
    in_header = st.tuples(st.sampled_from(headers), st.integers(0, 45)).map(lambda at: min(sum(at), len(spoilt) - 1))
    place = st.one_of(in_header, in_header, st.integers(0, len(spoilt) - 1))
    for at, value in draw(st.lists(st.tuples(place, st.integers(0, 255)), min_size=1, max_size=4)):
        spoilt[at] = value
    return bytes(spoilt[: draw(st.one_of(st.just(len(spoilt)), st.integers(0, len(spoilt))))])


@MANY
@given(st.one_of(spoiled(), st.binary(max_size=200), st.binary(max_size=60).map(lambda rest: b"PK\x03\x04" + rest)))
def test_any_bytes_are_read_or_refused_with_the_files_name_and_nothing_is_unpickled(written: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.npz"
        path.write_bytes(written)
        refusal = ""
        try:
            assert read_npz(path).num_classes >= 2
        except DataError as fault:
            refusal = str(fault)
        assert not refusal or refusal.startswith(f"{path}: ")
        assert "\n" not in refusal
    assert not Trap.sprung.exists()


@pytest.mark.parametrize("method", [1, 99])
def test_a_compression_that_cannot_be_read_is_refused_with_the_files_name(tmp_path: Path, method: int) -> None:
    path = write(tmp_path / "own.npz")
    spoilt = bytearray(path.read_bytes())
    at = spoilt.index(b"PK\x01\x02")
    spoilt[8:10] = spoilt[at + 10 : at + 12] = method.to_bytes(2, "little")
    path.write_bytes(bytes(spoilt))
    with pytest.raises(DataError, match=r"own\.npz: does not hold plain arrays \(.*compression"):
        read_npz(path)


def test_an_encrypted_member_is_refused_with_the_files_name(tmp_path: Path) -> None:
    path = write(tmp_path / "own.npz")
    spoilt = bytearray(path.read_bytes())
    at = spoilt.index(b"PK\x01\x02")
    spoilt[6] |= 1
    spoilt[at + 8] |= 1
    path.write_bytes(bytes(spoilt))
    with pytest.raises(DataError, match=r"own\.npz: .*password"):
        read_npz(path)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    for read in (read_npz, summarise):
        with pytest.raises(DataError, match="it is not a file"):
            read(tmp_path / "pipe.npz")


def test_a_file_that_unpacks_to_more_than_the_memory_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.zeros((12, 100, 100), np.uint8)
    path = write(tmp_path / "own.npz", train_images=images, test_images=images)
    monkeypatch.setattr(npz, "memory_bytes", lambda: 200_000)
    with pytest.raises(DataError, match=r"own\.npz: holds arrays of 0 GB, and this machine has 0 GB"):
        read_npz(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_file_in_a_folder_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "own.npz")
    tmp_path.chmod(0)
    try:
        with pytest.raises(DataError, match="cannot be read"):
            summarise(path)
    finally:
        tmp_path.chmod(0o700)
