"""Volumes of patients as images: DICOM series, NIfTI files and NumPy slices, a slice an image."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Set
from pathlib import Path

import numpy as np
import pandas as pd

from featurespace import files
from featurespace.data.dataset import ImageData
from featurespace.data.dicom import looks_like_dicom, read_frames
from featurespace.data.dicom_series import scans_of
from featurespace.data.folders import walk
from featurespace.data.nifti import NIFTI, array_scans, nifti_scans
from featurespace.data.resampling import on_asked_grids
from featurespace.data.samples import SPLITS, make_samples, oddities
from featurespace.data.scans import NotUsed, Scan, plane, reason
from featurespace.data.slices import Volumes
from featurespace.data.volume_masks import mask_files
from featurespace.data.volume_tables import labels_beside
from featurespace.data.windows import VolumeSettings, windowed
from featurespace.errors import FeaturespaceError

ABOUT = ("modality", "manufacturer", "kernel", "slice_thickness", "age", "sex")


def read_volume(path: str | Path) -> tuple[np.ndarray, tuple[float, float, float]]:
    """Return the values and the spacing of the one volume in a file or folder, in canonical orientation.

    Parameters
    ----------
    path : a NIfTI or DICOM file, or a folder of the files of one series

    Returns
    -------
    values : (x, y, z), or (x, y, z, 3) colours; x towards the patient's right, y the front, z the head. The file's own
        values after slope and intercept, float32 where that is exact and float64 elsewhere
    spacing : of x, y, z in mm

    Raises
    ------
    FeaturespaceError
        there is no volume, or there are several
    """
    found, notes, _ = _scans(Path(path), lambda count: None)
    if len(found) != 1:
        why = "; ".join(f"{count} {text}" for text, count in notes.items())
        raise FeaturespaceError(f"{path} holds {len(found)} volumes, expected one" + (f" ({why})" if why else ""))
    try:
        return found[0].load(), found[0].spacing
    except Exception as error:  # of damaged pixels the decoders raise anything
        raise FeaturespaceError(f"{path} cannot be read ({reason(error)})") from error


def open_volumes(
    name: str, settings: VolumeSettings, advance: Callable[[int], object] = lambda count: None
) -> ImageData:
    """Return the slices of all volumes below ``settings.path`` as images.

    Samples have the group of their patient, and what the headers tell of modality, manufacturer, kernel, slice thickness, age
    and sex. Patient, volume and file are named by hashes unless ``settings.identify``. The salt of these hashes is
    ``settings.salt``, or else made of what identifies the volumes themselves: who lacks the data cannot try names out, and the
    same data gives the same names.

    Every file that is not used is counted in the notes with the reason.
    """
    root = Path(settings.path)
    if not root.exists():
        raise FeaturespaceError(f"data set {name!r}: {root} does not exist; name the folder of the volumes")
    masks = {os.path.realpath(os.path.join(str(settings.masks), each)) for each in mask_files(settings, root)}
    scans, notes, relatives = _scans(root, advance, masks)
    scans = on_asked_grids(scans, settings, notes)
    told = [f"{count} {text}" for text, count in notes.items()]
    if not scans:
        raise FeaturespaceError(
            f"data set {name!r}: no volume in {root} ({'; '.join(told) or 'it is empty'}); volumes are DICOM, .nii, .nii.gz "
            "and .npy files"
        )
    names = _Names(scans, settings)
    order = sorted(range(len(scans)), key=lambda number: (names.patient[number], names.volume[number]))
    source = Volumes(scans, settings, [], [])
    empty = Counter[str]()
    for number in order:
        for position in _positions(source, number, empty):
            source.rows.append((number, position))
            source.ids.append(f"{names.volume[number]}/{position:04d}")
    told += [f"{count} {text}" for text, count in empty.items()]
    if not source.rows:
        raise FeaturespaceError(f"data set {name!r}: no slice in {root} is left ({'; '.join(told)}); lower 'filled'")
    samples = _samples(name, source, names, [relatives[scan.files[0]] for scan in scans])
    told.insert(0, f"{len(scans)} volumes of {samples['group'].nunique()} patients; {source.told()}")
    return ImageData(name, samples, root, source, (*told, *oddities(samples)))


class _Names:
    """What patients and volumes are called in outputs."""

    def __init__(self, scans: list[Scan], settings: VolumeSettings):
        salt = settings.salt or files.hash_value(
            [[scan.key, scan.patient, _beginning(scan.files[0])] for scan in scans]
        )

        def hashed(letter: str, text: str) -> str:
            return letter + hashlib.sha256(f"{salt}\0{text}".encode("utf-8", "backslashreplace")).hexdigest()[:12]

        self.patient = [scan.patient if settings.identify else hashed("p", scan.patient) for scan in scans]
        self.volume = [scan.key if settings.identify else hashed("v", scan.key) for scan in scans]


def _beginning(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.sha256(file.read(1 << 20)).hexdigest()


def _scans(
    root: Path, advance: Callable[[int], object], masks: Set[str] = frozenset()
) -> tuple[list[Scan], Counter[str], dict[str, str]]:
    """Return the volumes, notes with their counts, and the name below ``root`` of every file but the masks."""
    if root.is_file():
        relatives, folder, notes = [root.name], str(root.parent), Counter[str]()
    else:
        relatives, passed = walk(root, lambda name: True, advance)
        folder, notes = (
            str(root),
            Counter({f"{several} passed over": len(them) for (_, several), them in passed.items() if them}),
        )
    if masks:
        relatives = [each for each in relatives if os.path.realpath(os.path.join(folder, each)) not in masks]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's quote values of the header
        scans = _read_headers(folder, relatives, notes)
    return scans, notes, {os.path.join(folder, each): each for each in relatives}


def _read_headers(folder: str, relatives: list[str], notes: Counter[str]) -> list[Scan]:
    scans, frames = [], []
    arrays = [each for each in relatives if each.lower().endswith(".npy")]
    for relative in relatives:
        path = os.path.join(folder, relative)
        try:
            if relative.lower().endswith(NIFTI):
                scans += nifti_scans(folder, relative)
            elif not relative.lower().endswith(".npy"):
                if not os.path.isfile(path) or not looks_like_dicom(path):
                    raise NotUsed("neither DICOM nor NIfTI nor .npy")
                frames += read_frames(path)
        except NotUsed as error:
            notes[f"files are not used: {error}"] += 1
        except OSError as error:
            notes[f"files are not used: {reason(error)}"] += 1
    from_arrays, unused = array_scans(folder, arrays)
    notes.update(f"files are not used: {why}" for why in unused.values())
    return scans + from_arrays + scans_of(frames, notes)


def _positions(source: Volumes, number: int, empty: Counter[str]) -> Iterator[int]:
    """Yield the slices of a volume that are images: every k-th from the middle on, those that are not empty."""
    scan, settings = source.scans[number], source.settings
    axis = source.axis(scan)
    count = scan.shape[axis]
    chosen = range(count // 2 % settings.every, count, settings.every)
    if not settings.filled:
        yield from chosen
        return
    try:
        values, limits = source.volume(number)
    except Exception as error:  # of damaged pixels the decoders raise anything
        empty[f"volumes cannot be read ({reason(error)})"] += 1
        return
    for position in chosen:
        shown = plane(values, axis, position)
        share = np.mean(shown.max(-1) > 0 if shown.ndim == 3 else windowed(shown, limits[0]) > 0)
        if share >= settings.filled:
            yield position
        else:
            empty[f"slices are left out: less than {settings.filled:g} of their pixels are above black"] += 1


def _samples(name: str, source: Volumes, names: _Names, relatives: list[str]) -> pd.DataFrame:
    settings = source.settings
    which = [number for number, _ in source.rows]
    tops = [relative.split("/")[0] if "/" in relative else "" for relative in relatives]
    has_splits = all(top.lower() in SPLITS for top in tops)
    depth = 1 if has_splits else 0
    beside = labels_beside(Path(settings.table), source.scans, relatives) if settings.table else None
    labels = [parts[depth] if len(parts := relative.split("/")) > depth + 1 else None for relative in relatives]
    splits = tops if has_splits else None
    if beside is not None:
        labels, splits = list(beside["label"]), None if beside["split"].isna().all() else list(beside["split"])
    has_labels = beside is not None or settings.label == "folder"
    samples = make_samples(
        name, id=source.ids,
        path=[source.scans[each].files[0] for each in which] if settings.identify else None,
        label=[labels[each] for each in which] if has_labels else None,
        group=[names.patient[each] for each in which],
        split=[splits[each] for each in which] if splits else None,
    )  # fmt: skip
    for column in ABOUT:
        values = [source.scans[each].about.get(column) for each in which]
        if any(values):
            samples[column] = pd.array(values, dtype="string")
    return samples
