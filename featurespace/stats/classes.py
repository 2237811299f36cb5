"""A statistic of two samples, class by class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurespace.stats.checks import check_counts
from featurespace.stats.resampling import is_missing, resampling_units


@dataclass(frozen=True)
class PerClass:
    """A statistic of each class that both samples share, and why other classes have none.

    Parameters
    ----------
    values : class -> what the statistic returned, in sorted order of the classes
    counts : class -> samples of X and of Y, for the classes in `values`
    left_out : class -> the reason
    """

    values: dict[Any, Any]
    counts: dict[Any, tuple[int, int]]
    left_out: dict[Any, str]


def per_class(
    statistic: Callable[..., Any],
    X: Any,
    Y: Any,
    labels_x: Any,
    labels_y: Any,
    *,
    groups_x: Any = None,
    groups_y: Any = None,
    least: int = 2,
) -> PerClass:
    """Return a statistic of two unpaired samples for each class by itself: the gap that is no change of class mix.

    Parameters
    ----------
    statistic : ``f(X, Y)``, or ``f(X, Y, groups_x=..., groups_y=...)`` where groups are given; a ValueError that it raises
        leaves the class out, with that reason
    X : (n, d) array, features of the first sample, one row a sample
    Y : (m, d) array, features of the second sample
    labels_x, labels_y : (n,) and (m,) classes
    groups_x, groups_y : (n,) and (m,) labels (patients), handed on for the samples of the class; give both or none
    least : fewest samples of a class in X and in Y

    Returns
    -------
    PerClass
        Values, numbers of samples, and the classes left out.

    Raises
    ------
    ValueError
        If labels or groups do not match the rows or are missing, only one sample has groups, or least < 1.

    Notes
    -----
    Cost of the statistic for each class. As many tests as classes: correct p-values with `holm`. A statistic that draws
    random numbers from one generator draws others for each class.

    Examples
    --------
    >>> X, Y = np.array([[0.0], [2.0], [5.0], [7.0], [9.0]]), np.array([[1.0], [3.0], [5.0]])
    >>> found = per_class(lambda X, Y: float(Y.mean() - X.mean()), X, Y, list("aabbc"), list("aab"))
    >>> found.values, found.left_out
    ({'a': 1.0}, {'b': '2 samples of X and 1 of Y, at least 2 each needed', 'c': 'not in Y'})
    """
    check_counts(least=least)
    if least < 1:
        raise ValueError(f"least is {least}; a class needs at least 1 sample in X and in Y")
    if (groups_x is None) != (groups_y is None):
        raise ValueError("groups of only one sample given; give both (each sample a group of its own) or none")
    samples = [Z if hasattr(Z, "shape") else np.asarray(Z) for Z in (X, Y)]
    labels = [_labels(each, len(Z), name) for each, Z, name in zip((labels_x, labels_y), samples, "XY")]
    groups = [None if each is None else np.asarray(each) for each in (groups_x, groups_y)]
    for each, Z in zip(groups, samples):
        resampling_units(each, len(Z))
    values, counts, left_out = {}, {}, {}
    for name in sorted({*labels[0].tolist(), *labels[1].tolist()}):
        rows = [np.flatnonzero(each == name) for each in labels]
        count = len(rows[0]), len(rows[1])
        if 0 in count:
            left_out[name] = f"not in {'XY'[count.index(0)]}"
            continue
        if min(count) < least:
            left_out[name] = f"{count[0]} samples of X and {count[1]} of Y, at least {least} each needed"
            continue
        given = {f"groups_{side}": each[chosen] for side, each, chosen in zip("xy", groups, rows) if each is not None}
        try:
            values[name] = statistic(*(Z[chosen] for Z, chosen in zip(samples, rows)), **given)
        except ValueError as error:
            left_out[name] = str(error)
        else:
            counts[name] = count
    return PerClass(values, counts, left_out)


def _labels(labels: Any, n: int, name: str) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.shape != (n,):
        raise ValueError(f"labels of {name} have shape {labels.shape}; it needs one class for each of the {n} samples")
    missing = np.array([is_missing(label) for label in labels.tolist()], dtype=bool)
    if missing.any():
        raise ValueError(f"labels of {name} has {int(missing.sum())} missing, the first in row {int(missing.argmax())}")
    return labels.astype(str) if labels.dtype == object else labels
