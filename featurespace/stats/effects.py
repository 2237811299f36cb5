"""The size of a difference between two means of independent runs, with intervals."""

from __future__ import annotations

from typing import Any

import numpy as np

from featurespace.stats.checks import check_counts, check_generator
from featurespace.stats.estimate import Estimate, check_level
from featurespace.stats.means import all_one_number, checked_runs, run_estimate, standard_error
from featurespace.stats.noncentral import noncentral_t_cdf

LEAST_RESAMPLED = 4  # of three, resamples are too few for the tails: 91 % of the 95 % intervals would cover


def hedges_g(x: Any, y: Any, *, level: float = 0.95) -> Estimate:
    """Hedges' g: the difference of two means, x less y, in pooled standard deviations, with its interval.

    ``J (mean x - mean y) / s``, s the pooled standard deviation and ``J = Gamma(f/2) / (sqrt(f/2) Gamma((f-1)/2))`` with
    f = n_a + n_b - 2, by which g is unbiased.

    Parameters
    ----------
    x, y : (n_a,) and (n_b,) values, one a run; at least two each
    level : coverage that the interval aims at

    Returns
    -------
    Estimate
        Any real number; the sign is that of the difference. The interval inverts the noncentral t-distribution and is not
        symmetric.

    Raises
    ------
    ValueError
        As `welch_test`; if level is out of range.

    Notes
    -----
    Exact for normal values of equal variance. With four runs each an interval is about three wide: an effect
    size from few runs is a rough guess.

    References
    ----------
    Hedges 1981, J. Educational Statistics 6, 107-128; Cumming, Finch 2001, Educ. Psychol. Meas. 61, 532-574 (interval).

    Examples
    --------
    >>> found = hedges_g([0.70, 0.72, 0.71, 0.74], [0.75, 0.76, 0.74, 0.77])
    >>> round(found.value, 2), round(found.ci_low, 2), round(found.ci_high, 2)
    (-2.15, -4.38, -0.48)
    """
    from scipy.special import gammaln

    x, y = checked_runs(x, "x"), checked_runs(y, "y")
    check_level(level)
    if all_one_number(x, y):
        return Estimate.without_interval(
            0.0, n=len(x) + len(y), unit="run", n_groups=len(x) + len(y), reason="no variance", level=level
        )
    n, m = len(x), len(y)
    freedom = n + m - 2
    pooled = np.sqrt(((n - 1) * x.var(ddof=1) + (m - 1) * y.var(ddof=1)) / freedom)
    scale = np.sqrt(1 / n + 1 / m)
    d = float((x.mean() - y.mean()) / pooled)
    correction = float(np.exp(gammaln(freedom / 2) - gammaln((freedom - 1) / 2)) / np.sqrt(freedom / 2))
    low, high = (scale * each for each in _noncentral_ends(d / scale, freedom, level))
    # Hedges 1981: the variance of g, with delta replaced by g
    g = correction * d
    se = float(np.sqrt(correction**2 * freedom / (freedom - 2) * (scale**2 + g**2) - g**2)) if freedom > 2 else np.nan
    return run_estimate(g, low, high, se, x, y, "noncentral t", level)


def _noncentral_ends(t: float, freedom: int, level: float) -> tuple[float, float]:
    """Return the noncentralities for which t lies at the upper and at the lower end of its distribution."""
    from scipy.optimize import brentq

    ends = []
    for probability in ((1 + level) / 2, (1 - level) / 2):
        reach = 4.0 + 2 * abs(t)

        def excess(delta: float, probability: float = probability) -> float:
            return noncentral_t_cdf(t, freedom, delta) - probability

        while excess(-reach) < 0 or excess(reach) > 0:
            reach *= 2
        ends.append(float(brentq(excess, -reach, reach, xtol=1e-10)))
    return ends[0], ends[1]


def bootstrap_difference(
    x: Any, y: Any, *, rng: np.random.Generator, draws: int = 10_000, level: float = 0.95
) -> Estimate:
    """Difference of two means, x less y, with an expanded percentile bootstrap interval over runs.

    Parameters
    ----------
    x, y : (n_a,) and (n_b,) values, one a run; at least two each
    rng : source of randomness
    draws : number of resamples
    level : coverage that the interval aims at

    Returns
    -------
    Estimate
        In units of the values. Without interval, and with the reason, where a sample has fewer than four runs.

    Raises
    ------
    ValueError
        As `welch_test`; if draws or level is out of range.

    Notes
    -----
    Runs are drawn with replacement within each sample. Plain percentiles are too narrow for a handful of runs, twice over: a
    resample varies less than a sample by sqrt((n - 1) / n), and they take the normal where Student's t is due. Both are put
    right (Hesterberg 2015): deviations are stretched by sqrt(n / (n - 1)), and the percentile is that at which the normal
    distribution has the tail of t with Welch's degrees of freedom. Measured coverage of the 95 % interval, 1500 repeats a cell, 4,
    5 and 10 runs each and 4 with 8, deviations equal or one to three: 94 to 96 % of normal runs, 88 to 96 % of exponential ones
    (least with 4 runs and unequal deviations, where `welch_interval` covers 90 %); plain percentiles cover 77 to 91 %.

    References
    ----------
    Hesterberg 2015, The American Statistician 69, 371-386 (expanded percentile interval); Efron 1979, Ann. Statist. 7, 1-26.

    Examples
    --------
    >>> x, y = [0.70, 0.72, 0.71, 0.74], [0.75, 0.76, 0.74, 0.77]
    >>> found = bootstrap_difference(x, y, rng=np.random.default_rng(0))
    >>> round(found.value, 4), found.ci_low < found.value < found.ci_high < 0
    (-0.0375, True)
    """
    from scipy.stats import norm, t

    x, y = checked_runs(x, "x"), checked_runs(y, "y")
    check_generator(rng)
    check_counts(draws=draws)
    check_level(level)
    difference, n, m = float(x.mean() - y.mean()), len(x), len(y)
    constant = all_one_number(x, y)
    reason = "no variance" if constant else f"{min(n, m)} runs, at least {LEAST_RESAMPLED} needed"
    if constant or min(n, m) < LEAST_RESAMPLED:
        return Estimate.without_interval(difference, n=n + m, unit="run", n_groups=n + m, reason=reason, level=level)
    _, freedom = standard_error(x.var(ddof=1), y.var(ddof=1), n, m)
    moved = stretched_means(x, rng, draws) - stretched_means(y, rng, draws)
    tail = float(norm.cdf(t.ppf((1 - level) / 2, freedom)))
    low, high = np.quantile(moved, [tail, 1 - tail])
    name = f"bootstrap over runs, {draws:,} draws, expanded percentile"
    return run_estimate(difference, difference + low, difference + high, float(moved.std(ddof=1)), x, y, name, level)


def stretched_means(x: np.ndarray, rng: np.random.Generator, draws: int) -> np.ndarray:
    """Return means of resamples less the mean of the sample, with the variance that means of samples have."""
    n = len(x)
    return np.sqrt(n / (n - 1)) * (x[rng.integers(n, size=(draws, n))].mean(axis=1) - x.mean())
