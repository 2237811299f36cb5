"""Features computed elsewhere (radiomics, another tool) as a store of one layer, so that they stand beside networks."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from featurespace import files
from featurespace.data.dataset import ImageData
from featurespace.errors import FeaturespaceError
from featurespace.features.store import FeatureStore

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
    """

    label: str
    spec: str
    values: np.ndarray
    ids: np.ndarray | None
    sha256: str


def read_feature_table(label: str, spec: str, path: Path) -> FeatureTable:
    """Read features from ``.npz`` (``features`` and, where given, ``id``), ``.csv`` or ``.parquet``.

    In a table every numeric column but id, path, label, group, split and domain is a feature.
    """
    values, ids = _read_npz(path) if path.suffix.lower() == ".npz" else _read_columns(path)
    if values.ndim != 2 or not values.size:
        raise FeaturespaceError(f"the features in {path} have shape {values.shape}; expected (images, features)")
    if ids is not None and len(ids) != len(values):
        raise FeaturespaceError(f"{path} holds {len(values)} rows of features and {len(ids)} ids")
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        raise FeaturespaceError(
            f"{path}: {bad.sum()} of {len(values)} rows hold NaN or infinity, the first is row {bad.argmax() + 1}"
        )
    if ids is not None and len(np.unique(ids)) < len(ids):
        raise FeaturespaceError(f"{path} repeats ids; each image needs one row")
    return FeatureTable(label, spec, values.astype(np.float32), ids, files.hash_file(path))


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
    store.finish({})
    return store


def _rows_for(table: FeatureTable, data: ImageData) -> np.ndarray:
    if table.ids is None:
        if len(table.values) != len(data):
            raise FeaturespaceError(
                f"model {table.label!r} has {len(table.values)} rows without ids, data set {data.name!r} has {len(data)} "
                "images; add a column 'id' that holds the images' ids"
            )
        return np.arange(len(data))
    index = {name: row for row, name in enumerate(table.ids.astype(str))}
    best: list[str] = data.samples["id"].tolist()
    for column in ID_COLUMNS:
        names = data.samples[column].tolist()
        missing = [name for name in names if name not in index]
        if not missing:
            return np.array([index[name] for name in names])
        best = min(best, missing, key=len)
    raise FeaturespaceError(
        f"model {table.label!r} has no features for {len(best)} of {len(data)} images of {data.name!r}, the first is "
        f"{best[0]!r}; its own ids look like {str(table.ids[0])!r}"
    )


def _read_npz(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            content = {key: archive[key] for key in archive.files}
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise FeaturespaceError(f"{path} cannot be read ({error}); save plain arrays with numpy.savez") from error
    if "features" not in content:
        raise FeaturespaceError(f"{path} holds {sorted(content)}, but no array 'features' of shape (images, features)")
    ids = next((content[key] for key in ("id", "ids", "path") if key in content), None)
    return content["features"], ids


def _read_columns(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    import pyarrow

    try:
        # Ids as text: 0007 is not 7.
        text = {name: "string" for name in ID_COLUMNS}
        table = pd.read_parquet(path) if path.suffix.lower() == ".parquet" else pd.read_csv(path, dtype=text)
    except (ValueError, OSError, pyarrow.ArrowException) as error:
        raise FeaturespaceError(f"{path} cannot be read as a table ({error})") from error
    numeric = [name for name in table.select_dtypes("number").columns if name not in KNOWN_COLUMNS]
    if not numeric:
        raise FeaturespaceError(f"{path} has no numeric columns beside {sorted(set(table.columns) & KNOWN_COLUMNS)}")
    ids = next((table[name].astype(str).to_numpy(str) for name in ID_COLUMNS if name in table.columns), None)
    return table[numeric].to_numpy(np.float64), ids
