"""A data set: images with id, label, group and split."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd

from featurespace import files
from featurespace.data.images import Header, header_notes
from featurespace.data.samples import SAMPLE_COLUMNS

if TYPE_CHECKING:
    from PIL.Image import Image

READERS = 4  # threads that read files


class Images(Protocol):
    """Where the images of a data set are: files, or one array."""

    def image(self, index: int) -> Image | np.ndarray: ...  # noqa: D102
    def pixels(self, rows: np.ndarray, channels: int, height: int, width: int) -> np.ndarray | None: ...  # noqa: D102
    def digest(self, index: int) -> str: ...  # noqa: D102
    def header(self, index: int) -> Header | None: ...  # noqa: D102
    def take(self, rows: np.ndarray) -> Images: ...  # noqa: D102


@dataclass(frozen=True)
class ImageData:
    """Images of one domain, in a fixed order.

    Attributes
    ----------
    name : label of the data set in tables and figures
    samples : one row an image, columns ``id`` (unique), ``path``, ``label``, ``group``, ``split``; label,
        group and split are missing (NA) where the source has none
    source : where the images came from
    images : what reads them
    notes : what was noticed while reading, for the report
    whole : number of images of the data set that this is a part of, None where it is no part
    """

    name: str
    samples: pd.DataFrame
    source: Path
    images: Images
    notes: tuple[str, ...] = ()
    whole: int | None = None

    def __len__(self) -> int:
        return len(self.samples)

    def image(self, index: int) -> Image | np.ndarray:
        """Return image number ``index`` as it is stored; raises FeaturespaceError if it cannot be read."""
        return self.images.image(index)

    def digests(self) -> list[str]:
        """Return a hash of each image's bytes, "" where it cannot be read. Cost: one read of the data."""
        with ThreadPoolExecutor(READERS) as pool:
            return list(pool.map(self.images.digest, range(len(self))))

    def fingerprint(self, digests: list[str] | None = None) -> str:
        """Return a hash of ids, labels, groups, splits and of the ``digests`` of the images, read where not given."""
        columns = {
            name: self.samples[name].astype("string").fillna("\0").tolist() for name in SAMPLE_COLUMNS if name != "path"
        }
        return files.hash_value({"samples": columns, "content": self.digests() if digests is None else digests})

    def copy_notes(self, digests: list[str]) -> list[str]:
        """Return a note where images have the bytes of an earlier one."""
        copies = pd.Series(digests, index=self.samples["id"])
        copies = copies[copies.ne("") & copies.duplicated(keep=False)]
        count = len(copies) - copies.nunique()
        if not count:
            return []
        first, second = copies.index[copies == copies.iloc[0]][:2]
        text = "image is a copy" if count == 1 else "images are copies"
        return [f"{count} {text} of another one (same bytes), e.g. {first} and {second}; they count as independent"]

    def with_header_notes(self) -> ImageData:
        """Return the data set with notes of what the images' headers tell. Cost: every file is opened."""
        with ThreadPoolExecutor(READERS) as pool:
            headers = list(pool.map(self.images.header, range(len(self))))
        return replace(self, notes=(*self.notes, *header_notes(headers, self.samples["id"].tolist())))

    def subset(self, rows: np.ndarray) -> ImageData:
        """Return the given rows, in the given order, as a data set of the same name."""
        rows = np.asarray(rows)
        samples, whole = self.samples.iloc[rows].reset_index(drop=True), self.whole or len(self)
        return replace(self, samples=samples, images=self.images.take(rows), whole=whole)

    def identities(self, kind: str) -> np.ndarray | None:
        """Return the ``patient`` or the ``study`` of each image, "" where there is none; None where the source tells none.

        Those of volumes are the names in their headers, so that they agree between data sets: compare them, never write them.
        """
        if hasattr(self.images, "identities"):
            found = np.array(self.images.identities(kind), dtype=object)
        else:
            column = {"patient": "group"}.get(kind, kind)
            values = self.samples.get(column)
            found = np.array([] if values is None else values.fillna(""), dtype=object)
        return found if (found != "").any() else None

    def column(self, name: str) -> np.ndarray | None:
        """Return ``label``, ``group`` or ``split`` as an array of strings, or None where the source has none."""
        values = self.samples[name]
        if values.isna().all():
            return None
        return values.astype(object).where(values.notna(), None).to_numpy()
