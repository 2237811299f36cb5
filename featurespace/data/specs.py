"""Data specs: ``LABEL=PATH``."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from featurespace.data.arrays import open_npz
from featurespace.data.dataset import ImageData
from featurespace.data.folders import NO_IMAGES, Passed, folder_data, is_image, walk
from featurespace.data.manifests import open_manifest
from featurespace.data.windows import VolumeSettings, read_volume_settings
from featurespace.errors import FeaturespaceError, beside

VOLUME_SUFFIXES = (".nii", ".nii.gz", ".dcm", ".dicom", ".ima", ".npy")
LABEL = re.compile(r"[A-Za-z0-9][\w.+\-]*\Z")


def parse_data_spec(text: str) -> tuple[str, Path]:
    """Split ``LABEL=PATH``; without a label the name of the file or folder serves."""
    label, separator, path = text.partition("=")
    if not separator or not LABEL.match(label):
        label, path = "", text
    if not path or "\0" in path:  # no system has a path with a zero byte
        raise FeaturespaceError(f"data {text!r} names no path; write LABEL=PATH, e.g. xray=images/")
    label = label or re.sub(r"[^\w.+\-]+", "_", Path(path).resolve().stem).strip("_.-") or "data"
    return label, Path(os.path.expanduser(path))  # a shell leaves LABEL=~/images as it is


def open_data(
    text: str, advance: Callable[[int], object] = lambda count: None, *, columns: Sequence[str] = ()
) -> ImageData:
    """Open a data spec: a folder of images or volumes, an ``.npz`` file, a manifest or a YAML file about volumes.

    A folder with volumes is one with more files of theirs, by name or by their first bytes, than of images.

    ``advance`` is called with the number of images just found in a folder; ``columns`` of a manifest are kept.
    """
    name, path = parse_data_spec(text)
    if not os.path.exists(path):
        hint = beside(path)
        label, separator, _ = text.partition("=")
        if separator and not LABEL.match(label):
            hint += (
                f"; {label!r} is no label: a label holds letters, digits and . _ + -, and begins with a letter or digit"
            )
        raise FeaturespaceError(f"data set {name!r}: {path} does not exist{hint}")
    suffix = path.suffix.lower()
    if path.is_dir():
        found, passed = walk(path, is_image, advance)
        if not _holds_volumes(path, found, passed):
            return folder_data(name, path, found, passed)
    settings = VolumeSettings(path=str(path)) if path.is_dir() else _settings_of_file(path)
    if settings is not None:
        from featurespace.data.volumes import open_volumes

        return open_volumes(name, settings, advance)
    if suffix == ".npz" and path.is_file():
        return open_npz(name, path)
    if suffix in (".csv", ".parquet") and path.is_file():
        return open_manifest(name, path, columns=columns)
    raise FeaturespaceError(
        f"data set {name!r}: {path} is neither a folder nor a regular .npz, .csv or .parquet file, nor a volume; "
        "point to the folder of images or to a manifest with a column 'path'"
    )


def volume_settings(text: str) -> VolumeSettings | None:
    """Return how a data spec of volumes is read, None where it names anything else."""
    _, path = parse_data_spec(text)
    if path.is_dir():
        held = _holds_volumes(path, *walk(path, is_image, lambda count: None))
        return VolumeSettings(path=str(path)) if held else None
    return _settings_of_file(path)


def _settings_of_file(path: Path) -> VolumeSettings | None:
    """Return how the volumes are read of a YAML file about them, of an index of them or of a volume; None of another file."""
    from featurespace.data.volume_index import is_index

    if path.suffix.lower() in (".yaml", ".yml") and path.is_file():
        return read_volume_settings(path)
    return VolumeSettings(path=str(path)) if is_index(path) or _is_volume(path) else None


def _holds_volumes(path: Path, images: list[str], passed: Passed) -> bool:
    """Whether a folder holds more files of volumes than of images, given what a walk for images has found."""
    if len(passed.get(NO_IMAGES, ())) <= len(images):
        return False
    found, _ = walk(path, lambda name: not is_image(name), lambda count: None)
    volumes = (each for each in found if _is_volume(path / each))
    return any(count > len(images) for count, _ in enumerate(volumes, start=1))


def _is_volume(path: Path) -> bool:
    """Whether a file is of a volume, by its name or its first bytes."""
    from featurespace.data.dicom import looks_like_dicom

    try:
        return path.is_file() and (path.name.lower().endswith(VOLUME_SUFFIXES) or looks_like_dicom(str(path)))
    except OSError:
        return False


def open_all(texts: list[str], *, columns: Sequence[str] = ()) -> list[ImageData]:
    """Open every spec; labels must differ, and each of ``columns`` must be one of a data set."""
    data = [open_data(text, columns=columns) for text in texts]
    names = [each.name for each in data]
    for name in names:
        if names.count(name) > 1:
            raise FeaturespaceError(f"two data sets are labelled {name!r}; label them apart: --data LABEL=PATH")
    for column in columns:
        if not any(column in each.samples for each in data):
            raise FeaturespaceError(
                f"no data set has a column {column!r}; manifests (.csv, .parquet) have columns, and volumes what their headers tell"
            )
    return data
