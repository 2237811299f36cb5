"""Features computed elsewhere (radiomics, another tool) as a store of one layer, so that they stand beside networks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from featurespace import files
from featurespace.data.arrays import read_arrays
from featurespace.data.columns import read_table
from featurespace.data.dataset import ImageData
from featurespace.data.samples import as_text
from featurespace.errors import FeaturespaceError, counted
from featurespace.features.store import FeatureStore
from featurespace.progress import shortened

LAYER = "features"
ID_COLUMNS = ("id", "path")
KNOWN_COLUMNS = frozenset({"id", "path", "label", "group", "split", "domain"})
VECTOR = "vector"
LIKE_IDS = frozenset({"image_id", "imageid", "image", "filename", "file_name", "file", "name", "index", "ids"})
VERSION = 2  # of how values are stored
# Shares of a column's mean deviation: the rounding that is let pass, and of its median: what is no more than rounding.
TOLERANCE, ROUNDING = 1e-4, 1e-14
WHOLE = 2**53  # above it float64 does not hold every whole number


@dataclass(frozen=True)
class FeatureTable:
    """A table of features with an id a row.

    Attributes
    ----------
    label, spec : name and model spec
    values : (n, d) float32 features
    ids : id or path of each row, None where the file names none and the rows are in the order of the images
    notes : what was noticed while reading
    """

    label: str
    spec: str
    values: np.ndarray
    ids: list[str] | None
    sha256: str
    notes: tuple[str, ...] = ()


def read_feature_table(label: str, spec: str, path: Path) -> FeatureTable:
    """Read features from ``.npz`` (``features`` and, where given, ``id``), ``.csv`` or ``.parquet``.

    A Parquet file of `featurespace export` with one model and layer is read, too: ``id`` and ``vector``, a list a row.
    In another table every column of numbers or truth values with a name is a feature, but id, path, label, group, split and
    domain (in any case); ``notes`` names them, and what else there is. A column that float32 cannot hold beside a large
    offset is stored less its median.
    """
    values, ids, names, notes = _read_npz(path) if path.suffix.lower() == ".npz" else _read_columns(path)
    if values.ndim != 2 or not values.size:
        raise FeaturespaceError(f"the features in {path} have shape {values.shape}; expected (images, features)")
    if values.dtype.kind not in "biuf":
        raise FeaturespaceError(f"the features in {path} have type {values.dtype}; expected real numbers")
    values, more = _as_float32(path, values, names or [str(number) for number in range(values.shape[1])])
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        raise FeaturespaceError(
            f"{path}: {bad.sum()} of {len(values)} rows hold NaN or infinity (as float32), "
            f"the first is row {bad.argmax() + 1}"
        )
    return FeatureTable(label, spec, values, _checked_ids(path, ids, len(values)), files.hash_file(path), notes + more)


def _as_float32(path: Path, values: np.ndarray, names: list[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return float32 values; a column that would lose by it is stored less its median, and that is said."""
    with np.errstate(all="ignore"):
        single = values.astype(np.float32)
        if values.dtype in (np.bool_, np.float16, np.float32):
            return single, ()
        _refuse_large_whole_numbers(path, values, names)
        values = values.astype(np.float64)
        offset = np.median(values, axis=0)
        spread = np.abs(values - offset).mean(axis=0)
        # Where a value is NaN or infinite every comparison is false, and the caller says so.
        constant = (spread > 0) & (spread < ROUNDING * np.abs(offset))
        lossy = (
            (_error(single, values) > TOLERANCE * spread) & (spread > 0) & ~constant & np.isfinite(single).all(axis=0)
        )
        single[:, constant] = offset[constant]
        single[:, lossy] = values[:, lossy] - offset[lossy]
        lost = _error(single[:, lossy], values[:, lossy] - offset[lossy]) > TOLERANCE * spread[lossy]
    shifted = [name for name, each in zip(names, lossy) if each]
    if lost.any():
        raise FeaturespaceError(f"{path}: column {shifted[lost.argmax()]} cannot be held in float32; scale it")
    notes = (
        (shifted, "are stored less their median, since float32 cannot hold them beside so large an offset"),
        ([name for name, each in zip(names, constant) if each], "differ by rounding only and count as constant"),
    )
    return single, tuple(
        f"{len(each)} of {len(names)} columns {text}: {shortened(each)}" for each, text in notes if each
    )


def _error(single: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.abs(single - values).max(axis=0, initial=0.0)


def _refuse_large_whole_numbers(path: Path, values: np.ndarray, names: list[str]) -> None:
    if values.dtype.kind not in "iu":
        return
    large = (values > WHOLE).any(axis=0) | (values < -WHOLE).any(axis=0)
    if large.any():
        raise FeaturespaceError(
            f"{path}: column {names[large.argmax()]} holds whole numbers above 2**53, which floating-point numbers cannot "
            "tell apart; take it out"
        )


def _checked_ids(path: Path, ids: np.ndarray | pd.Series | None, rows: int) -> list[str] | None:
    if ids is None:
        return None
    if ids.shape != (rows,):
        raise FeaturespaceError(f"{path} holds {counted(rows, 'row')} of features and ids of shape {ids.shape}")
    names = [as_text(each) for each in ids]
    if None in names:
        raise FeaturespaceError(f"{path}: row {names.index(None) + 1} has no id")
    if len(set(names)) < rows:
        raise FeaturespaceError(f"{path} repeats ids; each image needs one row")
    return [str(name) for name in names]


def store_table(table: FeatureTable, data: ImageData, path: Path, *, fingerprint: str) -> FeatureStore:
    """Return a store of the table's rows for the images of ``data``, matched by id, by path, or by order."""
    key = {
        "table": table.sha256,
        "version": VERSION,
        "data": fingerprint,
        "samples": files.hash_value(data.samples["id"].tolist()),
    }
    store = FeatureStore.matching(path, key)
    if store is not None:
        return store
    rows = _rows_for(table, data)
    samples = data.samples.assign(domain=data.name)
    store = FeatureStore.create(
        path, key=key, names=(table.label, data.name), samples=samples, widths={LAYER: table.values.shape[1]},
        batch_size=len(samples),
    )  # fmt: skip
    store.write(0, {LAYER: table.values[rows]})
    store.finish()
    return store


def _rows_for(table: FeatureTable, data: ImageData) -> np.ndarray:
    if table.ids is None:
        _check_order(table, data)
        return np.arange(len(data))
    index = {name: row for row, name in enumerate(table.ids)}
    best: list[str] = data.samples["id"].tolist()
    for column in ID_COLUMNS:
        names = data.samples[column].tolist()
        missing = [name for name in names if name not in index]
        if not missing:
            return np.array([index[name] for name in names])
        best = min(best, missing, key=len)
    raise FeaturespaceError(
        f"model {table.label!r} has no features for {len(best)} of {counted(len(data), 'image')} of {data.name!r}, the first is "
        f"{best[0]!r}; its own ids look like {table.ids[0]!r}"
    )


def _check_order(table: FeatureTable, data: ImageData) -> None:
    rows, whole = len(table.values), data.whole or len(data)
    if rows != whole:
        problem = f"has {counted(rows, 'row')} without ids, data set {data.name!r} has {counted(whole, 'image')}"
    elif whole != len(data):
        problem = (
            f"has rows without ids, but only {len(data)} of the {whole} images of {data.name!r} take part (--limit, or "
            "images that cannot be read)"
        )
    else:
        return
    raise FeaturespaceError(f"model {table.label!r} {problem}; give it a column 'id' that holds the images' ids")


def _read_npz(path: Path) -> tuple[np.ndarray, np.ndarray | None, list[str], tuple[str, ...]]:
    content = read_arrays(path)
    if "features" not in content:
        raise FeaturespaceError(f"{path} holds {sorted(content)}, but no array 'features' of shape (images, features)")
    ids = next((content[key] for each in ("id", "ids", "path") for key in content if key.lower() == each), None)
    return content["features"], ids, [], () if ids is not None else (_by_order(list(content)),)


def _read_columns(path: Path) -> tuple[np.ndarray, pd.Series | None, list[str], tuple[str, ...]]:
    table = read_table(path, text=ID_COLUMNS)
    if VECTOR in table.columns and table[VECTOR].dtype == object:
        return _read_vectors(path, table)
    known = [name for name in table.columns if name.lower() in KNOWN_COLUMNS]
    candidates = [name for name in table.columns if name not in known]
    # A column without a name is the row number that pandas writes.
    numbers = set(table.select_dtypes(["number", "bool"]).columns)
    numeric = [name for name in candidates if name in numbers and name and not name.startswith("Unnamed: ")]
    if not numeric:
        raise FeaturespaceError(
            f"{path} has no numeric columns beside {sorted(known)}; columns are separated by comma, semicolon or tab"
        )
    notes = [f"uses the {counted(len(numeric), 'column')} {_first_and_last(numeric)} as features"]
    others = [repr(name) for name in candidates if name not in numeric]
    if others:
        notes.append(f"columns of {path.name} without numbers or without a name are no features: {shortened(others)}")
    ids = next((table[name] for each in ID_COLUMNS for name in known if name.lower() == each), None)
    if ids is None:
        notes.insert(0, _by_order(candidates))
    for name in numeric:
        _refuse_large_whole_numbers(path, table[[name]].to_numpy(), [name])
    return table[numeric].to_numpy(np.float64), ids, numeric, tuple(notes)


def _read_vectors(path: Path, table: pd.DataFrame) -> tuple[np.ndarray, pd.Series | None, list[str], tuple[str, ...]]:
    """Return the vectors of one model and layer, as `featurespace export` writes them."""
    for name in ("model", "layer"):
        several = table[name].unique().tolist() if name in table.columns else []
        if len(several) > 1:
            raise FeaturespaceError(
                f"{path} holds {len(several)} {name}s ({shortened(several)}); a table of features has one: "
                f"`featurespace export ... --{name} {several[-1]}` writes it"
            )
    lengths = table[VECTOR].map(np.size)
    if lengths.nunique() != 1:
        raise FeaturespaceError(
            f"{path}: vectors have {lengths.min()} to {lengths.max()} values; all need the same number"
        )
    try:
        values = np.array(table[VECTOR].tolist(), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise FeaturespaceError(
            f"{path}: column {VECTOR} holds something else than lists of numbers ({error})"
        ) from None
    ids = next((table[name] for name in ID_COLUMNS if name in table.columns), None)
    notes = [f"uses the {counted(values.shape[1], 'value')} of column {VECTOR} as features"]
    return values, ids, [], tuple(notes if ids is not None else [_by_order(list(table.columns)), *notes])


def _by_order(names: list[str]) -> str:
    close = next((name for name in names if name.lower() in LIKE_IDS), None)
    hint = f" (if {close} holds the images' ids, name it id)" if close else ""
    return "has no column id: its rows are taken in the order of the images" + hint


def _first_and_last(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 5 else f"{', '.join(names[:3])} ... {', '.join(names[-2:])}"
