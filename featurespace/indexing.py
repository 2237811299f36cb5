"""A manifest of a data set: its folders are walked once, and later commands read one table."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pandas as pd

from featurespace import files
from featurespace.data.columns import read_table
from featurespace.data.images import ImageFiles
from featurespace.data.samples import SAMPLE_COLUMNS
from featurespace.data.specs import open_data, parse_data_spec, volume_settings
from featurespace.data.volume_index import is_index, write_index
from featurespace.data.volumes import find_volumes
from featurespace.data.windows import VolumeSettings
from featurespace.errors import FeaturespaceError
from featurespace.progress import Progress
from featurespace.spreadsheets import guarded

SUFFIXES = (".csv", ".parquet")


def index(data: str, out: str | Path, *, processes: int = 1, progress: Progress | None = None) -> Path:
    """Write a manifest of a data set, which ``--data LABEL=FILE`` takes in the place of its folder.

    That of volumes is an index of their geometry: their headers are not opened again, patients and volumes are in it as hashes
    (unless a volumes.yaml says ``identify: true``), and the paths of files as they are. It is read with the options of the
    volumes.yaml that it was made of, or of one that names it as its ``path``. A file that has changed since is an error; one
    that is new is not noticed.

    Parameters
    ----------
    data : a data spec, ``LABEL=PATH``, of a folder of images or of another manifest
    out : the manifest, ``.parquet`` or ``.csv``: columns id, path (absolute), label, group, split, and mask where a
        manifest has one; rows, ids and labels are those of the folder, in its order
    processes : that read the headers of volumes; a script that asks for several guards its first lines by
        ``if __name__ == "__main__"``
    progress : where to tell what happens; silent by default

    Returns
    -------
    Path
        the manifest, written whole or not at all; one that this function wrote before is replaced

    Raises
    ------
    FeaturespaceError
        no image is there, the images are no files of their own, a name is no UTF-8, or ``out`` is another kind of file

    Notes
    -----
    Names are read and no file is opened: 1,000,000 files in 1,000 folders take 15 s (two x86-64 cores, a local disk,
    2026-11-28). Of volumes the headers are opened: 20,000 DICOM files of 16 x 16 pixels in 200 series take 62 s of one x86-64
    core, and reading their index 0.6 s, where opening their folder takes 58 s at every start (CPU seconds of one process, a local
    disk, 2026-11-28); how much several processes save was not measured.
    """
    progress, out = progress or Progress(), Path(out).expanduser()
    name, source = parse_data_spec(data)
    settings = volume_settings(data)
    _refuse(out, source, settings is not None)
    if settings is not None:
        return _index_volumes(name, settings, out, processes, progress)
    with progress.stage("read names"), progress.bar("images", None, "images") as advance:
        found = open_data(data, advance)
        if not source.is_dir():
            advance(len(found))
    if not isinstance(found.images, ImageFiles):
        raise FeaturespaceError(
            f"data set {name!r}: the images in {source} are no files; name it as it is, LABEL={source}"
        )
    for note in found.notes:
        progress.say(f"{name}: {note}")
    for path, text in zip(found.images.paths, found.samples["path"]):
        if str(path) != text:
            raise FeaturespaceError(
                f"data set {name!r}: the name {text} is no UTF-8, as a table must be; rename the file"
            )
    table = found.samples.assign(path=[os.path.join(os.getcwd(), each) for each in found.images.paths])
    masks = _masks(source)
    return files.write_atomic(out, lambda path: _write(table if masks is None else table.assign(mask=masks), path))


def _index_volumes(name: str, settings: VolumeSettings, out: Path, processes: int, progress: Progress) -> Path:
    if is_index(Path(settings.path)):
        raise FeaturespaceError(
            f"data set {name!r}: {settings.path} is an index already; name the folder of the volumes"
        )
    with progress.stage("read headers"), progress.bar("files", None, "files") as advance:
        found = find_volumes(name, settings, advance, processes=processes)
    for text, count in found.notes.items():
        progress.say(f"{name}: {count} {text}")
    if not found.scans:
        raise FeaturespaceError(
            f"data set {name!r}: no volume in {settings.path}; volumes are DICOM, .nii, .nii.gz and .npy files"
        )
    try:
        return files.write_atomic(out, lambda path: write_index(found, path))
    except UnicodeEncodeError:
        raise FeaturespaceError(
            f"data set {name!r}: a file's name is no UTF-8, as a table must be; rename it"
        ) from None


def _refuse(out: Path, source: Path, volumes: bool) -> None:
    """Refuse a form that is not known, and a file that is no manifest of ours or the one that is read."""
    if volumes and out.suffix.lower() != ".parquet":
        raise FeaturespaceError(f"--out {out} must end in .parquet; an index of volumes has this form")
    if out.suffix.lower() not in SUFFIXES:
        raise FeaturespaceError(f"--out {out} must end in .parquet or .csv; a manifest has one of these forms")
    if out.exists() and (out.resolve() == source.resolve() or not _is_ours(out)):
        raise FeaturespaceError(f"--out {out} is there already and was not written by `index`; choose another file")


def _is_ours(file: Path) -> bool:
    try:
        if is_index(file):
            return True
        return tuple(read_table(file).columns[: len(SAMPLE_COLUMNS)]) == SAMPLE_COLUMNS
    except FeaturespaceError:
        return False


def _masks(source: Path) -> pd.Series | None:
    """Return the absolute paths of a manifest's column ``mask``."""
    if not source.is_file() or "mask" not in (table := read_table(source)):
        return None
    return table["mask"].map(lambda each: os.path.join(os.getcwd(), source.parent, each), na_action="ignore")


def _write(table: pd.DataFrame, path: Path) -> None:
    if path.suffix.lower() == ".parquet":
        table.to_parquet(path, index=False)
    else:
        guarded(table).to_csv(path, index=False, quoting=csv.QUOTE_NONNUMERIC)  # a carriage return in a name, too
