"""Scores of a regression probe on its test samples, each with an interval by sample or by group."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from featurespace.metrics.arrays import as_features
from featurespace.stats.estimate import Estimate, check_level
from featurespace.stats.resampling import resampling_units
from featurespace.stats.transformed import transformed_jackknife

if TYPE_CHECKING:
    from featurespace.metrics.least_squares import RegressionProbe


def regression_scores(
    probe: RegressionProbe, Y_test: Any, *, groups: Any = None, level: float = 0.95
) -> dict[int, dict[str, Estimate]]:
    """R^2 (at most 1, high is good) and mean absolute error (0 or more, low is good) of each target, with intervals.

    ``R^2 = 1 - sum (y - prediction)^2 / sum (y - mean)^2``, the mean that of the test samples.

    Parameters
    ----------
    probe : result of `regression_probe`
    Y_test : (m,) or (m, t) array, the targets of its test samples
    groups : (m,) labels (patients) left out whole; None if samples are independent
    level : coverage that the intervals aim at

    Returns
    -------
    dict
        Column of the target -> ``"r2"`` and ``"mae"`` -> Estimate with its values without each unit, so that
        `paired_jackknife` compares two probes on the same samples. R^2 is below 0 where the test mean predicts better. No
        interval, and the reason, with fewer than 5 units or exact predictions.

    Raises
    ------
    ValueError
        If Y_test has another shape than the predictions, a value is not finite, a target is constant in the test set or
        groups are not m labels.

    Notes
    -----
    Jackknife of the logarithms of MAE and of 1 - R^2, ratios of sums that are skewed: the interval of R^2 ends below 1.
    It speaks of further test samples, the probe held fixed. Measured coverage of the 95 % interval of R^2 (normal and
    t5 errors, R^2 of 0.1 to 0.9, 1000 repeats each): 94 to 97 % with 20, 30 or 100 samples, 94 to 96 % with 40 groups of 5, 95 to
    97 % of geometric and 96 to 98 % of Pareto's size from 1 to 140, up to 0.9 of the variance between groups, where the
    percentile bootstrap covers 87 to 94 %. Cost O(m t).

    References
    ----------
    Wright 1921, J. Agric. Res. 20, 557-585 (R^2); Busing, Meijer, van der Leeden 1999, Statistics and Computing 9, 3-8.

    Examples
    --------
    >>> from featurespace.metrics import regression_probe
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((80, 2)); y = X[:, 0] + rng.standard_normal(80)
    >>> r2 = regression_scores(regression_probe(X[:40], y[:40], X[40:]), y[40:])[0]["r2"]
    >>> bool(r2.ci_low < r2.value < r2.ci_high < 1)
    True
    """
    check_level(level)
    Y = np.asarray(Y_test) if not hasattr(Y_test, "ndim") else Y_test
    Y = as_features(Y[:, None] if Y.ndim == 1 else Y, "Y_test")
    if Y.shape != probe.predictions.shape:
        raise ValueError(f"Y_test has shape {Y.shape}; the probe predicted {probe.predictions.shape}")
    constant = (Y[0] == Y).all(axis=0)
    if constant.any():
        raise ValueError(
            f"target {int(constant.argmax())} is constant in Y_test, so that R^2 is undefined; leave it out or add samples"
        )
    codes, unit, _ = resampling_units(groups, len(Y))
    return {
        target: _scores(Y[:, target], probe.predictions[:, target], codes, unit, level) for target in range(Y.shape[1])
    }


def _scores(y: np.ndarray, predicted: np.ndarray, codes: np.ndarray, unit: str, level: float) -> dict[str, Estimate]:
    """Return both scores of one target."""
    size = np.ldexp(1.0, np.frexp(max(np.abs(y).max(), np.abs(predicted).max()))[1])
    y, error = y / size, (y - predicted) / size
    n, sizes = len(y), np.bincount(codes)
    estimate = partial(transformed_jackknife, n=n, sizes=sizes, unit=unit, level=level, transform="log")

    def sums(values: np.ndarray) -> np.ndarray:
        return np.bincount(codes, weights=values)

    y = y - y.mean()
    squares, absolute, around, shift = sums(error**2), sums(np.abs(error)), sums(y**2), sums(y)
    with np.errstate(divide="ignore", invalid="ignore"):  # undefined without some unit: the estimate says so
        without = (squares.sum() - squares) / (around.sum() - around - shift**2 / (n - sizes))
        mae_without = (absolute.sum() - absolute) / (n - sizes)
    unexplained = estimate(float(squares.sum() / around.sum()), without)
    mae = estimate(float(absolute.sum() / n * size), mae_without * size)
    left_out = None if unexplained.leave_one_out is None else 1 - unexplained.leave_one_out
    low, high = 1 - unexplained.ci_high, 1 - unexplained.ci_low
    r2 = replace(unexplained, value=1 - unexplained.value, ci_low=low, ci_high=high, leave_one_out=left_out)
    return {"r2": r2, "mae": mae}
