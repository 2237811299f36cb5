"""Colours deeper than 8 bit, which Pillow has no mode for: arrays instead of Pillow's images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

ORIENTATION, BITS, PHOTOMETRIC = 274, 258, 262
RGB = 2


def is_deep_colour(image: ImageFile) -> bool:
    """Whether an opened file holds several samples a pixel, with more than 8 bit each."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(BITS, (8,))
    return not image.mode.startswith("I") and (";16" in str(image.tile) or (len(bits) > 1 and max(bits) > 8))


def is_read_deep(image: ImageFile) -> bool:
    """Whether `read_deep_colour` reads such a file."""
    tags = getattr(image, "tag_v2", {})
    return image.format == "PNG" or (image.format == "TIFF" and tags.get(PHOTOMETRIC) == RGB)


def read_deep_colour(path: Path, form: str, orientation: int) -> np.ndarray:
    """Return (h, w, 3) float32 in 0..255 of a PNG or TIFF file with 16-bit colours; 65535 becomes 255.

    Raises
    ------
    Exception
        whatever imagecodecs or tifffile find wrong with the file
    """
    if form == "TIFF":
        import tifffile

        with tifffile.TiffFile(path) as file:
            page = file.pages[0]
            array = np.asarray(page.asarray())
            planes = page.axes.startswith("S")
        array = array.transpose(1, 2, 0) if planes else array
    else:
        from imagecodecs import png_decode

        array = png_decode(path.read_bytes())
    if array.ndim != 3 or array.dtype != np.uint16:
        raise ValueError(f"{array.dtype} of shape {array.shape}; save it as RGB with 8 or 16 bit")
    grey_or_colour = array[..., :1] if array.shape[-1] < 3 else array[..., :3]
    upright = turned(np.broadcast_to(grey_or_colour, (*array.shape[:2], 3)), orientation)
    return np.ascontiguousarray(upright, dtype=np.float32) * np.float32(255 / 65535)


def turned(array: np.ndarray, orientation: int) -> np.ndarray:
    """Return an (h, w, c) array upright, from the value of the EXIF tag Orientation."""
    across = array.swapaxes(0, 1) if orientation in (5, 6, 7, 8) else array
    if orientation in (3, 4, 7, 8):
        across = across[::-1]
    return across[:, ::-1] if orientation in (2, 3, 6, 7) else across
