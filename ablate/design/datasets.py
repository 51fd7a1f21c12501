"""The data sets by name: what they hold, without loading them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ablate.design.npz import summarise
from ablate.design.own_data import OWN_DATA, is_own, prepared_own
from ablate.design.study import DataSpec, Study
from ablate.errors import DataError, one_of
from ablate.paths import default_data_root


@dataclass(frozen=True, kw_only=True)
class DataInfo:
    """Shape and size of a data set; ``num_train`` counts the training images before validation is held back.

    ``digest`` identifies the content of an .npz of the user's own (16 hex digits); a known set needs none, its
    content is part of its name. ``num_val`` counts the validation images that such a file brings along: where it does,
    none is held back. ``class_names`` are those of an .npz or folder that brings them.
    """

    name: str
    channels: int
    height: int
    width: int
    num_classes: int
    num_train: int
    num_test: int
    digest: str = ""
    num_val: int = 0
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_names", tuple(self.class_names))  # JSON has lists

    def class_name(self, label: int) -> str:
        """What a class is called: its name where the data bring names, else its number."""
        return self.class_names[label] if self.class_names else str(label)

    def split(self, spec: DataSpec) -> tuple[int, int]:
        """How many images are trained on, and how many validate; a class more or less may be rounded otherwise."""
        held_back = self.num_val or round(self.num_train * spec.validation)
        left = self.num_train - (0 if self.num_val else held_back)
        return round(left * spec.fraction), held_back


KNOWN: dict[str, DataInfo] = {
    name: DataInfo(
        name=name, channels=channels, height=size, width=size, num_classes=classes, num_train=train, num_test=test
    )
    for name, channels, size, classes, train, test in (
        ("mnist5k", 1, 28, 10, 4_000, 1_000),
        ("mnist", 1, 28, 10, 60_000, 10_000),
        ("fashion_mnist", 1, 28, 10, 60_000, 10_000),
        ("kmnist", 1, 28, 10, 60_000, 10_000),
        ("cifar10", 3, 32, 10, 50_000, 10_000),
        ("cifar100", 3, 32, 100, 50_000, 10_000),
        ("synthetic", 1, 12, 4, 640, 160),
    )
}
_CIFAR100 = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
    castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
    elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
    man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
    pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
    skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
    tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""
# What a class is called, where it is not its number.
_CLASSES: dict[str, tuple[str, ...]] = {
    "fashion_mnist": (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
    "kmnist": ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    "cifar10": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    "cifar100": tuple(_CIFAR100.split()),
}  # fmt: skip
EMBEDDED = ("mnist5k", "synthetic")  # come with the package: no file to place, no network

# sha256 of a known set in its original order and our split (``Arrays.digest``): another content under its name would
# be compared with records that it has nothing to do with. Only digests of the original files stand here.
DIGESTS = {
    "mnist5k": "8fa788ae87522914eda3e67d6fb0035a7f519da199d4d05ac1348822789cbf3d",
    "synthetic": "2259b2c66a85434de62f2209e8cb4bb01457268ba38d535042765bf3d421d8b2",
    "mnist": "06b0d1f124c4e5fa796686ade41a9b778edacc8622f2195a352ef479ad44fc16",
    "fashion_mnist": "ca3ab2a37f845e1b8ae23cab1b51749a3011ba3bf1d9016176d75cbaabac376f",
    "cifar10": "80387ddb9a0edf3fc4a964ee3770296169bb26a651050df20035579673099660",
}


def describe(spec: DataSpec, root: Path | None = None) -> DataInfo:
    """What the named data set holds: a known one from the table, an .npz (a path from the current directory) as read.

    Args:
        spec: the study's data.
        root: where relative paths that are not found in the current directory are looked for; None: the default.

    Raises:
        DataError: an unknown name, or an .npz that cannot be used.
    """
    if spec.name in KNOWN:
        return KNOWN[spec.name]
    found = summarise(own_file(spec.name, root))
    height, width, channels = found.image_shape
    return DataInfo(
        name=spec.name,
        channels=channels,
        height=height,
        width=width,
        num_classes=found.num_classes,
        num_train=found.num_train,
        num_val=found.num_val,
        num_test=found.num_test,
        digest=found.digest[:16],
        class_names=found.class_names,
    )


def own_data(study: Study) -> DataInfo:
    """What stands for the data of a study whose own training brings them: under the name of what trains."""
    words = [word for word in study.command if not word.startswith("-")]
    name = study.trainer or next(iter(words[1:]), study.command[0])
    return DataInfo(name=name, channels=0, height=0, width=0, num_classes=0, num_train=0, num_test=0)


def class_names(info: DataInfo) -> tuple[str, ...]:
    """What the classes of a data set are called: by name where it has names, else by number.

    Example:
        >>> class_names(KNOWN["cifar10"])[3]
        'cat'
    """
    return _CLASSES.get(info.name) or tuple(map(str, range(info.num_classes)))


def own_file(name: str, root: Path | None = None) -> Path:
    """The path of an .npz of the user's own: from the current directory, else below ``root``.

    Raises:
        DataError: the data of a function or folder are not prepared; ``name`` is neither a known data set nor data of
            the user's own, or is nothing that a file can be called.
    """
    if is_own(name):
        path = prepared_own(name, root)
        if not path.exists():
            raise DataError(f"{name} is not prepared yet: running the study prepares it, once")
        return path
    if not name.endswith(".npz"):
        raise DataError(f"{one_of(name, KNOWN)} (or the path of an .npz file of your own, {OWN_DATA})")
    try:
        path = Path(name).expanduser()
        below = (root or default_data_root()) / path
        return below if not path.exists() and below.exists() else path
    except (OSError, ValueError, RuntimeError) as error:  # too long, in a locked folder; a NUL in it; ~nobody
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"must be the path of an .npz file that can be read, got {name!r} ({reason})") from error


def prepared_file(spec: DataSpec, root: Path, cache: Path) -> Path:
    """Where the .npz of a data set lies when it is ready: an embedded set's in ``cache``, else below ``root``.

    Raises:
        DataError: as of ``own_file``.
    """
    if spec.name not in KNOWN:
        return own_file(spec.name, root)
    return (cache if spec.name in EMBEDDED else root) / f"{spec.name}.npz"
