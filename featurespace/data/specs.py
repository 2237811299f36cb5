"""Data specs: ``LABEL=PATH``."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from featurespace.data.arrays import open_npz
from featurespace.data.dataset import ImageData
from featurespace.data.folders import open_folder
from featurespace.data.manifests import open_manifest
from featurespace.errors import FeaturespaceError, nearest

LABEL = re.compile(r"[A-Za-z0-9][\w.+\-]*\Z")


def parse_data_spec(text: str) -> tuple[str, Path]:
    """Split ``LABEL=PATH``; without a label the name of the file or folder serves."""
    label, separator, path = text.partition("=")
    if not separator or not LABEL.match(label):
        label, path = "", text
    if not path:
        raise FeaturespaceError(f"data {text!r} names no path; write LABEL=PATH, e.g. xray=images/")
    label = label or re.sub(r"[^\w.+\-]+", "_", Path(path).resolve().stem).strip("_.-") or "data"
    return label, Path(os.path.expanduser(path))  # a shell leaves LABEL=~/images as it is


def open_data(text: str, advance: Callable[[int], object] = lambda count: None) -> ImageData:
    """Open a data spec: a folder of images, an ``.npz`` file, or a ``.csv`` or ``.parquet`` manifest.

    ``advance`` is called with the number of images just found in a folder.
    """
    name, path = parse_data_spec(text)
    if not os.path.exists(path):
        parent = path.parent
        close = nearest(path.name, [each.name for each in parent.iterdir()]) if parent.is_dir() else []
        hint = f"; did you mean {parent / close[0]}?" if close else ""
        label, separator, _ = text.partition("=")
        if separator and not LABEL.match(label):
            hint += (
                f"; {label!r} is no label: a label holds letters, digits and . _ + -, and begins with a letter or digit"
            )
        raise FeaturespaceError(f"data set {name!r}: {path} does not exist{hint}")
    if path.is_dir():
        return open_folder(name, path, advance)
    suffix = path.suffix.lower()
    if suffix == ".npz" and path.is_file():
        return open_npz(name, path)
    if suffix in (".csv", ".parquet") and path.is_file():
        return open_manifest(name, path)
    raise FeaturespaceError(
        f"data set {name!r}: {path} is neither a folder nor a regular .npz, .csv or .parquet file; "
        "point to the folder of images or to a manifest with a column 'path'"
    )


def open_all(texts: list[str]) -> list[ImageData]:
    """Open every spec; labels must differ."""
    data = [open_data(text) for text in texts]
    names = [each.name for each in data]
    for name in names:
        if names.count(name) > 1:
            raise FeaturespaceError(f"two data sets are labelled {name!r}; label them apart: --data LABEL=PATH")
    return data
