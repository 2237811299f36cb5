"""Slices of volumes as the images of a data set."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from featurespace import files, memory
from featurespace.data.scans import AXES, Scan, plane, reason, unread
from featurespace.data.watching import Watched
from featurespace.data.windows import Bounds, VolumeSettings, bounds, windowed

if TYPE_CHECKING:
    from PIL.Image import Image

KEPT = 2  # volumes held in memory


@dataclass
class Volumes:
    """Images of a data set that are slices of volumes.

    Reading goes volume by volume: the last two are kept, and threads that need another one wait for each other.
    """

    scans: list[Scan]
    settings: VolumeSettings
    rows: list[tuple[int, int]]  # scan and slice of each image
    ids: list[str]
    kept: OrderedDict[int, tuple[np.ndarray, list[Bounds]]] = field(default_factory=OrderedDict)
    digests: dict[int, str] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    watched: Watched = field(default_factory=Watched)

    def image(self, index: int) -> Image | np.ndarray:
        """Return image number ``index``, windowed; raises FeaturespaceError if it cannot be read."""
        from PIL import Image as images

        number, position = self.rows[index]
        scan = self.scans[number]
        for path in scan.files if number not in self.kept else ():
            self.watched.check(path, f"the volume of slice {self.ids[index]}")
        try:
            values, limits = self.volume(number)
        except Exception as error:  # of damaged pixels the decoders raise anything
            memory.pass_on(error, f"reading {self.ids[index]}")
            raise unread(self.ids[index], reason(error)) from None
        axis = self.axis(scan)
        if np.isnan(plane(values, axis, position)).all():
            raise unread(self.ids[index], "its pixels cannot be decoded, or are all NaN")
        if self.settings.neighbours and values.ndim == 3:
            beside = np.clip([position - 1, position, position + 1], 0, values.shape[axis] - 1)
            channels = [windowed(plane(values, axis, each), limits[0], inverted=scan.inverted) for each in beside]
            return np.dstack(channels)
        picture = plane(values, axis, position)
        if picture.ndim == 3:
            return np.ascontiguousarray(picture, dtype=np.float32)
        channels = [windowed(picture, each, inverted=scan.inverted) for each in limits]
        return np.dstack(channels) if len(channels) > 1 else images.fromarray(np.ascontiguousarray(channels[0]))

    def axis(self, scan: Scan) -> int:
        """Return the axis of a scan's values along which its slices lie."""
        return scan.stacked if self.settings.axis == "acquired" else AXES[self.settings.axis]

    def volume(self, number: int) -> tuple[np.ndarray, list[Bounds]]:
        """Return the values of a volume, and what is black and white in each window."""
        with self.lock:
            if number not in self.kept:
                while len(self.kept) >= KEPT:
                    self.kept.popitem(last=False)
                scan, settings = self.scans[number], self.settings
                values = scan.load()
                limits = [bounds(values, each, scan.modality, settings.percentiles) for each in settings.window]
                self.kept[number] = values, limits
            self.kept.move_to_end(number)
            return self.kept[number]

    def told(self) -> str:
        """Return how slices are shown, in words."""
        settings = self.settings
        windows = [
            each if isinstance(each, str) else f"level {each[0]:g} width {each[1]:g}" for each in settings.window
        ]
        channels = ", neighbours as channels" if settings.neighbours else ""
        grid = f", resampled to {' x '.join(f'{each:g}' for each in settings.spacing)} mm" if settings.spacing else ""
        square = ", made of square pixels" if settings.aspect else ""
        return f"window {' / '.join(windows)}, {settings.axis} slices{channels}{grid}{square}"

    def stamp(self) -> str:
        """Return a hash of the names, sizes and times of the files and of how slices are shown; nothing is read."""
        content = []
        for path in (path for scan in self.scans for path in scan.files):
            try:
                about = os.stat(path)
                content.append((path, about.st_size, about.st_mtime_ns))
            except OSError:  # decoding will tell
                content.append((path, -1, -1))
        return files.hash_value([content, self._shown()])

    def _shown(self) -> dict[str, Any]:
        grid = self.settings.model_dump(mode="json", include={"spacing", "aspect"}, exclude_defaults=True)
        return grid | self.settings.model_dump(mode="json", include={"window", "percentiles", "axis", "neighbours"})

    def pixels(self, rows: np.ndarray, channels: int, height: int, width: int) -> None:
        """Return nothing: slices are windowed one by one."""

    def digest(self, index: int) -> str:
        """Return a hash of the bytes of the volume's files, of the slice and of how it is shown."""
        number, position = self.rows[index]
        with self.lock:
            if number not in self.digests:
                for path in self.scans[number].files:
                    self.watched.note(path)
                try:
                    content = [files.hash_file(path) for path in self.scans[number].files]
                except OSError:
                    content = []
                self.digests[number] = files.hash_value(content) if content else ""
        if not self.digests[number]:
            return ""
        time = self.scans[number].key.rpartition("#")[2]
        return files.hash_value([self.digests[number], time, position, self._shown()])

    def header(self, index: int) -> None:
        """Return nothing: what the headers tell is said when the volumes are opened."""

    def identities(self, kind: str) -> list[str]:
        """Return the ``patient`` or the ``study`` of each image as the headers name it, to be compared and never written."""
        return [getattr(self.scans[number], kind) for number, _ in self.rows]

    def take(self, rows: np.ndarray) -> Volumes:
        """Return the given images, in the given order."""
        kept = [self.rows[row] for row in rows], [self.ids[row] for row in rows]
        return Volumes(self.scans, self.settings, *kept, watched=self.watched)
