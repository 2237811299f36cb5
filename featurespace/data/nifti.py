"""NIfTI volumes, through MONAI and nibabel, and volumes in NumPy files."""

from __future__ import annotations

import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from featurespace import memory
from featurespace.data.scans import (
    NotUsed,
    Scan,
    canonical,
    canonical_geometry,
    canonical_origin,
    file_size,
    needed,
    reason,
    refuse_bomb,
)

NIFTI = (".nii", ".nii.gz")
SUBJECT = re.compile(r"(?:^|[/\\_])sub-([A-Za-z0-9]+)")  # of BIDS
DISPLAY = np.diag([-1.0, -1.0, 1.0, 1.0])  # the affine by which a picture's columns and rows stay as they are


def nifti_scans(root: str, relative: str) -> list[Scan]:
    """Return the volumes of a NIfTI file, one a time point; only the header is read.

    Raises
    ------
    NotUsed
        it is no NIfTI volume, is truncated, or declares more than its file can hold
    """
    needed("reading NIfTI", "monai", "nibabel")
    import nibabel

    path = os.path.join(root, relative)
    try:
        image: Any = nibabel.load(path)
        affine, shape, dtype = np.asarray(image.affine, float), tuple(map(int, image.shape)), image.get_data_dtype()
        offset = int(image.dataobj.offset)
    except Exception as error:  # of a broken header nibabel raises anything
        memory.pass_on(error, f"reading {path}")
        raise NotUsed(f"no NIfTI volume that nibabel reads ({reason(error)})") from None
    colour = dtype.names in (("R", "G", "B"), ("R", "G", "B", "A"))
    times = int(np.prod(shape[3:], dtype=object)) if len(shape) > 3 else 1
    if len(shape) < 2 or len(shape) > 5 or (len(shape) == 5 and shape[3] > 1):
        raise NotUsed(f"a NIfTI file of {len(shape)} axes, which is no volume and no series of volumes")
    if not colour and (dtype.names or dtype.kind not in "biuf"):
        raise NotUsed("its voxels are neither numbers nor colours")
    count = int(np.prod(shape, dtype=object)) if min(shape) > 0 else 0  # two negative lengths would make a positive one
    refuse_bomb(
        count * dtype.itemsize,
        file_size(path) - (0 if path.lower().endswith(".gz") else offset),
        compressed=path.lower().endswith(".gz"),
    )
    spatial = (*shape[:3], 1)[:3]
    axes, spacing, stacked = canonical_geometry(spatial, affine)
    found = SUBJECT.search(relative)
    return [
        Scan(
            key=f"{relative}#{time}", patient=f"sub-{found[1]}" if found else relative, files=(path,), shape=axes,
            stacked=stacked, spacing=spacing, origin=canonical_origin(spatial, affine),
            load=NiftiPixels(path, time if len(shape) > 3 else None, affine, spatial),
        )
        for time in range(times)
    ]  # fmt: skip


@dataclass(frozen=True)
class NiftiPixels:
    """Reads a volume, or one time point of several, when it is called, into canonical orientation."""

    path: str
    time: int | None
    affine: np.ndarray
    shape: tuple[int, ...]

    def __call__(self) -> np.ndarray:
        """Return the values."""
        from monai.data.image_reader import NibabelReader

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of spacings that the header tells twice; the affine counts
            image: Any = NibabelReader().read(self.path)
        time = self.time
        cut = (...,) if time is None else (slice(None),) * 3 + ((0, time) if len(image.shape) == 5 else (time,))
        values = np.asarray(image.dataobj[cut])
        if values.dtype.names:
            values = np.stack([values[name] for name in ("R", "G", "B")], axis=-1)
            return canonical(values.reshape(*self.shape, 3), self.affine).astype(np.float32)
        return canonical(exact_float(values.reshape(self.shape)), self.affine)


def exact_float(values: np.ndarray) -> np.ndarray:
    """Return values as float32 where that is exact, as float64 elsewhere."""
    if values.dtype == np.float32 or values.dtype.itemsize <= 2:
        return values.astype(np.float32)
    small = values.astype(np.float32)
    return small if np.array_equal(small, values, equal_nan=values.dtype.kind == "f") else values.astype(np.float64)


def array_scans(root: str, relatives: list[str]) -> tuple[list[Scan], dict[str, str]]:
    """Return the volumes of ``.npy`` files, and why files are not used, by name.

    Files of (rows, columns) in one folder with one shape are the slices of a volume, in the natural order of their names; a
    file of (slices, rows, columns) is a volume by itself.
    """
    scans, unused, slices = [], {}, {}  # type: ignore[var-annotated]
    for relative in sorted(relatives, key=_natural):
        path = os.path.join(root, relative)
        try:
            values = np.load(path, mmap_mode="r", allow_pickle=False)
        except Exception as error:  # a truncated file, a pickle, no array at all
            unused[relative] = f"no .npy file of numbers ({reason(error)})"
            continue
        if values.ndim not in (2, 3) or not values.size or values.dtype.kind not in "biuf":
            unused[relative] = "an array that is neither (rows, columns) nor (slices, rows, columns) of numbers"
        elif values.ndim == 3:
            scans.append(_array_scan(relative, (path,), values.shape))
        else:
            slices.setdefault((str(Path(relative).parent), values.shape), []).append(path)
    for (folder, shape), paths in slices.items():
        scans.append(_array_scan(f"{folder}/{shape}", tuple(paths), (len(paths), *shape), patient=folder))
    return scans, unused


@dataclass(frozen=True)
class ArrayPixels:
    """Reads the slices of a volume, or a file of all of them, when it is called."""

    paths: tuple[str, ...]

    def __call__(self) -> np.ndarray:
        """Return the values."""
        arrays = [np.load(path, allow_pickle=False) for path in self.paths]
        stacked = arrays[0] if arrays[0].ndim == 3 else np.stack(arrays)
        return canonical(exact_float(stacked).transpose(2, 1, 0), DISPLAY)


def _array_scan(key: str, paths: tuple[str, ...], shape: tuple[int, ...], patient: str = "") -> Scan:
    count, rows, columns = shape
    return Scan(key, patient or key, paths, (columns, rows, count), 2, (1.0, 1.0, 1.0), ArrayPixels(paths))


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Return a key by which slice_2 comes before slice_10."""
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in re.split(r"(\d+)", name)]
