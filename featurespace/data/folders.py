"""Image folders: a folder a class, a folder a split with classes within, or one flat folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from featurespace.data.dataset import ImageData
from featurespace.data.images import ImageFiles
from featurespace.data.samples import SPLITS, make_samples, oddities
from featurespace.errors import FeaturespaceError, counted
from featurespace.progress import shortened

IMAGE_SUFFIXES = frozenset([".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm", ".jp2"])
NO_IMAGES = ("file that is no image was", "files that are no images were")
HIDDEN = (".", "__MACOSX")  # how names begin that no user means
Passed = dict[tuple[str, str], list[str]]  # names by what one and what several of them are


def open_folder(name: str, path: Path, advance: Callable[[int], object] = lambda count: None) -> ImageData:
    """Return the images below ``path``; ``advance`` is called with the number of images just found.

    The first folder below ``path`` that an image lies in is its class. Where every first folder is named as a
    split (train, val, test), it is the split, and the next folder the class; two splits beside anything else are an
    error. Images straight in ``path`` have no label. Other files, links to folders and folders that cannot be read are
    passed over and counted; hidden ones silently.
    """
    return folder_data(name, path, *walk(path, is_image, advance))


def folder_data(name: str, path: Path, found: list[str], passed: Passed) -> ImageData:
    """Return the images below ``path`` that `walk` found there, as `open_folder` does."""
    if not found:
        seen = "; ".join(_counted(passed)) or "it is empty"
        raise FeaturespaceError(
            f"data set {name!r}: no image in {path} ({seen}); images end in " + ", ".join(sorted(IMAGE_SUFFIXES))
        )
    splits, others = _top_names(found)
    has_splits = bool(splits) and not others
    _refuse_mixture(name, path, splits, others)
    labels = [_above(each, 1 if has_splits else 0) for each in found]
    notes = _counted(passed)
    if splits and others:
        notes.append(
            f"folder {splits[0]} counts as a class, since {_listed(others)} beside it "
            f"{'is no split' if len(others) == 1 else 'are no splits'}"
        )
    if any(label is None for label in labels) and any(label is not None for label in labels):
        count = sum(label is None for label in labels)
        notes.append(f"{count} of {len(labels)} images lie in no class folder and have no label")
    paths = [os.path.join(path, relative) for relative in found]  # text: a million Path objects take a gigabyte
    samples = make_samples(
        name, id=found, path=paths, label=labels, split=[_above(each, 0) for each in found] if has_splits else None
    )
    return ImageData(name, samples, path, ImageFiles(paths), (*notes, *oddities(samples)))


def _above(relative: str, depth: int) -> str | None:
    """Return the folder at that depth that an image lies in."""
    parts = relative.split("/")
    return parts[depth] if len(parts) > depth + 1 else None


def _top_names(found: list[str]) -> tuple[list[str], list[str]]:
    """Return the names straight in the folder that are splits, and the others."""
    tops = {(each.split("/", 1)[0], "/" in each) for each in found}
    splits = sorted(top for top, is_folder in tops if is_folder and top.lower() in SPLITS)
    return splits, sorted({top for top, _ in tops} - set(splits))


def _refuse_mixture(name: str, path: Path, splits: list[str], others: list[str]) -> None:
    if others and len({SPLITS[each.lower()] for each in splits}) > 1:
        raise FeaturespaceError(
            f"data set {name!r}: in {path} {_listed(splits)} are splits, but beside them stands {_listed(others)}; move "
            f"{'it' if len(others) == 1 else 'them'} out of {path}, or write a manifest with the columns path, label and "
            "split, and name that instead of the folder"
        )


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{shortened(names[:-1])} and {names[-1]}"


def is_image(name: str) -> bool:
    """Whether a file is an image, by its name."""
    return _suffix(name) in IMAGE_SUFFIXES


def walk(root: Path, wanted: Callable[[str], bool], advance: Callable[[int], object]) -> tuple[list[str], Passed]:
    """Return the files whose names are wanted, relative to ``root``, and by reason the names that are passed over."""
    found: list[str] = []
    others: list[str] = []
    links: list[str] = []
    closed: list[str] = []
    waiting = [("", str(root))]
    while waiting:  # not os.walk, which calls itself once a level
        above, folder = waiting.pop()
        before = len(found)
        try:
            entries = [each for each in os.scandir(folder) if not each.name.startswith(HIDDEN)]
        except OSError:
            closed.append(above.rstrip("/") or ".")
            continue
        for entry in entries:
            if entry.is_dir():
                if entry.is_symlink():  # loops of links have no end
                    links.append(above + entry.name)
                else:
                    waiting.append((f"{above}{entry.name}/", entry.path))
            elif wanted(entry.name) and (entry.is_file() or not os.path.exists(entry.path)):
                found.append(above + entry.name)  # also a broken link; not a pipe or a device
            else:
                others.append(entry.name)
        advance(len(found) - before)
    passed = {
        NO_IMAGES: others,
        ("link to a folder was", "links to folders were"): links,
        ("folder that cannot be read was", "folders that cannot be read were"): closed,
    }  # fmt: skip
    return sorted(found), passed


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _counted(passed: Passed) -> list[str]:
    return [
        f"{counted(len(names), *what)} passed over, e.g. {sorted(names)[0]}" for what, names in passed.items() if names
    ]
