"""The images of a segmentation that say most about its models: where some are right and some are not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from featurespace.data.images import read_image
from featurespace.data.masks import IMAGE_SUFFIXES, named_files, predicted_masks
from featurespace.errors import FeaturespaceError
from featurespace.metrics.answers import answer_map


def divided_images(
    masks: Path, images: Path, predictions: Mapping[str, Path], *, count: int
) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Return name, image and answer map of the images in which most foreground pixels divide the models.

    Parameters
    ----------
    masks, predictions : as in `predicted_masks`
    images : folder of the images, under the names of their masks
    count : how many at most; images in which all models give the same answers are left out unless all are so

    Raises
    ------
    FeaturespaceError
        As `predicted_masks`; if an image is missing or of another size than its mask.
    """
    pictures = named_files(images, IMAGE_SUFFIXES)
    found = []
    for name, mask, predicted in predicted_masks(masks, predictions):
        if name not in pictures:
            raise FeaturespaceError(f"{images} lacks the image of the mask {name!r}; give every mask its image")
        answers = answer_map(mask, predicted)
        divided = np.isin(answers, (-1, 0, 2 ** len(predicted) - 1), invert=True)
        found.append((int(divided.sum()), name, answers))
    found.sort(key=lambda each: (-each[0], each[1]))
    chosen = [each for each in found if each[0]] or found
    return [(name, _picture(pictures[name], answers), answers) for _, name, answers in chosen[:count]]


def _picture(path: Path, answers: np.ndarray) -> np.ndarray:
    picture = np.asarray(read_image(path))
    if picture.shape[:2] != answers.shape:
        raise FeaturespaceError(
            f"{path} is {picture.shape[1]} x {picture.shape[0]} pixels and its mask {answers.shape[1]} x {answers.shape[0]}"
        )
    return picture
