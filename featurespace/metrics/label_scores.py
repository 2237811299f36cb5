"""Scores of a multi-label probe: each label, and the mean over labels, with intervals by sample or by group."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from featurespace.metrics.auc import auc_interval, auc_jackknife, auc_leave_outs
from featurespace.metrics.average_precision import average_precision_estimate, weighted_average_precision
from featurespace.metrics.multilabel import label_matrix
from featurespace.stats.blocks import leave_out_estimate
from featurespace.stats.estimate import Estimate, check_level
from featurespace.stats.resampling import bootstrap_weights, resampling_units

if TYPE_CHECKING:
    from featurespace.metrics.multilabel import MultilabelProbe


def multilabel_scores(
    probe: MultilabelProbe,
    Y_test: Any,
    *,
    rng: np.random.Generator,
    groups: Any = None,
    draws: int = 1000,
    level: float = 0.95,
) -> dict[int | str, dict[str, Estimate]]:
    """AUC and average precision of each label and their means over labels, in [0, 1], high is good, with intervals.

    Parameters
    ----------
    probe : result of `multilabel_probe`
    Y_test : (m, K) array of 0 and 1, nan where a label is unknown
    rng : source of randomness, for the bootstrap of the average precision
    groups : (m,) labels (patients) that are drawn or left out whole; None if samples are independent
    draws : number of bootstrap draws
    level : coverage that the intervals aim at

    Returns
    -------
    dict
        ``"macro"`` and each column -> ``"auc"`` and ``"average_precision"`` -> Estimate, over the samples where the label is
        known. A label without positives or negatives in the test set has neither (nan, and `interval` says why) and is
        left out of the means; chance is 0.5 for the AUC, the share of positives for the average precision.

    Raises
    ------
    ValueError
        If Y_test has another shape than the probabilities, a label is not 0, 1 or nan, groups are not m labels, draws < 1
        or the level is out of range.

    Notes
    -----
    AUC: as `auc_jackknife`, the mean from the means of the values without each unit. Average precision: the step-wise sum
    of scikit-learn (not interpolated), Wilson's interval with the variance of the bootstrap over units, and no more
    observations than units with a positive. It is biased upwards where positives are few: by 0.06 with 10
    positives of 100 and a true value of 0.16, by less than 0.02 with 60. Measured coverage of the 95 % intervals: average
    precision 93 to 100 % (10 to 60 positives of 100 or 300; percentile bootstrap: 81 to 94 %); means of four labels, 200
    or 500 samples or 60 groups of 4: both 93 to 100 %. For the AUC see `auc_jackknife`. Cost O(K draws m), 8 draws m bytes:
    14 labels, 5000 samples, 1000 draws in 5 s.

    References
    ----------
    DeLong, DeLong, Clarke-Pearson 1988, Biometrics 44, 837-845; Boyd, Eng, Page 2013, ECML PKDD, LNCS 8190, 451-466
    (intervals of the average precision; theirs is a logit with the number of positives, wider than ours).

    Examples
    --------
    >>> from featurespace.metrics import multilabel_probe
    >>> rng = np.random.default_rng(0)
    >>> Y = rng.integers(0, 2, (200, 2))
    >>> X = Y + rng.standard_normal((200, 2))
    >>> scores = multilabel_scores(multilabel_probe(X[:100], Y[:100], X[100:], rng=rng), Y[100:], rng=rng)
    >>> auc = scores["macro"]["auc"]
    >>> auc.ci_low < 0.76 < auc.ci_high  # two normals one deviation apart
    True
    """
    check_level(level)
    Y, P = label_matrix(Y_test, "Y_test", len(probe.probabilities)), probe.probabilities
    if Y.shape != P.shape:
        raise ValueError(f"Y_test has shape {Y.shape}; the probe predicted {P.shape}")
    codes, unit, count = resampling_units(groups, len(Y))
    weights = bootstrap_weights(groups, len(Y), draws=draws, rng=rng)
    rows = {label: np.flatnonzero(~np.isnan(Y[:, label])) for label in range(Y.shape[1])}
    labels = {
        label: _label(P[known, label], Y[known, label] == 1, codes[known], weights[:, known], (count, unit, level))
        for label, known in rows.items()
        if len(np.unique(Y[known, label])) == 2
    }
    found: dict[int | str, dict[str, Estimate]] = {"macro": _macro(list(labels.values()), len(Y), (count, unit, level))}
    for label, known in rows.items():
        if label in labels:
            found[label] = {"auc": labels[label].auc, "average_precision": labels[label].precision}
        else:
            missing = "negative" if (Y[known, label] == 1).any() else "positive"
            found[label] = _undefined(
                f"no {missing} in the test set", len(known), len(np.unique(codes[known])), unit, level
            )
    return found


@dataclass(frozen=True, eq=False)
class _Label:
    """Scores of a label, what its means need, and its units with a positive and of the rarer side."""

    auc: Estimate
    precision: Estimate
    without: np.ndarray
    drawn: np.ndarray
    positive: int
    rarer: int


def _label(
    scores: np.ndarray,
    positive: np.ndarray,
    codes: np.ndarray,
    weights: np.ndarray,
    how: tuple[int, str, float],
) -> _Label:
    count, unit, level = how
    present, own = np.unique(codes, return_inverse=True)
    auc = auc_jackknife(scores, positive, groups=own if unit == "group" else None, level=level)
    once = float(weighted_average_precision(scores, positive, np.ones((1, len(scores))))[0])
    drawn = weighted_average_precision(scores, positive, weights)
    sides = [len(np.unique(own[side])) for side in (positive, ~positive)]
    precision = average_precision_estimate(
        once, drawn, n=len(scores), unit=unit, counts=(len(present), sides[0]), level=level
    )
    without = np.full(count, auc.value)  # a unit where the label is unknown changes nothing
    without[present] = auc_leave_outs(scores, positive, own)[1]
    return _Label(auc, precision, without, drawn, sides[0], min(sides))


def _macro(labels: list[_Label], n: int, how: tuple[int, str, float]) -> dict[str, Estimate]:
    """Return the means over labels.

    If labels were independent the variance of their mean would count the harmonic mean of their units as often as there
    are labels; it never counts more than there are units.
    """
    count, unit, level = how
    if not labels:
        return _undefined("no label has positives and negatives in the test set", n, count, unit, level)
    positive, rarer = (
        min(count, int(len(labels) ** 2 / sum(1 / units for units in each)))
        for each in ([label.positive for label in labels], [label.rarer for label in labels])
    )
    mean = float(np.mean([label.auc.value for label in labels]))
    without = np.mean([label.without for label in labels], axis=0)
    # equal sizes, since a unit's part differs between labels: to first order each leave-out shows its unit's whole effect
    auc = leave_out_estimate(mean, without, n=n, sizes=np.full(count, n / count), unit=unit, level=level)
    if not auc.interval.startswith("none"):
        auc = auc_interval(auc, np.full(count, n / count), rarer)
    drawn = np.array([label.drawn for label in labels])
    defined = np.isfinite(drawn)
    total = defined.sum(axis=0)
    replicates = np.divide(
        np.where(defined, drawn, 0).sum(axis=0), total, out=np.full(len(total), np.nan), where=total > 0
    )
    value = float(np.mean([label.precision.value for label in labels]))
    precision = average_precision_estimate(value, replicates, n=n, unit=unit, counts=(count, positive), level=level)
    return {"auc": auc, "average_precision": precision}


def _undefined(reason: str, n: int, count: int, unit: str, level: float) -> dict[str, Estimate]:
    """Return both scores without a value."""
    nothing = Estimate.without_interval(math.nan, n=n, unit=unit, n_groups=count, reason=reason, level=level)
    return {"auc": nothing, "average_precision": nothing}
