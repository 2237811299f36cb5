"""Image folders: a folder a class, a folder a split with classes within, or one flat folder."""

from __future__ import annotations

import os
from pathlib import Path

from featurespace.data.dataset import SPLITS, ImageData, make_samples
from featurespace.errors import FeaturespaceError

IMAGE_SUFFIXES = frozenset([".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm", ".jp2"])


def open_folder(name: str, path: Path) -> ImageData:
    """Return the images below ``path``.

    The first folder below ``path`` that an image lies in is its class. Where every first folder is named as a
    split (train, val, test), it is the split, and the next folder the class. Images straight in ``path`` have
    no label. Other files and hidden folders are passed over and counted.
    """
    found, skipped = _walk(path)
    if not found:
        raise FeaturespaceError(
            f"data set {name!r}: no image in {path} ({skipped} other files there); images end in "
            + ", ".join(sorted(IMAGE_SUFFIXES))
        )
    parts = [Path(relative).parts[:-1] for relative in found]
    first = {part[0].lower() for part in parts if part}
    has_splits = bool(first) and first <= set(SPLITS) and all(parts)
    depth = 1 if has_splits else 0
    labels = [part[depth] if len(part) > depth else None for part in parts]
    notes = [f"{skipped} files that are no images were passed over"] if skipped else []
    if any(label is None for label in labels) and any(label is not None for label in labels):
        count = sum(label is None for label in labels)
        notes.append(f"{count} of {len(labels)} images lie in no class folder and have no label")
    samples = make_samples(
        name,
        id=found,
        path=[str(path / relative) for relative in found],
        label=labels,
        split=[part[0] for part in parts] if has_splits else None,
    )
    return ImageData(name, samples, path, tuple(notes))


def _walk(root: Path) -> tuple[list[str], int]:
    found: list[str] = []
    skipped = 0
    # Links to folders are followed by os.walk only when asked: a loop can then not occur.
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for file_name in sorted(names):
            file = Path(folder, file_name)
            if file_name.startswith("."):
                continue
            if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file():
                found.append(file.relative_to(root).as_posix())
            else:
                skipped += 1
    return sorted(found), skipped
