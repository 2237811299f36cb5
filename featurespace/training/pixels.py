"""Decoded images: read once, kept in memory or on disk, or read anew each time; a batch is one gather."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from featurespace import files
from featurespace.data.dataset import ImageData
from featurespace.data.slices import Volumes
from featurespace.data.transforms import network_pixels
from featurespace.device import available_cores
from featurespace.errors import FeaturespaceError
from featurespace.models.load import Preprocessing
from featurespace.progress import Progress
from featurespace.training.settings import TrainingConfig

MEMORY_SHARE = 0.25  # of the free memory, for decoded images kept there
DISK_SHARE = 0.5  # of the free disk
BLOCK = 256  # images decoded before the file of the cache says so


class Pixels:
    """The images of one or several data sets, scaled and centre-cropped to one size, as rows of one array.

    8-bit images are kept as they are; where the first image is deeper, all are kept as float32.

    Attributes
    ----------
    sizes : images of each data set; rows of the second follow those of the first
    kept : memory, disk or none
    """

    name = "pixels"  # of the file on disk

    def __init__(
        self, data: Sequence[ImageData], form: Preprocessing, size: int, *, cache: str, folder: Path,
        workers: int | None, processes: int = 1,
    ):  # fmt: skip
        self.data, self.sizes = tuple(data), [len(each) for each in data]
        self.form = replace(form, input_size=(form.input_size[0], size, size))
        self.starts = np.append(0, np.cumsum(self.sizes))
        self.workers = max(1, available_cores() // processes) if workers is None else max(1, workers)
        first = self._decode(0)
        self.shape, self.dtype = first.shape, first.dtype
        nbytes = len(self) * first.nbytes
        self.kept = _place(nbytes, folder, processes) if cache == "auto" else cache
        self.file = folder / f"{self.name}.npy"
        self.array: np.ndarray | None = None

    def ids(self, rows: np.ndarray) -> list[str]:
        """Return the ids of rows, each with the name of its data set."""
        found = []
        for row in rows.tolist():
            source = int(np.searchsorted(self.starts, row, side="right")) - 1
            found.append(
                f"{self.data[source].name}/{self.data[source].samples['id'].iat[row - int(self.starts[source])]}"
            )
        return found

    def __len__(self) -> int:
        return int(self.starts[-1])

    def prepare(self, progress: Progress) -> None:
        """Decode all images, unless they are read anew each time; those on disk from an earlier start are used again."""
        if self.kept == "memory":
            self.array = np.empty((len(self), *self.shape), self.dtype)
            self._fill(0, progress, lambda done: None)
        elif self.kept == "disk":
            about = {
                "data": self.stamp, "form": self.form.to_dict(),
                "shape": [len(self), *self.shape], "dtype": str(self.dtype),
            }  # fmt: skip
            self._prepare_file(about, progress)

    @cached_property
    def stamp(self) -> str:
        """A hash of the names, sizes and times of the files: ten million are not read twice to know them again."""
        rows = []
        for path in self._files():
            try:
                about = os.stat(path)
                rows.append((str(path), about.st_size, about.st_mtime_ns))
            except (OSError, ValueError):  # decoding will tell
                rows.append((str(path), -1, -1))
        shown = [each.images.stamp() for each in self.data if isinstance(each.images, Volumes)]
        return files.hash_value([[each.samples["id"].tolist() for each in self.data], rows, *shown])

    def _files(self) -> Sequence[Path | str]:
        return [path for each in self.data for path in each.samples["path"].fillna(str(each.source))]

    def _prepare_file(self, about: dict[str, Any], progress: Progress) -> None:
        """Decode into a file that every process maps; the first of a node's processes writes it, the others wait."""
        mark = self.file.with_suffix(".json")
        while int(os.environ.get("LOCAL_RANK", "0")) and _rows(mark, about) < len(self):
            time.sleep(0.2)  # torchrun ends all processes where the first one fails
        done = _rows(mark, about) if self.file.exists() else 0
        with files.writing(self.file):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            if not done:
                mark.unlink(missing_ok=True)
            array = np.lib.format.open_memmap(
                self.file, mode="r+" if done else "w+", dtype=self.dtype, shape=(len(self), *self.shape)
            )
            self.array = array

            def note(rows: int) -> None:
                array.flush()
                files.write_json(mark, {"about": about, "rows": rows})

            self._fill(done, progress, note)

    def _fill(self, done: int, progress: Progress, note: Callable[[int], None]) -> None:
        assert self.array is not None
        if done == len(self):
            return
        with (
            progress.bar("decode images", len(self) - done, "images") as advance,
            ThreadPoolExecutor(self.workers) as pool,
        ):
            for start in range(done, len(self), BLOCK):
                rows = range(start, min(start + BLOCK, len(self)))
                for row, image in zip(rows, pool.map(self._decode, rows)):
                    self.array[row] = image
                note(rows[-1] + 1)
                advance(len(rows))

    def fetch(self, rows: np.ndarray, map_: Callable[..., Any] = map) -> np.ndarray:
        """Return the images of ``rows`` as (b, h, w, c)."""
        if self.array is not None:
            return self.array[rows]
        return np.stack(list(map_(self._decode, rows.tolist())))

    def _decode(self, row: int) -> np.ndarray:
        source = int(np.searchsorted(self.starts, row, side="right")) - 1
        data, index = self.data[source], row - int(self.starts[source])
        try:
            image = network_pixels(data.image(index), self.form)
        except FeaturespaceError as error:
            raise FeaturespaceError(
                f"data set {data.name!r}: {error}; take the image out of the folder or manifest, then run the command again"
            ) from error
        if getattr(self, "dtype", image.dtype) != image.dtype:
            if image.dtype == np.uint8:
                return image.astype(np.float32)
            raise FeaturespaceError(
                f"data set {data.name!r}: image {data.samples['id'].iat[index]!r} has more than 8 bits and the first one "
                "has 8; list a deeper one first, or convert them all"
            )
        return image


def training_pixels(
    data: Sequence[ImageData], form: Preprocessing, config: TrainingConfig, *, whole: bool = False
) -> Pixels:
    """Return the images of a training, an eighth larger than the network sees them, or ``whole`` at just that size."""
    size = form.input_size[1]
    size = config.stored_size or (size if whole else round(size * 8 / 7))
    return Pixels(
        data, form, size, cache=config.cache, folder=config.out, workers=config.workers, processes=config.devices
    )


def _rows(mark: Path, about: dict[str, Any]) -> int:
    """Return how many rows a file of decoded images holds of just these."""
    try:
        known = files.read_json(mark)
        return int(known["rows"]) if known["about"] == about else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _place(nbytes: int, folder: Path, processes: int) -> str:
    import psutil

    if nbytes * processes <= MEMORY_SHARE * psutil.virtual_memory().available:
        return "memory"
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    return "disk" if nbytes <= DISK_SHARE * shutil.disk_usage(there).free else "none"
