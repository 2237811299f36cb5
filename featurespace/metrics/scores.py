"""Scores of a probe on its test samples, each with an interval by sample or by group."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from featurespace.stats.estimate import Estimate, check_level
from featurespace.stats.proportions import wilson_estimate
from featurespace.stats.resampling import bootstrap_weights, percentile_estimate, resampling_units

if TYPE_CHECKING:
    from featurespace.metrics.probe import Probe


def probe_scores(
    probe: Probe,
    y_test: Any,
    *,
    rng: np.random.Generator,
    groups: Any = None,
    draws: int = 1000,
    level: float = 0.95,
) -> dict[str, Estimate]:
    """Accuracy, balanced accuracy and macro one-vs-rest AUC of a probe, in [0, 1], with intervals.

    Parameters
    ----------
    probe : result of `linear_probe` or `knn_probe`
    y_test : (m,) labels of its test samples
    rng : source of randomness, for the bootstrap
    groups : (m,) labels (patients) that are drawn whole; None if samples are independent
    draws : number of bootstrap draws
    level : coverage that the intervals aim at

    Returns
    -------
    dict
        ``"accuracy"``, ``"balanced_accuracy"``, ``"auc_macro"`` -> Estimate. Means over classes take the classes that
        occur in the test set, in each draw those that occur in the draw. With one class in the test set the AUC is
        undefined: its value is nan and its `interval` says so.

    Raises
    ------
    ValueError
        If there are not m labels, or one of them is not among the probe's classes.

    Notes
    -----
    Accuracy: `wilson_estimate`, Wilson's interval with n divided by the design effect of the groups, so that 100 % has an
    interval too. Others: percentile bootstrap.
    Cost O(draws m K): 1000 draws, 750 samples, 6 classes in about 50 ms.

    References
    ----------
    Wilson 1927, JASA 22, 209-212; Korn, Graubard 1998, Survey Methodology 24, 193-201 (design effect); Fawcett 2006,
    Pattern Recognition Letters 27, 861-874 (one-vs-rest AUC; unweighted mean over classes here).

    Examples
    --------
    >>> from featurespace.metrics import knn_probe
    >>> probe = knn_probe([[1, 0], [1, 0.1], [0, 1], [0.1, 1]], [0, 0, 1, 1], [[1, 0], [0, 1]] * 5, k=2)
    >>> accuracy = probe_scores(probe, [0, 1] * 5, rng=np.random.default_rng(0))["accuracy"]
    >>> accuracy.value, round(accuracy.ci_low, 3)
    (1.0, 0.722)
    """
    check_level(level)
    labels = checked_labels(probe, y_test)
    y = np.searchsorted(probe.classes, labels)
    _, unit, count = resampling_units(groups, len(y))
    weights = bootstrap_weights(groups, len(y), draws=draws, rng=rng)
    correct = probe.predictions == labels
    scores = {"accuracy": wilson_estimate(correct, groups=groups, level=level)}
    present = np.unique(y)
    once = np.ones((1, len(y)))
    rows = {
        "balanced_accuracy": lambda w: _balanced_accuracy(correct, y, present, w),
        "auc_macro": lambda w: _auc_macro(probe.probabilities, y, present, w),
    }
    for name, score in rows.items():
        if name == "auc_macro" and len(present) < 2:
            scores[name] = Estimate.without_interval(
                math.nan, n=len(y), unit=unit, n_groups=count, reason="one class in the test set", level=level
            )
            continue
        value = float(score(once)[0])
        scores[name] = percentile_estimate(value, score(weights), n=len(y), n_groups=count, unit=unit, level=level)
    return scores


def checked_labels(probe: Probe, y_test: Any) -> np.ndarray:
    """Return the labels of the probe's test samples, as `checked_test_labels`."""
    return checked_test_labels(y_test, probe.classes, len(probe.predictions))


def checked_test_labels(y_test: Any, classes: np.ndarray, n: int) -> np.ndarray:
    """Return the labels of the n test samples.

    Raises
    ------
    ValueError
        If there are not n, or one of them is not among the training classes.
    """
    labels = np.asarray(y_test)
    if labels.shape != (n,):
        raise ValueError(f"y_test has shape {labels.shape}; the probe predicted {n} samples")
    known = np.isin(labels, classes)
    if not known.all():
        raise ValueError(f"class {labels[~known][0]!s} of y_test is not among the training classes; leave it out")
    return labels


def _balanced_accuracy(correct: np.ndarray, y: np.ndarray, present: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean recall over the classes present, for each row of weights."""
    member = (y[:, None] == present).astype(float)
    return _mean_of_defined(weights @ (member * correct[:, None]), weights @ member)


def _auc_macro(probabilities: np.ndarray, y: np.ndarray, present: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean one-vs-rest AUC over the classes present, for each row of weights."""
    columns = weights.T
    won, pairs = np.empty((len(weights), len(present))), np.empty((len(weights), len(present)))
    for position, label in enumerate(present):
        score, positive = probabilities[:, label], y == label
        order = np.flatnonzero(~positive)[np.argsort(score[~positive], kind="stable")]
        # weight of the negatives below each threshold, for all draws at once; a tie counts half
        below = np.zeros((len(order) + 1, len(weights)))
        np.cumsum(columns[order], axis=0, out=below[1:])
        first = np.searchsorted(score[order], score[positive], side="left")
        last = np.searchsorted(score[order], score[positive], side="right")
        mine = columns[positive]
        won[:, position] = np.einsum("id,id->d", mine, below[first] + below[last]) / 2
        pairs[:, position] = mine.sum(axis=0) * below[-1]
    return _mean_of_defined(won, pairs)


def _mean_of_defined(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Return the row means of the ratios whose denominator is not 0; nan where a row has none."""
    defined = denominator > 0
    ratios = np.divide(numerator, denominator, out=np.zeros_like(numerator), where=defined)
    count = defined.sum(axis=1)
    return np.divide(ratios.sum(axis=1), count, out=np.full(len(count), np.nan), where=count > 0)
