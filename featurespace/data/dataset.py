"""A data set: images with id, label, group and split."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from featurespace import files
from featurespace.errors import FeaturespaceError

if TYPE_CHECKING:
    from PIL.Image import Image

SAMPLE_COLUMNS = ("id", "path", "label", "group", "split")

# What a split column or folder may say, and what it means here. `val` takes part in no test.
SPLITS = {
    "train": "train", "training": "train", "fit": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test", "eval": "test", "holdout": "test",
}  # fmt: skip


@dataclass(frozen=True)
class ImageData:
    """Images of one domain, in a fixed order.

    Attributes
    ----------
    name : label of the data set in tables and figures
    samples : one row an image, columns ``id`` (unique), ``path``, ``label``, ``group``, ``split``; label,
        group and split are missing (NA) where the source has none
    source : where the images came from
    notes : what was noticed while reading, for the report
    """

    name: str
    samples: pd.DataFrame
    source: Path
    notes: tuple[str, ...] = ()
    _read: Callable[[int], Image] | None = None
    _hash: Callable[[int], str] | None = None

    def __len__(self) -> int:
        return len(self.samples)

    def image(self, index: int) -> Image:
        """Return image number ``index`` as it is stored; raises FeaturespaceError if it cannot be read."""
        if self._read is not None:
            return self._read(index)
        return read_image(self.samples["path"].iat[index])

    def fingerprint(self) -> str:
        """Return a hash of ids, labels, groups, splits and the bytes of every image. Cost: one read of the data."""
        with ThreadPoolExecutor(4) as pool:
            content = list(pool.map(self._hash or self._hash_file, range(len(self))))
        columns = {
            name: self.samples[name].astype("string").fillna("\0").tolist() for name in SAMPLE_COLUMNS if name != "path"
        }
        return files.hash_value({"samples": columns, "content": content})

    def _hash_file(self, index: int) -> str:
        path = self.samples["path"].iat[index]
        try:
            return files.hash_file(path)
        except OSError as error:
            raise FeaturespaceError(f"data set {self.name!r}: {path} cannot be read ({error.strerror})") from error

    def subset(self, rows: np.ndarray) -> ImageData:
        """Return the given rows, in the given order, as a data set of the same name."""
        rows = np.asarray(rows)
        samples = self.samples.iloc[rows].reset_index(drop=True)
        read, digest = self._read, self._hash
        return replace(
            self,
            samples=samples,
            _read=None if read is None else lambda index: read(int(rows[index])),
            _hash=None if digest is None else lambda index: digest(int(rows[index])),
        )

    def column(self, name: str) -> np.ndarray | None:
        """Return ``label``, ``group`` or ``split`` as an array of strings, or None where the source has none."""
        values = self.samples[name]
        if values.isna().all():
            return None
        return values.astype(object).where(values.notna(), None).to_numpy()


def read_image(path: str | Path) -> Image:
    """Read one image file, first frame, upright (EXIF); raises FeaturespaceError with the path and reason."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            image.load()
            return _known_range(ImageOps.exif_transpose(image), path)
    except UnidentifiedImageError:
        raise FeaturespaceError(f"{path} is not an image that can be read") from None
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise FeaturespaceError(f"{path} cannot be read as an image ({error})") from error


def _known_range(image: Image, path: str | Path) -> Image:
    """Return floating images (0..1) as 0..255, the range of every other mode; refuse what has no known range."""
    if image.mode == "I":
        raise FeaturespaceError(f"{path} holds 32-bit integers, whose range is not known; save it with 8 or 16 bit")
    if image.mode != "F":
        return image
    from PIL import Image as images

    array = np.asarray(image)
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 1):  # NaN too
        raise FeaturespaceError(
            f"{path} holds floating values from {low:.4g} to {high:.4g}; scale them to 0..1, or save 8 or 16 bit"
        )
    return images.fromarray(array * np.float32(255))


def make_samples(name: str, **columns: Any) -> pd.DataFrame:
    """Return the samples table, with missing columns filled and ids checked for uniqueness."""
    n = len(columns["id"])
    table = pd.DataFrame(
        {
            key: pd.array(columns[key] if columns.get(key) is not None else [None] * n, dtype="string")
            for key in SAMPLE_COLUMNS
        }
    )
    repeated = table["id"][table["id"].duplicated()]
    if len(repeated):
        raise FeaturespaceError(
            f"data set {name!r}: id {repeated.iat[0]!r} occurs more than once ({len(repeated)} repeated ids); "
            "give each image one row with its own id"
        )
    table["split"] = _normalise_splits(name, table["split"])
    return table


def _normalise_splits(name: str, column: pd.Series) -> pd.Series:
    lowered = column.str.strip().str.lower()
    unknown = sorted(set(lowered.dropna()) - set(SPLITS))
    if unknown:
        raise FeaturespaceError(
            f"data set {name!r}: split {unknown[0]!r} is not known; write train, val or test (or leave the column out)"
        )
    return lowered.map(SPLITS).astype("string")
