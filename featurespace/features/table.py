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
from featurespace.errors import FeaturespaceError
from featurespace.features.store import FeatureStore
from featurespace.progress import shortened

LAYER = "features"
ID_COLUMNS = ("id", "path")
KNOWN_COLUMNS = frozenset({"id", "path", "label", "group", "split", "domain"})


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

    In a table every numeric column with a name, but id, path, label, group, split and domain, is a feature; what else
    there is stands in ``notes``.
    """
    values, ids, notes = _read_npz(path) if path.suffix.lower() == ".npz" else _read_columns(path)
    if values.ndim != 2 or not values.size:
        raise FeaturespaceError(f"the features in {path} have shape {values.shape}; expected (images, features)")
    if values.dtype.kind not in "biuf":
        raise FeaturespaceError(f"the features in {path} have type {values.dtype}; expected real numbers")
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        raise FeaturespaceError(
            f"{path}: {bad.sum()} of {len(values)} rows hold NaN or infinity (as float32), "
            f"the first is row {bad.argmax() + 1}"
        )
    return FeatureTable(label, spec, values, _checked_ids(path, ids, len(values)), files.hash_file(path), notes)


def _checked_ids(path: Path, ids: np.ndarray | pd.Series | None, rows: int) -> list[str] | None:
    if ids is None:
        return None
    if ids.shape != (rows,):
        raise FeaturespaceError(f"{path} holds {rows} rows of features and ids of shape {ids.shape}")
    names = [as_text(each) for each in ids]
    if None in names:
        raise FeaturespaceError(f"{path}: row {names.index(None) + 1} has no id")
    if len(set(names)) < rows:
        raise FeaturespaceError(f"{path} repeats ids; each image needs one row")
    return [str(name) for name in names]


def store_table(table: FeatureTable, data: ImageData, path: Path, *, fingerprint: str) -> FeatureStore:
    """Return a store of the table's rows for the images of ``data``, matched by id, by path, or by order."""
    key = {"table": table.sha256, "data": fingerprint, "samples": files.hash_value(data.samples["id"].tolist())}
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
        if len(table.values) != len(data):
            raise FeaturespaceError(
                f"model {table.label!r} has {len(table.values)} rows without ids, data set {data.name!r} has {len(data)} "
                "images; add a column 'id' that holds the images' ids"
            )
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
        f"model {table.label!r} has no features for {len(best)} of {len(data)} images of {data.name!r}, the first is "
        f"{best[0]!r}; its own ids look like {table.ids[0]!r}"
    )


def _read_npz(path: Path) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
    content = read_arrays(path)
    if "features" not in content:
        raise FeaturespaceError(f"{path} holds {sorted(content)}, but no array 'features' of shape (images, features)")
    ids = next((content[key] for key in ("id", "ids", "path") if key in content), None)
    return content["features"], ids, ()


def _read_columns(path: Path) -> tuple[np.ndarray, pd.Series | None, tuple[str, ...]]:
    table = read_table(path, text=ID_COLUMNS)
    candidates = [name for name in table.columns if name not in KNOWN_COLUMNS]
    # A column without a name is the row number that pandas writes.
    numbers = set(table.select_dtypes("number").columns)
    numeric = [name for name in candidates if name in numbers and name and not name.startswith("Unnamed: ")]
    if not numeric:
        raise FeaturespaceError(f"{path} has no numeric columns beside {sorted(set(table.columns) & KNOWN_COLUMNS)}")
    others = [repr(name) for name in candidates if name not in numeric]
    notes = (f"columns of {path.name} without numbers or without a name are no features: {shortened(others)}",)
    ids = next((table[name] for name in ID_COLUMNS if name in table.columns), None)
    return table[numeric].to_numpy(np.float64), ids, notes if others else ()
