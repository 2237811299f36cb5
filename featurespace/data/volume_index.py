"""An index of volumes: their geometry and the places of their pixels in one Parquet file, so that no header is opened again."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from featurespace import memory
from featurespace.data.dicom_pixels import DicomPixels
from featurespace.data.nifti import ArrayPixels, NiftiPixels
from featurespace.data.scans import Scan
from featurespace.data.windows import VolumeSettings
from featurespace.errors import FeaturespaceError

MARK = b"featurespace_volumes"  # the key of what the Parquet file tells beside its rows
VERSION = 1
PLAIN = ("shape", "stacked", "spacing", "modality", "inverted", "origin")


@dataclass(frozen=True)
class FoundVolumes:
    """Volumes, and how they are to be read.

    Attributes
    ----------
    names : what patient and volume are called in outputs, by the key of the scan
    beside : label and split of each scan from a table, by its key; None where there is no table
    """

    scans: list[Scan]
    notes: Counter[str]
    names: dict[str, tuple[str, str]]
    beside: dict[str, tuple[Any, Any]] | None
    settings: VolumeSettings
    root: Path


def relatives(scans: list[Scan], root: Path) -> list[str]:
    """Return the first file of each scan, below the folder of the volumes."""
    folder = root.parent if root.is_file() else root
    return [os.path.relpath(scan.files[0], folder).replace(os.sep, "/") for scan in scans]


def is_index(path: Path) -> bool:
    """Whether a file is an index of volumes."""
    import pyarrow.parquet

    if path.suffix.lower() != ".parquet" or not path.is_file():
        return False
    try:
        return MARK in (pyarrow.parquet.read_metadata(path).metadata or {})
    except Exception:  # whoever reads it as a table will tell
        return False


def write_index(found: FoundVolumes, path: Path) -> None:
    """Write an index; the names of patients and volumes are in it as outputs call them, the paths of files as they are."""
    import pyarrow
    import pyarrow.parquet

    root = found.root.absolute()
    settings = found.settings.model_dump(mode="json", exclude={"salt", "table"}) | {"path": str(root)}
    if found.settings.masks is not None:
        settings["masks"] = os.path.abspath(found.settings.masks)
    about = {"version": VERSION, "settings": settings, "notes": found.notes, "table": found.beside is not None}
    table = pyarrow.Table.from_pylist([_row(scan, found) for scan in found.scans])
    table = table.replace_schema_metadata({MARK: json.dumps(about).encode()})
    pyarrow.parquet.write_table(table, path)


def _row(scan: Scan, found: FoundVolumes) -> dict[str, Any]:
    patient, volume = found.names[scan.key]
    label, split = (found.beside or {}).get(scan.key, (None, None))
    where = {each: number for number, each in enumerate(scan.files)}
    status = [os.stat(each) for each in scan.files]
    load: Any = scan.load
    identified = found.settings.identify
    return {
        "patient": patient, "volume": volume, "part": scan.key.rpartition("#")[2], "study": scan.study if identified else "",
        "label": None if pd.isna(label) else label, "split": None if pd.isna(split) else split,
        "files": [os.path.abspath(each) for each in scan.files], "sizes": [each.st_size for each in status],
        "times": [each.st_mtime_ns for each in status], "kind": type(load).__name__,
        "places": [[where[each], number] for each, number in getattr(load, "places", ())],
        "affine": np.asarray(getattr(load, "affine", ()), float).ravel().tolist(),
        "time": getattr(load, "time", None), "stored": list(getattr(load, "shape", ())),
        "about": json.dumps(dict(scan.about)), **{name: getattr(scan, name) for name in PLAIN},
    }  # fmt: skip


def read_index(name: str, settings: VolumeSettings) -> FoundVolumes:
    """Return the volumes of an index; files are asked for their size and time, and none is opened.

    Parameters
    ----------
    settings : with the index as their path; where they say nothing else, what was said to the index counts

    Raises
    ------
    FeaturespaceError
        a file has changed or is gone since the index was written, or names are asked for that it does not hold
    """
    import pyarrow.parquet

    path = Path(settings.path)
    try:
        table = pyarrow.parquet.read_table(path)
        about = json.loads(table.schema.metadata[MARK])
        if about["version"] != VERSION:
            raise ValueError("it was written by another version of featurespace")
        said = VolumeSettings(**about["settings"])
        rows = table.to_pylist()
        scans = [_scan(row, said.identify) for row in rows]
        known = [each for row in rows for each in zip(row["files"], row["sizes"], row["times"], strict=True)]
    except Exception as error:  # of a damaged file pyarrow raises anything
        memory.pass_on(error, f"reading {path}")
        raise FeaturespaceError(f"{path} cannot be read as an index ({error}); write it again") from error
    again = f"write the index again: featurespace index {name}={said.path} --out {path}"
    _refuse_changed(known, again)
    asked = settings.model_fields_set - {"path"}
    for key in sorted(asked & {"salt", "identify", "table", "masks"}):
        raise FeaturespaceError(
            f"data set {name!r}: '{key}' does not go with the index {path}; write it in the volumes.yaml that the index is made of"
        )
    changes = {key: getattr(settings, key) for key in asked}
    notes = Counter({str(text): int(count) for text, count in about["notes"].items()})
    if not said.identify:
        notes[
            "volumes come from an index with hashed names: no leakage check knows their patients in other data sets"
        ] = len(rows)
    return FoundVolumes(
        scans, notes, {scan.key: (row["patient"], row["volume"]) for scan, row in zip(scans, rows)},
        {scan.key: (row["label"], row["split"]) for scan, row in zip(scans, rows)} if about["table"] else None,
        said.model_copy(update=changes), Path(said.path),
    )  # fmt: skip


def _scan(row: dict[str, Any], identified: bool) -> Scan:
    paths, affine = tuple(row["files"]), np.reshape(row["affine"], (-1, 4))
    load: Any = {
        "DicomPixels": lambda: DicomPixels(tuple((paths[which], number) for which, number in row["places"]), affine),
        "NiftiPixels": lambda: NiftiPixels(paths[0], row["time"], affine, tuple(row["stored"])),
        "ArrayPixels": lambda: ArrayPixels(paths),
    }[row["kind"]]()
    plain: dict[str, Any] = {name: tuple(value) if isinstance(value := row[name], list) else value for name in PLAIN}
    return Scan(
        key=f"{row['volume']}#{row['part']}", patient=row["patient"] if identified else "", study=row["study"],
        files=paths, load=load, about=json.loads(row["about"]), **plain,
    )  # fmt: skip


def _refuse_changed(known: list[tuple[str, int, int]], again: str) -> None:
    for path, size, time in known:
        try:
            now = os.stat(path)
        except OSError:
            raise FeaturespaceError(f"{path} is gone; {again}") from None
        if (now.st_size, now.st_mtime_ns) != (size, time):
            raise FeaturespaceError(f"{path} has changed since the index was written; {again}")
