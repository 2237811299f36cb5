"""Volumes on a grid of another spacing, or with slices of square pixels."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from functools import partial

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
    weight: a new voxel is NaN where the nearest old one is, and elsewhere between those that are not. SciPy computes it in float64;
    MONAI's ``SpatialResample`` gives the same grid, but in float32 only (2e-5 off) and NaN wherever one is near.

    Parameters
    ----------
    spacing, asked : of x, y, z in mm; an axis of one voxel stays as it is
    nearest : take the nearest voxel, as masks need
    """
    from scipy.ndimage import affine_transform

    counts = resampled_shape(values.shape[:3], spacing, asked)
    steps, starts = np.ones(values.ndim), np.zeros(values.ndim)
    for axis, (old, new, own, other) in enumerate(zip(values.shape, counts, spacing, asked)):
        steps[axis] = 1.0 if _is_same(old, own, other) else other / own
        starts[axis] = (old - 1) / 2 - (new - 1) / 2 * steps[axis]
    if (steps == 1).all():
        return values
    on_grid = partial(
        affine_transform, values, steps, starts, output_shape=(*counts, *values.shape[3:]), mode="nearest"
    )
    if nearest:
        return on_grid(order=0)
    between = on_grid(order=1)
    missing = np.isnan(between)
    return np.where(missing, on_grid(order=0), between) if missing.any() else between
