"""Image files: what is read of one, and what a look at its header tells."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from featurespace import files, memory
from featurespace.data.deep import BITS, ORIENTATION, PHOTOMETRIC, is_deep_colour, is_read_deep, read_deep_colour
from featurespace.data.watching import Watched
from featurespace.errors import FeaturespaceError

if TYPE_CHECKING:
    from PIL.Image import Image

# What Pillow may try. Not all it can: EPS would start Ghostscript.
FORMATS = ("PNG", "JPEG", "TIFF", "GIF", "WEBP", "BMP", "PPM", "JPEG2000")
# A tag of TIFF, and the values that matter here.
PLANAR = 284
MIN_IS_WHITE, SEPARATE = 0, 2


@dataclass(frozen=True)
class Header:
    """What of an image file is left out or must be known, told by its header."""

    size: tuple[int, int]
    frames: bool
    alpha: bool
    deep_colour: bool


@dataclass(frozen=True)
class ImageFiles:
    """Images of a data set that are files of their own."""

    paths: Sequence[str | Path]
    watched: Watched = field(default_factory=Watched)

    def image(self, index: int) -> Image | np.ndarray:
        """Return image number ``index``; raises FeaturespaceError if it cannot be read, or has changed since it was hashed."""
        self.watched.check(self.paths[index])
        return read_image(self.paths[index])

    def pixels(self, rows: np.ndarray, channels: int, height: int, width: int) -> None:
        """Return nothing: files are read one by one."""

    def digest(self, index: int) -> str:
        """Return a hash of the file's bytes; of a file that cannot be read, the same for all of them."""
        self.watched.note(self.paths[index])
        try:
            return files.hash_file(self.paths[index]) if os.path.isfile(self.paths[index]) else ""
        except OSError:
            return ""

    def header(self, index: int) -> Header | None:
        """Return what the file's header tells, None where it cannot be read."""
        return read_header(self.paths[index])

    def take(self, rows: np.ndarray) -> ImageFiles:
        """Return the given images, in the given order."""
        return ImageFiles([self.paths[row] for row in rows], self.watched)


def read_image(path: str | Path) -> Image | np.ndarray:
    """Read one image file, first frame, upright (EXIF), in mode L, RGB, F (0..255) or I;16 (0..65535).

    16-bit colour of PNG and TIFF comes as (h, w, 3) float32 in 0..255, since Pillow has no mode for it; of other formats
    the upper 8 bit are read. Alpha is left out and ICC profiles are not applied, as in torchvision and timm. Floating
    values must lie in 0..1.

    Raises
    ------
    FeaturespaceError
        with path and reason, whatever is wrong with the file
    """
    path = Path(path)
    if not os.path.isfile(path):  # a pipe would wait for ever
        raise FeaturespaceError(f"{path} " + ("is no regular file" if os.path.exists(path) else "does not exist"))
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        # Given a name, Pillow maps uncompressed TIFF files into memory, and reads turned ones wrongly from there.
        with open(path, "rb") as file, Image.open(file, formats=FORMATS) as image:
            tags = getattr(image, "tag_v2", {})
            inverted = image.mode.startswith(("I;16", "F")) and tags.get(PHOTOMETRIC) == MIN_IS_WHITE
            if is_deep_colour(image) and is_read_deep(image):
                return read_deep_colour(path, str(image.format), image.getexif().get(ORIENTATION, 1))
            if tags.get(PLANAR) == SEPARATE and max(tags.get(BITS, (8,))) > 8:  # Pillow would mix the planes up
                raise FeaturespaceError(f"{path} holds colours of 16 bit in separate planes; save them interleaved")
            image.load()
            upright = _plain_mode(ImageOps.exif_transpose(image), path, str(image.format))
    except UnidentifiedImageError:
        why = f"formats: {', '.join(FORMATS)}" if path.stat().st_size else "the file is empty"
        raise FeaturespaceError(f"{path} is not an image that can be read ({why})") from None
    except FeaturespaceError:
        raise
    except Exception as error:  # of a broken file Pillow's readers raise anything
        memory.pass_on(error, f"reading {path}")
        raise FeaturespaceError(f"{path} cannot be read as an image ({str(error) or type(error).__name__})") from error
    if not inverted:
        return upright
    array = np.asarray(upright)  # Pillow turns white-is-zero around with 8 bit only
    return Image.fromarray(array.dtype.type(65535 if array.dtype == np.uint16 else 255) - array)


def _plain_mode(image: Image, path: Path, format_: str) -> Image:
    from PIL import Image as images

    if image.mode in ("L", "RGB"):
        return image
    if image.mode.startswith("I;16"):
        return images.fromarray(np.asarray(image).astype(np.uint16))
    if image.mode == "I" and format_ in ("PPM", "PNG"):  # their integers have 16 bit
        return images.fromarray(np.asarray(image).astype(np.uint16))
    if image.mode == "I":
        raise FeaturespaceError(
            f"{path} holds signed or 32-bit integers, whose range is not known; save it with 8 or 16 bit, unsigned"
        )
    if image.mode == "F":
        return images.fromarray(_unit_range(np.asarray(image), path) * np.float32(255))
    if image.mode in ("1", "LA", "La"):
        return image.convert("L")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # straight to RGB Pillow warns
    return image.convert("RGB")


def _unit_range(array: np.ndarray, path: Path) -> np.ndarray:
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 1):  # NaN too
        raise FeaturespaceError(
            f"{path} holds floating values from {low:.4g} to {high:.4g}; scale them to 0..1, or save 8 or 16 bit"
        )
    return array


def read_header(path: str | Path) -> Header | None:
    """Return what an image file's header tells, None where it cannot be read; no pixel is decoded."""
    from PIL import Image

    try:
        if not os.path.isfile(path):
            return None
        with open(path, "rb") as file, Image.open(file, formats=FORMATS) as image:
            deep = is_deep_colour(image) and not is_read_deep(image)
            frames = bool(getattr(image, "is_animated", False))
            return Header(image.size, frames, image.has_transparency_data, deep)
    except Exception:  # reading the image will tell why
        return None


def header_notes(headers: Sequence[Header | None], ids: Sequence[str]) -> Iterator[str]:
    """Tell what is left out of images, each with the number of images and an example."""
    for fact, text in (
        ("frames", "hold several frames or pages, of which the first is used"),
        ("alpha", "hold transparency, which is left out"),
        ("deep_colour", "hold colours of 16 bit, of which the upper 8 are used"),
    ):
        found = [name for name, header in zip(ids, headers) if header and getattr(header, fact)]
        if found:
            yield f"{len(found)} of {len(ids)} images {text}, e.g. {found[0]}"
    sizes = sorted({header.size for header in headers if header}, key=lambda size: size[0] * size[1])
    if len(sizes) > 1:
        small, large = (f"{width} x {height}" for width, height in (sizes[0], sizes[-1]))
        yield f"images have {len(sizes)} sizes, {small} to {large}; each is scaled to cover the input, then its centre cut out"
