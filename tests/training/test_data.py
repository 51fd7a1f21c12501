from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from ablate.design.datasets import DIGESTS, KNOWN
from ablate.design.npz import read_npz
from ablate.design.study import DataSpec
from ablate.errors import DataError
from ablate.training.data import Images, load_images, prepare
from ablate.training.split import stratified


def own_file(path: Path, *, channels: int = 3, validation: bool = False) -> Path:
    draw = np.random.RandomState(0)
    parts = {"train": 40, "test": 10} | ({"val": 8} if validation else {})
    arrays = {}
    for name, count in parts.items():
        arrays[f"{name}_images"] = draw.randint(0, 256, (count, 6, 5, channels)).astype(np.uint8)
        arrays[f"{name}_labels"] = np.arange(count) % 2
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the embedded digits; unpacking them takes seconds."""
    cache = tmp_path_factory.mktemp("digits")
    prepare(DataSpec(name="mnist5k"), cache / "root", cache)
    return cache


def test_the_embedded_digits_are_5000_in_ten_even_classes(digits: Path) -> None:
    found = read_npz(digits / "mnist5k.npz")
    assert found.train.images.shape == (4000, 28, 28, 1)
    assert np.bincount(found.train.labels).tolist() == [400] * 10
    assert np.bincount(found.test.labels).tolist() == [100] * 10
    assert found.digest() == DIGESTS["mnist5k"]
    assert not (digits / "root").exists()


def test_no_digit_is_both_trained_and_tested_on(digits: Path) -> None:
    found = read_npz(digits / "mnist5k.npz")
    train, test = ({image.tobytes() for image in part.images} for part in (found.train, found.test))
    assert (len(train), len(test)) == (4000, 1000)
    assert not train & test


def test_images_are_uint8_channels_last_and_the_statistics_are_those_of_the_training_part(tmp_path: Path) -> None:
    loaded = load_images(DataSpec(name=str(own_file(tmp_path / "own.npz"))), tmp_path, tmp_path)
    assert loaded.train.shape == (36, 3, 6, 5)
    assert loaded.val.shape == (4, 3, 6, 5)
    for part in (loaded.train, loaded.val, loaded.test):
        assert part.dtype == torch.uint8
        assert part.is_contiguous(memory_format=torch.channels_last)
    numbers = loaded.train.double()
    torch.testing.assert_close(torch.tensor(loaded.mean).double(), numbers.mean((0, 2, 3)), rtol=1e-6, atol=0)
    torch.testing.assert_close(
        torch.tensor(loaded.std).double(), numbers.std((0, 2, 3), correction=0), rtol=1e-6, atol=0
    )


def test_the_channels_and_the_pixels_stay_in_their_places(tmp_path: Path) -> None:
    path = own_file(tmp_path / "own.npz")
    loaded = load_images(DataSpec(name=str(path)), tmp_path, tmp_path)
    original = np.load(path)["test_images"]
    assert loaded.test[7, 2, 4, 1] == original[7, 4, 1, 2]


def test_a_validation_part_of_the_files_own_is_used_as_it_is(tmp_path: Path) -> None:
    path = own_file(tmp_path / "own.npz", validation=True)
    loaded = load_images(DataSpec(name=str(path), validation=0.5), tmp_path, tmp_path)
    assert (len(loaded.train), len(loaded.val)) == (40, 8)
    assert np.array_equal(loaded.val.permute(0, 2, 3, 1).numpy(), np.load(path)["val_images"])


def test_the_validation_part_is_fixed_by_the_split_seed_and_disjoint_from_the_training_part(tmp_path: Path) -> None:
    def rows(images: torch.Tensor) -> set[bytes]:
        return {image.tobytes() for image in images.numpy()}

    def part(seed: int) -> Images:
        return load_images(DataSpec(name="synthetic", split_seed=seed, validation=0.2), tmp_path, tmp_path)

    first, again, other = part(0), part(0), part(1)
    assert torch.equal(first.val, again.val)
    assert not torch.equal(first.val, other.val)
    assert first.val_labels.bincount().tolist() == [32] * 4
    assert not rows(first.train) & rows(first.val)
    assert len(first.train) + len(first.val) == 640


@pytest.mark.parametrize(("fraction", "sizes"), [(0.1, [1, 1, 1, 10]), (0.99, [1, 2, 9, 99]), (0.25, [1, 1, 3, 25])])
def test_a_stratified_part_takes_its_share_of_each_class_but_never_a_whole_class(
    fraction: float, sizes: list[int]
) -> None:
    labels = np.repeat(np.arange(4), [2, 3, 10, 100])
    drawn = stratified(labels, fraction, seed=3)
    assert np.bincount(labels[drawn], minlength=4).tolist() == sizes


def test_the_split_does_not_depend_on_numpys_version() -> None:
    # SeedSequence and PCG64's raw output are fixed by numpy's promise; these were computed once
    assert np.flatnonzero(stratified(np.arange(40) % 2, 0.1, seed=0)).tolist() == [6, 15, 21, 22]


@pytest.mark.parametrize(("name", "again"), [("synthetic", "made"), ("cifar10", "downloaded")])
def test_a_truncated_known_set_is_refused_with_how_to_have_it_again(tmp_path: Path, name: str, again: str) -> None:
    own_file(tmp_path / f"{name}.npz")
    path = tmp_path / f"{name}.npz"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=rf"{name}\.npz: .*; move it away to have {name} {again} again"):
        prepare(DataSpec(name=name), tmp_path, tmp_path, download=False)
    path.unlink()
    if name == "synthetic":
        assert prepare(DataSpec(name=name), tmp_path, tmp_path) == path


def test_a_known_set_under_data_root_is_checked_against_what_it_must_hold(tmp_path: Path) -> None:
    own_file(tmp_path / "cifar10.npz")
    with pytest.raises(DataError, match="holds 40 training and 10 test images of 3x6x5 in 2 classes; expected 50000"):
        prepare(DataSpec(name="cifar10"), tmp_path, tmp_path, download=False)


def test_another_content_under_a_known_name_is_refused(tmp_path: Path) -> None:
    path = prepare(DataSpec(name="synthetic"), tmp_path, tmp_path)
    arrays = dict(np.load(path))
    arrays["test_labels"] = (arrays["test_labels"] + 1) % 4
    np.savez(path, **arrays)
    with pytest.raises(DataError, match="does not hold synthetic"):
        load_images(DataSpec(name="synthetic"), tmp_path, tmp_path)


def test_a_set_that_is_neither_there_nor_to_be_downloaded_names_both_ways_out(tmp_path: Path) -> None:
    with pytest.raises(DataError) as fault:
        prepare(DataSpec(name="cifar100"), tmp_path, tmp_path, download=False)
    assert str(tmp_path / "cifar100.npz") in str(fault.value)
    assert "--data mnist5k" in str(fault.value)


def test_a_cache_that_cannot_be_written_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(DataError, match="cannot be written"):
        prepare(DataSpec(name="synthetic"), tmp_path, tmp_path / "cache")


def test_every_class_of_the_synthetic_set_is_even_in_both_parts(images: Images) -> None:
    assert images.info == KNOWN["synthetic"]
    assert images.test_labels.bincount().tolist() == [40] * 4
    assert images.train_labels.bincount().tolist() == [144] * 4


@pytest.mark.parametrize("read", [prepare, load_images])
def test_a_validation_part_that_would_leave_nothing_to_train_on_is_refused_before_any_trial(
    tmp_path: Path, read: Callable[[DataSpec, Path, Path], object]
) -> None:
    images, labels = np.zeros((2, 4, 4), np.uint8), np.arange(2)
    np.savez(tmp_path / "two.npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    with pytest.raises(DataError, match="2 training images are too few"):
        read(DataSpec(name=str(tmp_path / "two.npz")), tmp_path, tmp_path)


def test_a_fraction_of_the_training_images_is_of_every_class_alike_and_holds_the_smaller_ones(digits: Path) -> None:
    def images(fraction: float) -> Images:
        return load_images(DataSpec(name="mnist5k", fraction=fraction), digits / "root", digits)

    whole, half, tenth = images(1.0), images(0.5), images(0.1)
    assert [torch.bincount(one.train_labels).tolist() for one in (whole, half, tenth)] == [
        [n] * 10 for n in (360, 180, 36)
    ]
    for one in (half, tenth):
        assert torch.equal(one.val, whole.val)
        assert torch.equal(one.test, whole.test)
    sets = [{image.numpy().tobytes() for image in one.train} for one in (tenth, half, whole)]
    assert sets[0] < sets[1] < sets[2]
    spec = DataSpec(name="mnist5k", fraction=0.5)
    assert len(half.train) == KNOWN["mnist5k"].split(spec)[0]


def test_the_smallest_fraction_keeps_an_image_of_every_class(tmp_path: Path) -> None:
    path = own_file(tmp_path / "own.npz")
    found = load_images(DataSpec(name=str(path), fraction=1e-6), tmp_path, tmp_path)
    assert torch.bincount(found.train_labels).tolist() == [1, 1]


def test_label_noise_changes_its_share_of_each_class_to_other_classes_evenly_and_nothing_else(digits: Path) -> None:
    def images(**fields: float) -> Images:
        return load_images(DataSpec(name="mnist5k", **fields), digits / "root", digits)  # type: ignore[arg-type]

    clean, noisy = images(), images(label_noise=0.25)
    assert torch.equal(noisy.train, clean.train)
    assert torch.equal(noisy.val_labels, clean.val_labels)
    assert torch.equal(noisy.test_labels, clean.test_labels)
    wrong = noisy.train_labels != clean.train_labels
    assert torch.bincount(clean.train_labels[wrong], minlength=10).tolist() == [90] * 10  # of 360 a class
    steps = (noisy.train_labels - clean.train_labels)[wrong] % 10
    assert stats.chisquare(torch.bincount(steps, minlength=10)[1:].numpy()).pvalue > 0.01
    half = images(label_noise=0.25, fraction=0.5)  # the same wrong labels, seen less often
    labels = {image.numpy().tobytes(): int(label) for image, label in zip(noisy.train, noisy.train_labels, strict=True)}
    assert all(
        labels[image.numpy().tobytes()] == label for image, label in zip(half.train, half.train_labels, strict=True)
    )
