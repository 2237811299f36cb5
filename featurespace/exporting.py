"""The features of a run as files for other programs: HDF5, CSV, or one Parquet with a column of vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from featurespace import files
from featurespace.errors import FeaturespaceError, unknown
from featurespace.progress import Progress, shortened
from featurespace.run import RESERVED, Run, load
from featurespace.spreadsheets import guarded

if TYPE_CHECKING:
    from featurespace.features.store import FeatureStore

CHUNK_ROWS = 4096


def export(
    run: Run | str | Path, *, form: str = "parquet", out: str | Path | None = None, models: Sequence[str] = (),
    data: Sequence[str] = (), layers: Sequence[str] = (), progress: Progress | None = None,
) -> list[Path]:  # fmt: skip
    """Write the features of a run for other programs, and return the files.

    Parameters
    ----------
    run : a run, or its directory
    form : ``parquet``, one file ``features.parquet`` with one row an image and layer: model, data, layer, the columns
        of the sample, and the vector as a list of float32; ``csv``, one file a model, data set and layer: the columns
        of the sample, then ``f0``, ``f1``, ...; ``hdf5``, one file ``features.h5``: ``/MODEL/DATA/layers/LAYER``
        (n, d) float32 and ``/MODEL/DATA/samples/COLUMN`` (n,) text, where a slash in a layer's name becomes ``|``
    out : the directory for the files, by default ``export`` in the run's
    models, data, layers : what to write; by default everything
    progress : where to tell what happens; silent by default

    Returns
    -------
    list
        the files written, each whole: an interrupted export leaves none that is half

    Raises
    ------
    FeaturespaceError
        the run has no features, a name is not in it, a form is not known, h5py is missing, a file cannot be written

    Notes
    -----
    Cost: one read of the features, 4,096 rows in memory at a time.
    """
    run = run if isinstance(run, Run) else load(run)
    if form not in WRITERS:
        raise unknown("form", form, WRITERS, where="export")
    stores = _chosen(run, models, data)
    known = list(dict.fromkeys(layer for store in stores for layer in store))
    for layer in layers:
        if layer not in known:
            raise unknown("layer", layer, known, where=str(run.path))
    folder = Path(out).expanduser() if out is not None else run.path / "export"
    inside = [name for name in RESERVED if folder.resolve().is_relative_to((run.path / name).resolve())]
    if inside:
        raise FeaturespaceError(f"{folder} is in the run's own {inside[0]}; choose another --out")
    for store in stores:
        store.verify()  # what is exported is what was written
    return WRITERS[form](folder, stores, set(layers or known), progress or Progress())


def _chosen(run: Run, models: Sequence[str], data: Sequence[str]) -> list[FeatureStore]:
    stores = run.stores()
    if not stores:
        raise FeaturespaceError(
            f"{run.path} holds no finished features; `featurespace extract` or `analyze` with --out {run.path} makes them"
        )
    if run.unfinished():
        raise FeaturespaceError(
            f"the features of {shortened(run.unfinished())} in {run.path} are unfinished or damaged; run the command that "
            "made them again, then export"
        )
    for what, wanted in (("model", models), ("data", data)):
        known = list(dict.fromkeys(store.manifest[what] for store in stores))
        for name in wanted:
            if name not in known:
                raise unknown("model" if what == "model" else "data set", name, known, where=str(run.path))
    return [
        store for store in stores
        if (not models or store.manifest["model"] in models) and (not data or store.manifest["data"] in data)
    ]  # fmt: skip


def _parquet(folder: Path, stores: list[FeatureStore], layers: set[str], progress: Progress) -> list[Path]:
    import pyarrow as pa
    from pyarrow import parquet

    sample = [(name, pa.string()) for name in stores[0].samples.columns]
    names = [(name, pa.string()) for name in ("model", "data", "layer")]
    schema = pa.schema([*names, *sample, ("vector", pa.list_(pa.float32()))])

    def write(path: Path) -> None:
        with parquet.ParquetWriter(path, schema) as writer:
            for store, layer, features in _layers(stores, layers, progress):
                samples = store.samples
                for rows in _chunks(len(features)):
                    values = np.ascontiguousarray(features[rows])
                    offsets = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
                    columns = [
                        [text] * len(values) for text in (store.manifest["model"], store.manifest["data"], layer)
                    ]
                    columns += [samples[name].iloc[rows].to_numpy(object, na_value=None) for name, _ in sample]
                    vectors = pa.ListArray.from_arrays(offsets, values.ravel())
                    arrays = [pa.array(column, pa.string()) for column in columns]
                    writer.write_table(pa.Table.from_arrays([*arrays, vectors], schema=schema))

    return [files.write_atomic(folder / "features.parquet", write)]


def _csv(folder: Path, stores: list[FeatureStore], layers: set[str], progress: Progress) -> list[Path]:
    import pandas as pd

    def writer(store: FeatureStore, features: np.ndarray) -> Callable[[Path], None]:
        def write(path: Path) -> None:
            names = [f"f{index}" for index in range(features.shape[1])]
            for rows in _chunks(len(features)):
                part = store.samples.iloc[rows].reset_index(drop=True)
                table = pd.concat([part, pd.DataFrame(features[rows], columns=names)], axis=1)
                first = rows.start == 0
                # 9 digits: a float32 read from the file is the float32 that was written
                guarded(table).to_csv(path, mode="w" if first else "a", header=first, index=False, float_format="%.9g")

        return write

    written = []
    for store, layer, features in _layers(stores, layers, progress):
        parts = [files.safe_name(name) for name in (store.manifest["model"], store.manifest["data"], layer)]
        file = folder.joinpath(*parts[:2], f"{parts[2]}.csv")
        written.append(files.write_atomic(file, writer(store, features)))
    return written


def _hdf5(folder: Path, stores: list[FeatureStore], layers: set[str], progress: Progress) -> list[Path]:
    try:
        import h5py
    except ImportError as error:
        raise FeaturespaceError(
            "HDF5 needs h5py: pip install 'featurespace[hdf5]'; or export parquet or csv"
        ) from error

    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            for store in stores:
                group = file.create_group(f"{store.manifest['model']}/{store.manifest['data']}")
                group.attrs["key_sha256"] = store.manifest["key_sha256"]
                for name, column in store.samples.items():
                    text = column.astype(object).where(column.notna(), "").tolist()
                    group.create_dataset(f"samples/{name}", data=text, dtype=h5py.string_dtype())
            for store, layer, features in _layers(stores, layers, progress):
                place = f"{store.manifest['model']}/{store.manifest['data']}/layers/{layer.replace('/', '|')}"
                rows = file.create_dataset(place, features.shape, np.float32)
                for part in _chunks(len(features)):
                    rows[part] = features[part]

    return [files.write_atomic(folder / "features.h5", write)]


def _layers(
    stores: list[FeatureStore], layers: set[str], progress: Progress
) -> Iterator[tuple[FeatureStore, str, np.ndarray]]:
    wanted = [(store, layer) for store in stores for layer in store if layer in layers]
    with progress.bar("export", len(wanted), "layers") as advance:
        for store, layer in wanted:
            yield store, layer, store[layer]
            advance(1)


def _chunks(count: int) -> Iterator[slice]:
    return (slice(start, min(start + CHUNK_ROWS, count)) for start in range(0, count, CHUNK_ROWS))


WRITERS: dict[str, Callable[[Path, list[FeatureStore], set[str], Progress], list[Path]]] = {
    "parquet": _parquet, "csv": _csv, "hdf5": _hdf5,
}  # fmt: skip
