"""Image files as a data set's images: read, converted to its channels and resized to its size."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from ablate.design.datasets import DataInfo
from ablate.errors import DataError
from ablate.files import read_whole

FORMATS = ("PNG", "JPEG")
_MODES = {1: "L", 3: "RGB"}  # of Pillow, by channels
_WORDS = {"L": "grey", "RGB": "colour"}


def read_picture(path: Path, info: DataInfo) -> tuple[NDArray[np.uint8], str]:
    """An image file as an image of a data set, and a sentence about what had to be changed, or nothing.

    Args:
        path: a PNG or JPEG file.
        info: of the data set; its images have 1 or 3 channels.

    Returns:
        uint8 H W C, 0 black to 255 white; and ``"digit.png: 60x80 RGB was converted to grey and resized to 28x28"``.

    Raises:
        DataError: the file is missing, is no such image, is damaged or too large, or cannot be converted.
    """
    mode = _MODES.get(info.channels)
    if mode is None:
        raise DataError(
            f"{path}: an image file can be shown to nets of 1 or 3 channels; {info.name} has {info.channels}"
        )
    opened = open_picture(path, FORMATS, turn=True)
    image = opened if opened.mode == mode else _converted(opened, mode)
    done = [] if image is opened else [f"converted to {_WORDS[mode]}"]
    if image.size != (info.width, info.height):
        image = image.resize((info.width, info.height), Image.Resampling.BILINEAR)
        done.append(f"resized to {info.width}x{info.height}")
    said = f"{path.name}: {opened.width}x{opened.height} {opened.mode} was {' and '.join(done)}" if done else ""
    return np.asarray(image, np.uint8).reshape(info.height, info.width, info.channels), said


def open_picture(path: Path, formats: tuple[str, ...], *, turn: bool) -> Image.Image:
    """The image, decoded.

    Args:
        path: of the file.
        formats: that it may have, whatever its name says: for an EPS file, Pillow would run Ghostscript.
        turn: whether it is turned as its camera says.

    Raises:
        AblateError: the file is missing, is no such image, is damaged or too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(read_whole(path)), formats=formats) as image:
                image.load()
                return ImageOps.exif_transpose(image) if turn else image
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: must have at most {Image.MAX_IMAGE_PIXELS:,} pixels") from error
    except (OSError, ValueError, SyntaxError, EOFError) as error:  # what Pillow raises of damaged files
        named, why = f"{', '.join(formats[:-1])} or {formats[-1]}", ""
        if not isinstance(error, UnidentifiedImageError):
            why = f" ({error})"
        raise DataError(f"{path}: is no {named} image that can be read, or is damaged{why}") from error


def _converted(image: Image.Image, mode: str) -> Image.Image:
    """In another mode; transparent pixels become black, 16 bits a pixel become 8."""
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if "transparency" in image.info or image.mode in ("LA", "PA", "RGBA", "RGBa", "La"):
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image)
    return image.convert(mode)
