"""Which models are right on which samples or pixels, as sets of models in a fixed order."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from typing import Any

import numpy as np

from featurespace.stats.checks import check_counts
from featurespace.stats.resampling import resampling_units

MOST_MODELS = 6
"""More models have more than 64 sets, most of them empty."""


def answer_sets(models: int) -> list[tuple[int, ...]]:
    """Return the sets of 2 to 6 models, by size and then in order of the models.

    Raises
    ------
    ValueError
        If there are fewer or more models.

    Examples
    --------
    >>> answer_sets(2)
    [(), (0,), (1,), (0, 1)]
    """
    check_counts(models=models)
    if not 2 <= models <= MOST_MODELS:
        raise ValueError(f"there are {models} models; who knows what is asked of 2 to {MOST_MODELS} (2^models sets)")
    return [each for size in range(models + 1) for each in combinations(range(models), size)]


def memberships(models: int) -> np.ndarray:
    """Return (2^models, models) booleans: whether a model is in a set of `answer_sets`.

    Examples
    --------
    >>> memberships(2).astype(int).tolist()
    [[0, 0], [1, 0], [0, 1], [1, 1]]
    """
    return np.array([[model in each for model in range(models)] for each in answer_sets(models)])


def answer_map(mask: Any, predictions: Iterable[Any], *, background: int = 0, ignored: int = 255) -> np.ndarray:
    """Return, for each foreground pixel, the place in `answer_sets` of the set of models that are right; else -1.

    Parameters
    ----------
    mask : (h, w) whole numbers, the class of each pixel
    predictions : (h, w) whole numbers of each model in turn
    background : the class that is no foreground
    ignored : a class that nobody knows, left out as well

    Returns
    -------
    ndarray
        (h, w) whole numbers.

    Raises
    ------
    ValueError
        If a shape differs from that of the mask, or there are fewer than 2 or more than 6 models.

    Examples
    --------
    >>> answer_map([[0, 1, 2]], [[[1, 1, 1]], [[0, 1, 2]]]).tolist()
    [[-1, 3, 2]]
    """
    truth, answers = np.asarray(mask), [np.asarray(each) for each in predictions]
    answer_sets(len(answers))  # only for its error
    for model, each in enumerate(answers):
        if each.shape != truth.shape:
            raise ValueError(f"the prediction of model {model} has shape {each.shape} and the mask {truth.shape}")
    found = set_of_each(np.stack([each == truth for each in answers], axis=-1))
    return np.where((truth == background) | (truth == ignored), -1, found)


def answer_counts(mask: Any, predictions: Iterable[Any], *, background: int = 0, ignored: int = 255) -> np.ndarray:
    """Return (2^m,) foreground pixels of one image that each exact set of models gets right, for `pixel_agreement`.

    Parameters and errors as in `answer_map`. One image at a time, so that no more is in memory.

    Examples
    --------
    >>> answer_counts([[0, 1, 2]], [[[1, 1, 1]], [[0, 1, 2]]]).tolist()
    [0, 0, 1, 1]
    """
    predictions = list(predictions)
    found = answer_map(mask, predictions, background=background, ignored=ignored)
    return np.bincount(found[found >= 0], minlength=2 ** len(predictions))


def set_of_each(correct: np.ndarray) -> np.ndarray:
    """Return the place in `answer_sets` of the set of models that are right, along the last axis of booleans."""
    models = correct.shape[-1]
    places = np.empty(2**models, dtype=int)
    places[memberships(models) @ 2 ** np.arange(models)] = np.arange(2**models)
    return places[correct @ 2 ** np.arange(models)]


def as_answers(correct: Any) -> np.ndarray:
    """Return (n, m) booleans; raises ValueError if they are something else."""
    array = np.asarray(correct)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"correct has shape {array.shape}; it is (n, models): one row a sample, one column a model")
    if not np.isin(array, (0, 1)).all():
        raise ValueError(f"correct holds {array[~np.isin(array, (0, 1))][0]}; it says true or false, 1 or 0")
    return array.astype(bool)


def as_counts(counts: Any) -> np.ndarray:
    """Return (images, 2^m) whole numbers; raises ValueError if they are something else."""
    array = np.asarray(counts)
    if array.ndim != 2 or array.shape[1].bit_count() != 1 or array.dtype.kind not in "iu" or (array < 0).any():
        raise ValueError(
            f"counts have shape {array.shape} and dtype {array.dtype}; they are (images, 2^models) whole numbers of pixels"
        )
    if not array.any():
        raise ValueError("counts hold no pixel: no image has foreground")
    return array.astype(np.int64)


def unit_cells(counts: np.ndarray, groups: Any) -> tuple[np.ndarray, str]:
    """Return the counts of each unit that has any, and the unit's name: rows, or groups of rows summed."""
    codes, unit, number = resampling_units(groups, len(counts))
    cells = np.zeros((number, counts.shape[1]), dtype=np.int64)
    np.add.at(cells, codes, counts)
    return cells[cells.any(axis=1)], unit
