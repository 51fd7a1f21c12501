"""The user's own data other than an .npz: a function at an import path, or a folder of images with a folder per class.

Both are made into an .npz once (training/own_data.py), before the study is planned; here is where that file is.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from ablate.design.imported import imported, is_path
from ablate.errors import DataError, SpecError
from ablate.paths import default_data_root

OWN_DATA = "a folder that ends with a slash, or an import path such as my_package.data:load"
PARTS = ("train", "val", "test")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


def is_own(name: str) -> bool:
    """Whether ``data.name`` is an import path, or a folder: a text that ends with a slash."""
    return is_path(name) or name.endswith("/")


def prepared_own(name: str, root: Path | None = None) -> Path:
    """The .npz that is made of the data; its name changes with the function's source, or with the folder's files.

    Args:
        name: ``my_package.data:load``, or ``photos/``.
        root: the folder of data sets, below which it is kept; None: the default.

    Raises:
        DataError: the path leads to no function, or there is no such folder.
    """
    found = _of_function(name) if is_path(name) else _of_folder(image_folder(name, root))
    called = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_")[-60:]
    return (root or default_data_root()) / "prepared" / f"{called}-{found}.npz"


def _of_function(name: str) -> str:
    try:
        return imported(name).digest or "0" * 16
    except SpecError as error:
        raise DataError(error.message.removeprefix("= ")) from error


def image_folder(name: str, root: Path | None = None) -> Path:
    """The folder: from the current directory, else below ``root``.

    Raises:
        DataError: there is none.
    """
    for path in (Path(name).expanduser(), (root or default_data_root()) / name):
        if path.is_dir():
            return path
    raise DataError(f"{name}: there is no such folder, here or below {root or default_data_root()}")


def image_files(folder: Path) -> list[Path]:
    """Every image below a folder, in the order of their names; links to folders are not followed.

    Raises:
        DataError: something that is named as an image is none, such as a link that leads nowhere, or a pipe.
    """
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and not path.is_dir())
    for path in found:
        if not path.is_file():
            raise DataError(f"{path}: is no file, or a link to none")
    return found


def _of_folder(folder: Path) -> str:
    """Over names, sizes and times of the files, which is quick; the plan holds the digest of their content."""
    hashed = hashlib.sha256()
    for path in image_files(folder):
        stat = path.stat()
        hashed.update(f"{path.relative_to(folder)} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return hashed.hexdigest()[:16]
