"""The samples table: a row an image, its columns as text, and what is odd about them."""

from __future__ import annotations

import contextlib
import functools
import os
import unicodedata
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from featurespace.errors import FeaturespaceError, counted
from featurespace.progress import shortened

SAMPLE_COLUMNS = ("id", "path", "label", "group", "split")

# What a split column or folder may say, and what it means here. `val` takes part in no test.
SPLITS = {
    "train": "train", "training": "train", "fit": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test", "eval": "test", "holdout": "test",
}  # fmt: skip
NO_LABELS = frozenset({"nan", "none", "null", "n/a", "<na>"})  # how other tools write a missing label


def make_samples(name: str, **columns: Any) -> pd.DataFrame:
    """Return the samples table, every cell as text or missing, with ids checked for uniqueness."""
    n = len(columns["id"])
    table = pd.DataFrame(
        {key: as_texts([None] * n if columns.get(key) is None else columns[key], name, key) for key in SAMPLE_COLUMNS}
    )
    if table["id"].isna().any():
        row = int(table["id"].isna().to_numpy().argmax())
        raise FeaturespaceError(f"data set {name!r}: row {row + 1} has no id; give each image its own, or none to all")
    repeated = table["id"][table["id"].duplicated()]
    if len(repeated):
        raise FeaturespaceError(
            f"data set {name!r}: id {repeated.iat[0]!r} occurs more than once ({counted(len(repeated), 'repeated id')}); "
            "give each image one row with its own id"
        )
    table["split"] = _normalise_splits(name, table["split"])
    return table


def as_texts(values: Any, name: str, column: str) -> pd.Series:
    """Return a column, every cell as text or missing; a cell that holds a list is an error.

    Text is taken as a whole, since a call for each of a million cells takes seconds.
    """
    kinds = {str} if isinstance(getattr(values, "dtype", None), pd.StringDtype) else set(map(type, values))
    lists = tuple(kind for kind in kinds if issubclass(kind, list | tuple | set | dict | np.ndarray))
    if lists:
        row = next(row for row, value in enumerate(values) if isinstance(value, lists))
        raise FeaturespaceError(
            f"data set {name!r}: row {row + 1} of column {column!r} holds a list or the like; each cell holds one "
            "text or number, or nothing"
        )
    if kinds == {str}:
        with contextlib.suppress(UnicodeEncodeError):  # what is no UTF-8 is escaped below, cell by cell
            text = pd.Series(values, dtype="string").reset_index(drop=True)
            return text.mask(text.str.strip() == "")
    return pd.Series(list(map(as_text, values)), dtype="string")


def as_text(value: Any) -> str | None:
    """Return a cell as text; missing and blank are None, 3.0 is 3, and bytes that are no UTF-8 are escaped.

    A whole float is an integer, because a missing value beside integers turns them all into floats.
    """
    if isinstance(value, bytes):
        return as_text(value.decode("utf-8", "backslashreplace"))
    if isinstance(value, str):
        text = value.encode("utf-8", "backslashreplace").decode()
        return text if text.strip() else None
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return None
    if isinstance(value, float | np.floating) and value == np.floor(value) and np.isfinite(value):
        return str(int(value))
    return str(value)


def oddities(samples: pd.DataFrame) -> list[str]:
    """Return what a careful reader would ask about: labels spelt alike or in one split only, files named twice, gaps."""
    return [
        *_odd_labels(samples["label"].dropna()), *_one_sided_labels(samples), *_repeated_files(samples),
        *_missing_groups(samples["group"]),
    ]  # fmt: skip


def _missing_groups(groups: pd.Series) -> Iterator[str]:
    missing = groups.isna().sum()
    if 0 < missing < len(groups):
        verb = "has" if missing == 1 else "have"
        yield f"{missing} of {counted(len(groups), 'image')} {verb} no group; each counts as a group of its own"


def _odd_labels(labels: pd.Series) -> Iterator[str]:
    spelt: dict[str, list[str]] = {}
    for label in sorted(labels.unique()):
        spelt.setdefault(_loosely(label), []).append(label)
    alike = [" and ".join(_told_apart(each)) for each in spelt.values() if len(each) > 1]
    if alike:
        yield f"labels that differ in spelling only count as classes of their own: {shortened(alike)}"
    for label in (each for each in labels.unique() if each.strip().lower() in NO_LABELS):
        yield f"label {label!r} counts as a class; leave the cell empty where there is no label"


def _one_sided_labels(samples: pd.DataFrame) -> Iterator[str]:
    held_out = "test" if (samples["split"] == "test").any() else "val"
    used = samples[samples["split"].isin(["train", held_out])].dropna(subset="label")
    sides = used.groupby("label")["split"].agg(["nunique", "first"])
    lonely = sides[sides["nunique"] == 1]["first"]
    if len(lonely):
        yield "labels in one split only: " + shortened([f"{label!r} in {split}" for label, split in lonely.items()])


def _repeated_files(samples: pd.DataFrame) -> Iterator[str]:
    if samples["path"].isna().all():
        return
    paths = samples["path"].tolist()
    folders = {path[: path.rfind(os.sep) + 1] for path in paths if path is not pd.NA}
    if len({_resolved(each) for each in folders}) == len(folders) and not samples["path"].duplicated().any():
        return  # each folder is spelt in one way
    folder = functools.cache(_resolved)  # once a folder, since it asks the disk
    places = samples["path"].map(lambda path: os.path.join(folder(os.path.dirname(path)), os.path.basename(path)))
    repeated = samples[places.duplicated(keep=False)].groupby(places)["label"].nunique()
    if len(repeated):
        yield f"{counted(len(repeated), 'file stands', 'files stand')} in more than one row, e.g. {repeated.index[0]}"
        repeated = repeated[repeated > 1]
    if len(repeated):
        yield f"{counted(len(repeated), 'file stands', 'files stand')} under more than one label, e.g. {repeated.index[0]}"


def _resolved(folder: str) -> str:
    try:
        return os.path.realpath(folder)
    except ValueError:  # a null character: no file has such a name
        return folder


def _told_apart(labels: list[str]) -> list[str]:
    """Return labels in quotes; with the code points spelt out where they look the same."""
    looks = {unicodedata.normalize("NFC", each) for each in labels}
    return [repr(each) if len(looks) == len(labels) else ascii(each) for each in labels]


def _loosely(label: str) -> str:
    text = " ".join(unicodedata.normalize("NFC", unicodedata.normalize("NFC", label).casefold()).split())
    try:
        return f"{float(text):g}"
    except ValueError:
        return text


def _normalise_splits(name: str, column: pd.Series) -> pd.Series:
    lowered = column.str.strip().str.lower()
    unknown = sorted(set(lowered.dropna()) - set(SPLITS))
    if unknown:
        raise FeaturespaceError(
            f"data set {name!r}: split {unknown[0]!r} is not known; write train, val or test (or leave the column out)"
        )
    codes, names = pd.factorize(lowered)
    return pd.Series(pd.array([SPLITS[each] for each in names], dtype="string").take(codes, allow_fill=True))
