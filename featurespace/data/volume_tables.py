"""A table beside volumes: labels and splits by patient, or by file or folder."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pandas as pd

from featurespace.data.columns import read_table
from featurespace.data.scans import Scan
from featurespace.errors import FeaturespaceError, unknown

KEYS, VALUES = ("patient", "path"), ("label", "split")


def labels_beside(file: Path, scans: list[Scan], relatives: list[str]) -> pd.DataFrame:
    """Return the label and the split of each scan, missing where the table has no row for it.

    Parameters
    ----------
    file : a CSV or Parquet table; its column ``patient`` holds the identifiers of the headers, or its column ``path`` files or
        folders as ``relatives`` names them
    relatives : the first file of each scan, below the data set's folder

    Raises
    ------
    FeaturespaceError
        the table lacks its columns, names a patient or path twice, or has no row for any scan
    """
    table = read_table(file).astype("string")
    key = next((each for each in KEYS if each in table.columns), None)
    if key is None:
        raise unknown("column", "patient", table.columns, where=f"the table {file}", hint="; it needs patient or path")
    values = [each for each in VALUES if each in table.columns]
    if not values:
        raise unknown(
            "column", "label", table.columns, where=f"the table {file}", hint="; it needs label, split or both"
        )
    table = table.set_index(table[key].str.strip().str.rstrip("/"))[values]
    if table.index.duplicated().any():
        row = int(table.index.duplicated().argmax()) + 1
        raise FeaturespaceError(f"{file}: row {row} names a {key} that an earlier row names; keep one row a {key}")
    places = [_row(table.index, _names(key, scan, relative)) for scan, relative in zip(scans, relatives)]
    found = table.reindex(pd.Index(places, dtype="string")).reset_index(drop=True)
    if all(place is None for place in places):
        raise FeaturespaceError(
            f"{file}: none of its {len(table)} rows names a {key} of the {len(scans)} volumes; "
            + (
                "write identifiers as the headers do"
                if key == "patient"
                else "write paths below the folder of the volumes"
            )
        )
    return found.reindex(columns=list(VALUES)).astype("string")


def _names(key: str, scan: Scan, relative: str) -> list[str]:
    """Return what a row may call a scan, the narrowest first."""
    if key == "patient":
        return [scan.patient, scan.patient.removeprefix("sub-")]
    path = PurePosixPath(relative)
    return [str(path), *map(str, path.parents)]


def _row(index: pd.Index, names: list[str]) -> str | None:
    return next((name for name in names if name in index), None)
