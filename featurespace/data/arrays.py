"""Images held in one ``.npz`` file."""

from __future__ import annotations

import hashlib
import math
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from featurespace import memory
from featurespace.data.dataset import ImageData
from featurespace.data.samples import make_samples, oddities
from featurespace.errors import FeaturespaceError

CHANNELS = (1, 3, 4)
IMAGE_KEYS = ("images", "x", "X", "data")
# The names in use elsewhere for each column, ours first.
COLUMN_KEYS = {
    "label": ("label", "labels", "y"),
    "group": ("group", "groups"),
    "split": ("split", "splits"),
    "id": ("id", "ids"),
}


@dataclass(frozen=True)
class ImageArrays:
    """Images of a data set that are rows of one array."""

    array: np.ndarray
    path: Path
    rows: np.ndarray

    def image(self, index: int) -> Image.Image | np.ndarray:
        """Return image number ``index``; raises FeaturespaceError where it holds NaN or infinity."""
        pixels = self.array[self.rows[index]]
        if np.issubdtype(pixels.dtype, np.floating) and not np.isfinite(pixels).all():
            raise FeaturespaceError(f"image number {self.rows[index]} in {self.path} holds NaN or infinity")
        return _to_image(pixels)

    def pixels(self, rows: np.ndarray, channels: int, height: int, width: int) -> np.ndarray | None:
        """Return images as (b, h, w, c) where they are 8-bit images of that very size, which nothing need be done to."""
        if self.array.dtype != np.uint8 or self.array.shape[1:] != (height, width, channels):
            return None
        return self.array[self.rows[rows]]

    def digest(self, index: int) -> str:
        """Return a hash of the image's values."""
        return hashlib.sha256(np.ascontiguousarray(self.array[self.rows[index]]).data).hexdigest()

    def header(self, index: int) -> None:
        """Return nothing: an array has no header."""

    def take(self, rows: np.ndarray) -> ImageArrays:
        """Return the given images, in the given order."""
        return replace(self, rows=self.rows[rows])


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an ``.npz`` file, without pickles; raises FeaturespaceError with path and reason."""
    import psutil

    try:
        with zipfile.ZipFile(path) as archive:
            size, free = sum(each.file_size for each in archive.infolist()), psutil.virtual_memory().available
            for each in archive.infolist():
                _check_header(archive, each)
        if size > free:
            raise MemoryError(f"its arrays take {size / 2**30:.1f} GiB of memory, {free / 2**30:.1f} GiB are free")
        with np.load(path, allow_pickle=False) as arrays:
            content = {key: arrays[key] for key in arrays.files}
    except Exception as error:  # of a broken archive zipfile, zlib and NumPy raise anything
        memory.pass_on(error, f"reading {path}")
        raise FeaturespaceError(
            f"{path} cannot be read ({str(error) or type(error).__name__}); save plain arrays with numpy.savez, no objects"
        ) from error
    return {key: array for key, array in content.items() if isinstance(array, np.ndarray)}  # other files: bytes


def _check_header(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """Raise where an array's header declares more bytes than its entry has; NumPy would allocate them first."""
    if not entry.filename.endswith(".npy"):
        return
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    if math.prod(shape) * dtype.itemsize > entry.file_size and not dtype.hasobject:
        raise ValueError(f"the header of {entry.filename} declares more values than it holds")


def open_npz(name: str, path: Path) -> ImageData:
    """Return the images of an ``.npz`` file without pickles.

    ``images`` is (n, h, w) or (n, h, w, c) with c = 1, 3 or 4 (the fourth, alpha, is left out), bool, uint8, uint16 or
    floating in 0..1; beside it ``label``, ``group``, ``split`` and ``id``, each (n,). (n, c, h, w) is taken where c is 1
    or 3 and the other reading is not possible. Every depth is kept as it is.
    """
    content = read_arrays(path)
    key = next((key for key in IMAGE_KEYS if key in content), None)
    if key is None:
        raise FeaturespaceError(f"data set {name!r}: {path} holds {sorted(content)}, but no array 'images'")
    images, notes = _channels_last(content[key])
    images = images.astype(images.dtype.newbyteorder("="), copy=False)
    _check(name, path, images)
    columns = {}
    for column, keys in COLUMN_KEYS.items():
        found = next((each for each in keys if each in content), None)
        if found is None:
            continue
        values = content[found]
        if values.shape != (len(images),) or values.dtype.names:
            raise FeaturespaceError(
                f"data set {name!r}: {found!r} in {path} has shape {values.shape} and type {values.dtype}, "
                f"expected ({len(images)},) numbers or text"
            )
        columns[column] = values
    columns.setdefault("id", np.array([f"{index:06d}" for index in range(len(images))]))
    samples = make_samples(name, path=[f"{path}#{index}" for index in range(len(images))], **columns)
    source = ImageArrays(images, path, np.arange(len(images)))
    return ImageData(name, samples, path, source, (*notes, *oddities(samples)))


def _channels_last(images: np.ndarray) -> tuple[np.ndarray, list[str]]:
    if images.ndim == 4 and images.shape[-1] == 4:
        return images, [f"images of shape {images.shape} have 4 channels; the fourth, alpha, is left out"]
    if images.ndim != 4 or images.shape[-1] in CHANNELS or images.shape[1] not in (1, 3):
        return images, []
    return images.transpose(0, 2, 3, 1), [f"images of shape {images.shape} are read as (n, channels, h, w)"]


def _check(name: str, path: Path, images: np.ndarray) -> None:
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[-1] not in CHANNELS) or not images.size:
        raise FeaturespaceError(
            f"data set {name!r}: images in {path} have shape {images.shape}; expected (n, h, w) or (n, h, w, 1|3|4)"
        )
    if images.dtype in (np.bool_, np.uint8, np.uint16):
        return
    if not np.issubdtype(images.dtype, np.floating):
        raise FeaturespaceError(
            f"data set {name!r}: images in {path} are {images.dtype}; expected bool, uint8, uint16 or floating in 0..1"
        )
    finite = np.isfinite(images)
    low, high = images.min(where=finite, initial=np.inf), images.max(where=finite, initial=-np.inf)
    if low < 0 or high > 1:
        raise FeaturespaceError(
            f"data set {name!r}: floating images in {path} range from {low:.4g} to {high:.4g}; scale them to 0..1"
        )


def _to_image(array: np.ndarray) -> Image.Image | np.ndarray:
    if array.ndim == 3:
        array = array[..., 0] if array.shape[-1] == 1 else array[..., :3]
    if array.dtype == np.uint8:
        return Image.fromarray(array)
    scaled = array.astype(np.float32) * (255.0 / 65535 if array.dtype == np.uint16 else 255.0)
    if scaled.ndim == 2:
        return Image.fromarray(scaled)  # mode F, 0..255: nothing is rounded
    return scaled.astype(np.float32, copy=False)
