"""Manifests: a CSV or Parquet table with a row an image."""

from __future__ import annotations

import os
from pathlib import Path

from featurespace.data.columns import read_table
from featurespace.data.dataset import ImageData
from featurespace.data.images import ImageFiles
from featurespace.data.samples import as_text, make_samples, oddities
from featurespace.errors import FeaturespaceError, unknown


def open_manifest(name: str, path: Path) -> ImageData:
    """Return the images that a table names: column ``path``, and where present ``id``, ``label``, ``group``, ``split``.

    Relative paths are looked for beside the table. An ``id`` that is not given is the path as written. A file that does
    not exist is a bad image like any other, and counted here; where none exists, that is an error.
    """
    try:
        table = read_table(path)
    except FeaturespaceError as error:
        raise FeaturespaceError(f"data set {name!r}: {error}") from error
    if "path" not in table.columns:
        raise FeaturespaceError(
            f"data set {name!r}: a manifest needs a column 'path'; "
            + str(unknown("column", "path", table.columns, where=f"the table {path}"))
            + ("; columns are separated by comma, semicolon or tab" if len(table.columns) == 1 else "")
        )
    if table.empty:
        raise FeaturespaceError(f"data set {name!r}: {path} has no rows")
    written = [as_text(each) for each in table["path"]]
    if None in written:
        raise FeaturespaceError(f"data set {name!r}: row {written.index(None) + 1} of {path} has no path")
    folder = "" if path.parent == Path() else path.parent
    paths = [os.path.join(folder, str(each).strip()) for each in written]
    missing = [file for file in paths if not os.path.isfile(file)]
    columns = {key: table[key] for key in ("label", "group", "split") if key in table.columns}
    samples = make_samples(name, id=table["id"] if "id" in table.columns else written, path=paths, **columns)
    notes = oddities(samples)
    if missing:
        problem = f"{len(missing)} of {len(paths)} files named in {path} do not exist, the first is {missing[0]}"
        if len(missing) == len(paths):
            raise FeaturespaceError(f"data set {name!r}: {problem}; {_hint(written[0] or '', path)}")
        notes.insert(0, problem)
    return ImageData(name, samples, path, ImageFiles(paths), tuple(notes))


def _hint(written: str, path: Path) -> str:
    if "://" in written:
        return "a path names a file on this machine, not an address"
    if written.startswith("~"):
        return "~ is not expanded in a table; write the whole path"
    if "\\" in written:
        return "write / between folders"
    return f"relative paths are looked for in {path.parent}"
