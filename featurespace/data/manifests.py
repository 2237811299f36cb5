"""Manifests: a CSV or Parquet table with a row an image."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from featurespace.data.dataset import ImageData, make_samples
from featurespace.errors import FeaturespaceError, unknown


def read_table(name: str, path: Path) -> pd.DataFrame:
    """Read a CSV or Parquet file, every CSV column as text; raises FeaturespaceError where it is no table."""
    import pyarrow

    try:
        if path.suffix.lower() == ".parquet":
            return pd.read_parquet(path)
        return pd.read_csv(path, dtype="string", keep_default_na=False, na_values=[""])
    except (ValueError, OSError, pyarrow.ArrowException) as error:
        raise FeaturespaceError(f"data set {name!r}: {path} cannot be read as a table ({error})") from error


def open_manifest(name: str, path: Path) -> ImageData:
    """Return the images that a table names: column ``path``, and where present ``id``, ``label``, ``group``, ``split``.

    Relative paths are looked for beside the table. An ``id`` that is not given is the path as written.
    """
    table = read_table(name, path)
    table.columns = [str(column).strip() for column in table.columns]
    if "path" not in table.columns:
        error = unknown("column", "path", table.columns, where=f"the table {path}")
        raise FeaturespaceError(f"data set {name!r}: a manifest needs a column 'path'; {error}")
    if table.empty:
        raise FeaturespaceError(f"data set {name!r}: {path} has no rows")
    written = table["path"].astype("string").str.strip()
    if written.isna().any():
        row = int(written.isna().to_numpy().nonzero()[0][0])
        raise FeaturespaceError(f"data set {name!r}: row {row + 1} of {path} has no path")
    paths = [path.parent / each for each in written]
    missing = [file for file in paths if not file.is_file()]
    if missing:
        raise FeaturespaceError(
            f"data set {name!r}: {len(missing)} of {len(paths)} files named in {path} do not exist, the first is "
            f"{missing[0]}; relative paths are looked for in {path.parent}"
        )
    columns = {key: table[key].astype("string") for key in ("label", "group", "split") if key in table.columns}
    ids = table["id"].astype("string") if "id" in table.columns else written
    samples = make_samples(name, id=ids, path=[str(file) for file in paths], **columns)
    return ImageData(name, samples, path)
