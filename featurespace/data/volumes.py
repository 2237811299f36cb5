"""Volumes of patients as images: DICOM series, NIfTI files and NumPy slices, a slice an image."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from featurespace import files, memory
from featurespace.data.dataset import ImageData
from featurespace.data.resampling import on_asked_grids
from featurespace.data.samples import SPLITS, make_samples, oddities
from featurespace.data.scans import plane, reason
from featurespace.data.slices import Volumes
from featurespace.data.volume_files import find_scans
from featurespace.data.volume_index import FoundVolumes, is_index, read_index, relatives
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
    found, notes = find_scans(Path(path))
    if len(found) != 1:
        why = "; ".join(f"{count} {text}" for text, count in notes.items())
        raise FeaturespaceError(f"{path} holds {len(found)} volumes, expected one" + (f" ({why})" if why else ""))
    try:
        return found[0].load(), found[0].spacing
    except Exception as error:  # of damaged pixels the decoders raise anything
        memory.pass_on(error, f"reading {path}")
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
    index = Path(settings.path)
    found = read_index(name, settings) if is_index(index) else find_volumes(name, settings, advance)
    settings, root, notes = found.settings, found.root, found.notes
    scans = on_asked_grids(found.scans, settings, notes)
    told = [f"{count} {text}" for text, count in notes.items()]
    if not scans:
        raise FeaturespaceError(
            f"data set {name!r}: no volume in {root} ({'; '.join(told) or 'it is empty'}); volumes are DICOM, .nii, .nii.gz "
            "and .npy files"
        )
    named = [found.names[scan.key] for scan in scans]
    order = sorted(range(len(scans)), key=lambda number: named[number])
    source = Volumes(scans, settings, [], [])
    empty = Counter[str]()
    for number in order:
        for position in _positions(source, number, empty):
            source.rows.append((number, position))
            source.ids.append(f"{named[number][1]}/{position:04d}")
    told += [f"{count} {text}" for text, count in empty.items()]
    if not source.rows:
        raise FeaturespaceError(f"data set {name!r}: no slice in {root} is left ({'; '.join(told)}); lower 'filled'")
    samples = _samples(name, source, found, named)
    told.insert(0, f"{len(scans)} volumes of {samples['group'].nunique()} patients; {source.told()}")
    return ImageData(name, samples, root, source, (*told, *oddities(samples)))


def find_volumes(
    name: str, settings: VolumeSettings, advance: Callable[[int], object] = lambda count: None, *, processes: int = 1
) -> FoundVolumes:
    """Return the volumes that the headers below ``settings.path`` tell of, and what they are called in outputs."""
    root = Path(settings.path)
    if not root.exists():
        raise FeaturespaceError(f"data set {name!r}: {root} does not exist; name the folder of the volumes")
    masks = {os.path.realpath(os.path.join(str(settings.masks), each)) for each in mask_files(settings, root)}
    scans, notes = find_scans(root, advance, masks=masks, processes=processes)
    salt = settings.salt or files.hash_value([[scan.key, scan.patient, _beginning(scan.files[0])] for scan in scans])

    def hashed(letter: str, text: str) -> str:
        return letter + hashlib.sha256(f"{salt}\0{text}".encode("utf-8", "backslashreplace")).hexdigest()[:12]

    names = {
        scan.key: (scan.patient, scan.key) if settings.identify else (hashed("p", scan.patient), hashed("v", scan.key))
        for scan in scans
    }
    beside = None
    if settings.table and scans:
        table = labels_beside(Path(settings.table), scans, relatives(scans, root))
        beside = {scan.key: (label, split) for scan, label, split in zip(scans, table["label"], table["split"])}
    return FoundVolumes(scans, notes, names, beside, settings, root)


def _beginning(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.sha256(file.read(1 << 20)).hexdigest()


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
        memory.pass_on(error, "looking for empty slices")
        empty[f"volumes cannot be read ({reason(error)})"] += 1
        return
    for position in chosen:
        shown = plane(values, axis, position)
        share = np.mean(shown.max(-1) > 0 if shown.ndim == 3 else windowed(shown, limits[0]) > 0)
        if share >= settings.filled:
            yield position
        else:
            empty[f"slices are left out: less than {settings.filled:g} of their pixels are above black"] += 1


def _samples(name: str, source: Volumes, found: FoundVolumes, named: list[tuple[str, str]]) -> pd.DataFrame:
    settings, beside = source.settings, found.beside
    which = [number for number, _ in source.rows]
    places = relatives(source.scans, found.root)
    tops = [place.split("/")[0] if "/" in place else "" for place in places]
    has_splits = all(top.lower() in SPLITS for top in tops)
    depth = 1 if has_splits else 0
    labels = [parts[depth] if len(parts := place.split("/")) > depth + 1 else None for place in places]
    splits = tops if has_splits else None
    if beside is not None:
        labels, given = [beside[scan.key][0] for scan in source.scans], [beside[scan.key][1] for scan in source.scans]
        splits = None if all(map(pd.isna, given)) else given
    has_labels = beside is not None or settings.label == "folder"
    samples = make_samples(
        name, id=source.ids,
        path=[source.scans[each].files[0] for each in which] if settings.identify else None,
        label=[labels[each] for each in which] if has_labels else None,
        group=[named[each][0] for each in which],
        split=[splits[each] for each in which] if splits else None,
    )  # fmt: skip
    for column in ABOUT:
        values = [source.scans[each].about.get(column) for each in which]
        if any(values):
            samples[column] = pd.array(values, dtype="string")
    return samples
