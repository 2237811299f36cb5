"""Images held in one ``.npz`` file."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from featurespace.data.dataset import ImageData, make_samples
from featurespace.errors import FeaturespaceError

IMAGE_KEYS = ("images", "x", "X", "data")
# The names in use elsewhere for each column, ours first.
COLUMN_KEYS = {
    "label": ("label", "labels", "y"),
    "group": ("group", "groups"),
    "split": ("split", "splits"),
    "id": ("id", "ids"),
}


def open_npz(name: str, path: Path) -> ImageData:
    """Return the images of an ``.npz`` file without pickles.

    ``images`` is (n, h, w) or (n, h, w, c) with c = 1, 3 or 4, uint8, uint16 or floating in 0..1; beside it
    ``label``, ``group``, ``split`` and ``id``, each (n,).
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            content = {key: archive[key] for key in archive.files}
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise FeaturespaceError(
            f"data set {name!r}: {path} cannot be read ({error}); save plain arrays with numpy.savez, no objects"
        ) from error
    key = next((key for key in IMAGE_KEYS if key in content), None)
    if key is None:
        raise FeaturespaceError(f"data set {name!r}: {path} holds {sorted(content)}, but no array 'images'")
    images = _checked(name, path, content[key])
    columns = {}
    for column, keys in COLUMN_KEYS.items():
        found = next((each for each in keys if each in content), None)
        if found is None:
            continue
        values = content[found]
        if values.shape != (len(images),):
            raise FeaturespaceError(
                f"data set {name!r}: {found!r} in {path} has shape {values.shape}, expected ({len(images)},)"
            )
        columns[column] = [_as_text(value) for value in values]
    columns.setdefault("id", [f"{index:06d}" for index in range(len(images))])
    samples = make_samples(name, path=[f"{path}#{index}" for index in range(len(images))], **columns)
    return ImageData(
        name,
        samples,
        path,
        _read=lambda index: _to_image(images[index]),
        _hash=lambda index: hashlib.sha256(np.ascontiguousarray(images[index]).data).hexdigest(),
    )


def _as_text(value: Any) -> str | None:
    # NaN is a missing label; 3.0 is the class 3, because NaN beside integers makes NumPy turn them into floats.
    if isinstance(value, np.floating):
        if np.isnan(value):
            return None
        return str(int(value)) if value == int(value) else str(value)
    return str(value) or None


def _checked(name: str, path: Path, images: np.ndarray) -> np.ndarray:
    if images.ndim == 4 and images.shape[-1] not in (1, 3, 4) and images.shape[1] in (1, 3):
        images = images.transpose(0, 2, 3, 1)
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[-1] not in (1, 3, 4)) or not len(images):
        raise FeaturespaceError(
            f"data set {name!r}: images in {path} have shape {images.shape}; expected (n, h, w) or (n, h, w, 1|3|4)"
        )
    if images.dtype in (np.uint8, np.uint16):
        return images
    if not np.issubdtype(images.dtype, np.floating):
        raise FeaturespaceError(
            f"data set {name!r}: images in {path} are {images.dtype}; expected uint8, uint16 or floating in 0..1"
        )
    bad = ~np.isfinite(images).all(axis=tuple(range(1, images.ndim)))
    if bad.any():
        raise FeaturespaceError(
            f"data set {name!r}: {bad.sum()} of {len(images)} images in {path} hold NaN or infinity, "
            f"the first is number {int(bad.argmax())}; leave them out"
        )
    if images.min() < 0 or images.max() > 1:
        raise FeaturespaceError(
            f"data set {name!r}: floating images in {path} range from {images.min():.4g} to {images.max():.4g}; "
            "scale them to 0..1"
        )
    return images


def _to_image(array: np.ndarray) -> Image.Image:
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.dtype == np.uint8:
        return Image.fromarray(array)
    scaled = array.astype(np.float32) * (255.0 / 65535 if array.dtype == np.uint16 else 255.0)
    if scaled.ndim == 2:
        return Image.fromarray(scaled)  # mode F, 0..255: nothing is rounded
    return Image.fromarray(np.rint(scaled).astype(np.uint8))
