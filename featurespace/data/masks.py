"""Mask files: a class number for every pixel; and folders of them, true and predicted, matched by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from featurespace import files
from featurespace.data.images import read_image
from featurespace.errors import FeaturespaceError

SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".gif")  # that keep numbers as they are
IMAGE_SUFFIXES = (*SUFFIXES, ".jpg", ".jpeg")


@dataclass(frozen=True)
class MaskFiles:
    """The masks of a data set's images that are files of their own."""

    paths: Sequence[Path]

    def numbers(self, index: int) -> np.ndarray:
        """Return the (h, w) class numbers of image ``index``; raises FeaturespaceError if they cannot be read."""
        return read_mask(self.paths[index])

    def called(self, index: int) -> str:
        """Return what an error calls the mask of an image."""
        return str(self.paths[index])

    def fingerprint(self) -> str:
        """Return a hash of the bytes of all masks."""
        return files.hash_value([files.hash_file(each) for each in self.paths])

    def take(self, rows: np.ndarray) -> MaskFiles:
        """Return the masks of the given images, in the given order."""
        return MaskFiles([self.paths[row] for row in rows])


def read_mask(path: Path) -> np.ndarray:
    """Return (h, w) class numbers of a file; raises FeaturespaceError if it cannot be read or has colours."""
    picture = read_image(path)
    if isinstance(picture, np.ndarray) or picture.mode not in ("L", "P", "1"):
        raise FeaturespaceError(f"mask {path} has colours; a mask holds one class number a pixel, in 8 bits")
    return np.asarray(picture, np.uint8)  # of a palette the numbers, not the colours


def predicted_masks(
    masks: str | Path, predictions: Mapping[str, str | Path]
) -> Iterator[tuple[str, np.ndarray, list[np.ndarray]]]:
    """Yield the name, the mask and each model's prediction of every image, one image at a time.

    Parameters
    ----------
    masks : folder of the true masks, subfolders too; the name of an image is its path below it, without the suffix
    predictions : label of a model -> folder of what it predicted, under the same names

    Raises
    ------
    FeaturespaceError
        If a folder does not exist or holds no mask, a prediction is missing, a name stands for two files, a file cannot be read
        or is of another size than its mask.
    """
    truth = named_files(Path(masks))
    answers = {label: named_files(Path(folder)) for label, folder in predictions.items()}
    for label, found in answers.items():
        missing = [name for name in truth if name not in found]
        if missing:
            raise FeaturespaceError(
                f"{label}: {predictions[label]} lacks the predictions of {len(missing)} of {len(truth)} masks, the first is "
                f"{missing[0]!r}; give predictions on the same test images, under the names of their masks"
            )
    for name, path in truth.items():
        mask, predicted = read_mask(path), [read_mask(found[name]) for found in answers.values()]
        for label, each in zip(answers, predicted):
            if each.shape != mask.shape:
                raise FeaturespaceError(
                    f"{label}: the prediction of {name!r} is {each.shape[1]} x {each.shape[0]} pixels and its mask "
                    f"{mask.shape[1]} x {mask.shape[0]}; scale the prediction to the mask"
                )
        yield name, mask, predicted


def named_files(folder: Path, suffixes: tuple[str, ...] = SUFFIXES) -> dict[str, Path]:
    """Return the files of a folder and those below it by name: the path below it without the suffix.

    Raises FeaturespaceError if it does not exist or holds none, or a name stands for two files.
    """
    if not folder.is_dir():
        raise FeaturespaceError(f"{folder} is no folder; masks are files ({', '.join(suffixes)}) below one")
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in suffixes and not path.name.startswith("."):
            name = path.relative_to(folder).with_suffix("").as_posix()
            if name in found:
                raise FeaturespaceError(f"{found[name]} and {path} are both masks of {name!r}; keep one")
            found[name] = path
    if not found:
        raise FeaturespaceError(f"{folder} holds no masks ({', '.join(suffixes)})")
    return found
