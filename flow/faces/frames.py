"""Frames on disk: grey or colour images, checked before they are decoded."""

import io
import pathlib
from typing import Literal

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from flow.clips import Box
from flow.disk import given
from flow.errors import InputError

SIZE = 224
"""Height and width of a face, pixels (Table 1 of the paper)."""

MAX_PIXELS, MAX_SIDE = 36_000_000, 16_384
"""Larger images are refused before they are decoded: a small file can unpack to gigabytes. A frame
of an 8K camera has 7680x4320 pixels."""

_CURE = "copy it again from the owners' archive"


def read_content(path: pathlib.Path) -> bytes:
    """A frame's file as it is, for a digest.

    Raises:
      InputError: the file is missing, larger than `given.MOST_FRAME` or no file but a pipe or a
        device; the message names it.
    """
    try:
        return given.read(path, given.MOST_FRAME, _CURE)
    except FileNotFoundError:
        raise InputError(f"{path}: no such image: {_CURE}") from None


def read_grey(path: pathlib.Path, content: bytes | None = None) -> UInt8[np.ndarray, "H W"]:
    """Read a JPEG, PNG or BMP image as grey values 0 to 255 (ITU-R 601 luma for colour).

    `content` is that of the file, where it has been read already.

    Pillow decodes: it refuses every truncated file, where `cv2.imread` of OpenCV 5.0 fills
    the missing part of a JPEG with grey and says nothing.

    Raises:
      InputError: the file is missing, unreadable, truncated, deeper than 8 bits a channel
        or larger than `MAX_PIXELS` or on a side than `MAX_SIDE`; the message names it.
    """
    return _read(path, "L", content)


def _read(
    path: pathlib.Path, mode: Literal["L", "RGB"], content: bytes | None = None
) -> UInt8[np.ndarray, "H W *channels"]:
    """Read an image in one of Pillow's modes."""
    try:
        file = io.BytesIO(read_content(path) if content is None else content)
        image = Image.open(file, formats=("JPEG", "PNG", "BMP"))
        with image:
            width, height = image.size
            if max(width, height) > MAX_SIDE:
                raise InputError(
                    f"{path}: {width}x{height} pixels, a side of more than {MAX_SIDE}: not a "
                    f"frame; {_CURE}"
                )
            if width * height > MAX_PIXELS:
                raise InputError(
                    f"{path}: {width}x{height} pixels, more than {MAX_PIXELS}: not a frame; {_CURE}"
                )
            # A PNG of 16 bits in colour has Pillow's mode RGB; how it is stored says more.
            if image.mode.startswith(("I", "F")) or any(";16" in str(t.args) for t in image.tile):
                raise InputError(f"{path}: more than 8 bits a channel: convert it to 8 bits")
            image.draft(mode, image.size)  # a JPEG's luma as stored, without a way round by RGB
            return np.array(image.convert(mode))
    except FileNotFoundError:
        raise InputError(f"{path}: no such image: {_CURE}") from None
    except PermissionError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InputError(f"{path}: too many pixels for a frame; {_CURE}") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # what Pillow's decoders raise
        raise InputError(f"{path}: unreadable or truncated image ({error}): {_CURE}") from None


def read_face(
    path: pathlib.Path, box: Box | None, mode: Literal["L", "RGB"] = "L"
) -> UInt8[np.ndarray, "224 224 *channels"]:
    """Read a frame and :func:`cut` its face out.

    Args:
      mode: `L` gives grey [224, 224], `RGB` three channels, which are equal for a grey frame.

    Raises:
      InputError: as `read_grey`, and where the box does not lie within the image.
    """
    return cut(_read(path, mode), box, path)


def cut(
    image: UInt8[np.ndarray, "H W *channels"], box: Box | None, name: str | pathlib.Path
) -> UInt8[np.ndarray, "224 224 *channels"]:
    """Crop an image to `box` (None: the whole image) and resize it to 224x224.

    All frames of a clip take the same box, so that cropping adds no motion. Shrinking
    averages over areas, enlarging interpolates linearly.

    Raises:
      InputError: the box does not lie within the image, which is called by its `name`.
    """
    if box is not None:
        image = _crop(image, box, name)
    height, width = image.shape[:2]
    shrinks = height * width > SIZE * SIZE
    return cv2.resize(
        image, (SIZE, SIZE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )


def _crop(
    image: UInt8[np.ndarray, "H W *channels"], box: Box, name: str | pathlib.Path
) -> UInt8[np.ndarray, "h w *channels"]:
    """The part of the image inside the box; `name` is said where it does not fit."""
    left, top, width, height = box
    rows, columns = image.shape[:2]
    if (
        min(left, top) < 0
        or min(width, height) < 1
        or left + width > columns
        or top + height > rows
    ):
        raise InputError(
            f"{name}: the face box {left},{top},{width},{height} (left, top, width, height) leaves"
            f" the image of {columns}x{rows} pixels: correct it in the --boxes file"
        )
    return image[top : top + height, left : left + width]
