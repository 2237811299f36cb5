"""A scan: one volume, or one picture of a medical device, as an array in a known orientation."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from featurespace.errors import FeaturespaceError

AXES = {"sagittal": 0, "coronal": 1, "axial": 2}
MAX_RATIO = 1100  # deflate and gzip reach 1032; what promises more is no image
SMALL = 1 << 26  # bytes that are always decoded, however well they are compressed


@dataclass(frozen=True)
class Scan:
    """What the headers tell of one volume.

    Attributes
    ----------
    key : what tells it from other scans; may name a patient, and is only written hashed
    patient : whose it is, as the header says; may name a patient, too
    files : the files it is read from
    shape : (x, y, z) voxels in canonical orientation: towards the patient's right, front and head
    stacked : the axis of ``shape`` along which the slices were acquired
    spacing : distance of voxels along x, y, z in mm; 1 where the file does not tell it
    load : returns the (x, y, z) values, or (x, y, z, 3) where the scan has colours in 0..255; values are those of the
        file after its slope and intercept, float32 where that is exact and float64 elsewhere. A slice that cannot be
        decoded is NaN
    modality : CT, MR, ... as DICOM names them, "" where it is not known
    study : the study that it belongs to; may name a patient, too, and is only compared
    inverted : whether low values are shown bright (MONOCHROME1); ``load`` leaves values as they are
    origin : where the middle of voxel (0, 0, 0) lies, in mm; None where the file does not place its voxels
    own : the scan before it was resampled, None where it was not
    about : what the headers tell of device and patient, for the samples table
    """

    key: str
    patient: str
    files: tuple[str, ...]
    shape: tuple[int, int, int]
    stacked: int
    spacing: tuple[float, float, float]
    load: Callable[[], np.ndarray]
    modality: str = ""
    study: str = ""
    inverted: bool = False
    origin: tuple[float, float, float] | None = None
    own: Scan | None = None
    about: Mapping[str, str] = field(default_factory=dict)


class NotUsed(Exception):
    """A file that is no image here; the message is the reason, and names neither file nor patient."""


def plane(values: np.ndarray, axis: int, index: int) -> np.ndarray:
    """Return slice ``index`` of (x, y, z[, c]) values as (rows, columns[, c]), as a radiologist sees it.

    The patient's right is on the left, the front (axial) or the head (sagittal, coronal) above; sagittal slices look left.
    An axial DICOM slice comes out as it is stored.
    """
    picture = values[(slice(None),) * axis + (index,)]  # a view; `take` would copy the whole volume first
    return picture.swapaxes(0, 1)[::-1, ::-1]


def canonical(values: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Return (i, j, k[, c]) values in canonical orientation, by flips and swaps of axes alone.

    Parameters
    ----------
    affine : (4, 4), from voxel to millimetres, x towards the patient's right, y the front, z the head
    """
    from nibabel.orientations import apply_orientation, io_orientation

    return apply_orientation(values, io_orientation(affine))


def canonical_origin(shape: tuple[int, ...], affine: np.ndarray) -> tuple[float, float, float]:
    """Return where the voxel lies that is (0, 0, 0) in canonical orientation, in mm."""
    from nibabel.orientations import inv_ornt_aff, io_orientation

    x, y, z = (affine @ inv_ornt_aff(io_orientation(affine), shape))[:3, 3].tolist()
    return x, y, z


def canonical_geometry(
    shape: tuple[int, ...], affine: np.ndarray
) -> tuple[tuple[int, int, int], tuple[float, float, float], int]:
    """Return shape and spacing in canonical orientation, and the axis that the third one has become.

    Raises NotUsed where the affine is no geometry.
    """
    from nibabel.orientations import io_orientation

    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < np.finfo(np.float32).tiny:
        raise NotUsed("its header places voxels nowhere (singular affine)")
    orientation = io_orientation(affine)
    if np.isnan(orientation).any():
        raise NotUsed("its header places voxels nowhere (two of its axes are nearly one)")
    becomes = orientation[:, 0].astype(int)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    order = np.argsort(becomes)
    x, y, z = (int(shape[axis]) for axis in order)
    a, b, c = (float(lengths[axis]) for axis in order)
    return (x, y, z), (a, b, c), int(becomes[2])


def refuse_bomb(declared: int, present: int, *, compressed: bool) -> None:
    """Raise NotUsed where a header declares more bytes than its file can hold, or than memory has; nothing is decoded."""
    import psutil

    if declared <= 0:
        raise NotUsed("its header declares no pixels")
    if not compressed and declared > present:
        raise NotUsed("truncated: its header declares more pixels than the file holds")
    if compressed and declared > SMALL and declared > MAX_RATIO * present:
        raise NotUsed("its header declares far more pixels than a file of its size can hold")
    if declared > SMALL and declared > psutil.virtual_memory().available:
        raise NotUsed("its header declares more pixels than fit into memory")


def reason(error: BaseException) -> str:
    """Return what went wrong, without names of files."""
    if isinstance(error, NotUsed):
        return str(error)
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return f"{type(error).__name__}"


def needed(what: str, *packages: str) -> None:
    """Raise FeaturespaceError where one of the packages of the extra ``medical`` is not installed."""
    from importlib.util import find_spec

    from featurespace.errors import needs_extra

    for package in packages:
        if find_spec(package) is None:
            raise needs_extra(what, package, "medical")


def file_size(path: str | Path) -> int:
    """Return the bytes of a file; raises NotUsed where it is none."""
    try:
        return os.stat(path).st_size
    except OSError as error:
        raise NotUsed(reason(error)) from None


def unread(identity: str, why: str) -> FeaturespaceError:
    """Return the error for a slice that cannot be read, by its id."""
    return FeaturespaceError(f"slice {identity} cannot be read ({why})")
