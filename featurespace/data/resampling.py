"""Volumes on a grid of another spacing, or with slices of square pixels."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np

from featurespace.data.scans import AXES, Scan
from featurespace.data.windows import VolumeSettings

Spacing = tuple[float, float, float]
SAME = 1e-3  # of a spacing, by which headers round it
COPIES = 6  # of a volume that are in memory at once while it is resampled, in float64 at most


def on_asked_grids(scans: list[Scan], settings: VolumeSettings, notes: Counter[str]) -> list[Scan]:
    """Return the scans as ``spacing`` and ``aspect`` ask for them; nothing is read.

    A scan whose file does not tell its spacing stays as it is; one that would not fit into memory is left out.

    Parameters
    ----------
    notes : what is odd, counted by its text; it is added to
    """
    import psutil

    found, worst = [], (1.0, "")
    memory = psutil.virtual_memory().available
    for scan in scans:
        axis = scan.stacked if settings.axis == "acquired" else AXES[settings.axis]
        asked = settings.spacing or scan.spacing
        if settings.aspect:
            finest = min(_in_plane(asked, axis))
            asked = tuple(asked[each] if each == axis else finest for each in range(3))  # type: ignore[assignment]
        if scan.origin is None:
            if asked != scan.spacing:
                notes["volumes do not tell their spacing, and are not resampled"] += 1
        elif math.prod(resampled_shape(scan.shape, scan.spacing, asked)) * 8 * COPIES > memory:
            notes["volumes are left out: resampled they would not fit into memory; raise 'spacing'"] += 1
            continue
        else:
            scan = resampled_scan(scan, asked)
            a, b = sorted(_in_plane(scan.spacing, axis))
            if b / a > 1.01 and min(scan.shape[each] for each in range(3) if each != axis) > 1:
                worst = max(worst, (b / a, f"{a:.3g} x {b:.3g} mm"))
                notes["oblong"] += 1
        found.append(scan)
    oblong = notes.pop("oblong", 0)
    if oblong:
        notes[f"volumes have slices of pixels that are not square (at most {worst[1]}), so that pictures are squeezed; "
              "'aspect: true' or 'spacing' in a volumes.yaml mends it"] += oblong  # fmt: skip
    return found


def _in_plane(spacing: Spacing, axis: int) -> list[float]:
    return [spacing[each] for each in range(3) if each != axis]


def resampled_scan(scan: Scan, asked: Spacing, *, nearest: bool = False) -> Scan:
    """Return a scan whose values are resampled when they are loaded; its shape and spacing are those of the new grid."""
    shape = resampled_shape(scan.shape, scan.spacing, asked)
    if all(map(_is_same, scan.shape, scan.spacing, asked)):
        return scan
    x, y, z = (
        own if _is_same(count, own, other) else other for count, own, other in zip(scan.shape, scan.spacing, asked)
    )
    own, load = scan.spacing, scan.load
    return replace(
        scan, shape=shape, spacing=(x, y, z), own=scan, load=lambda: resampled(load(), own, asked, nearest=nearest)
    )  # fmt: skip


def _is_same(count: int, own: float, asked: float) -> bool:
    """Whether an axis stays as it is; one of a single slice does, since nothing lies between its slices."""
    return count == 1 or math.isclose(own, asked, rel_tol=SAME)


def resampled_shape(shape: tuple[int, int, int], spacing: Spacing, asked: Spacing) -> tuple[int, int, int]:
    """Return how many voxels of the spacing asked for lie in a volume, rounded, one at least."""
    x, y, z = (
        count if _is_same(count, own, other) else max(1, round(count * own / other))
        for count, own, other in zip(shape, spacing, asked)
    )
    return x, y, z


def resampled(values: np.ndarray, spacing: Spacing, asked: Spacing, *, nearest: bool = False) -> np.ndarray:
    """Return (x, y, z[, c]) values on a grid of the spacing asked for, linear between the voxels, in their own type.

    The volume keeps its middle, and its edges where a whole number of new voxels fills it; beyond the middle of the outermost
    voxels values are constant. Values are not smoothed first, so a much coarser grid picks single voxels. What is NaN has no
    weight: a new voxel is NaN where the nearest old one is, and elsewhere between those that are not.

    Parameters
    ----------
    spacing, asked : of x, y, z in mm; an axis of one voxel stays as it is
    nearest : take the nearest voxel, as masks need
    """
    counts = resampled_shape(values.shape[:3], spacing, asked)
    for axis in range(3):
        if not _is_same(values.shape[axis], spacing[axis], asked[axis]):
            values = _along(values, axis, counts[axis], asked[axis] / spacing[axis], nearest)
    return values


def _along(values: np.ndarray, axis: int, count: int, step: float, nearest: bool) -> np.ndarray:
    last = values.shape[axis] - 1
    places = np.clip((np.arange(count) - (count - 1) / 2) * step + last / 2, 0, last)
    closest = values.take(np.floor(places + 0.5).astype(int), axis)
    if nearest:
        return closest
    below = np.floor(places).astype(int)
    above = np.minimum(below + 1, last)
    part = (places - below).astype(values.dtype).reshape([-1 if each == axis else 1 for each in range(values.ndim)])
    low, high = values.take(below, axis), values.take(above, axis)
    between = low + part * (high - low)
    return np.where(np.isnan(between), closest, between)
