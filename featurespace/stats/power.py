"""How many runs a difference needs, and which difference some runs can show."""

from __future__ import annotations

import math

import numpy as np

from featurespace.stats.noncentral import chi_nodes

MOST_RUNS = 10**9
NODES = 48  # of each variance; doubling them changes a power by less than 1e-6


def welch_power(difference: float, sd_a: float, sd_b: float, *, n_a: int, n_b: int, alpha: float = 0.05) -> float:
    """Probability, in [0, 1], that Welch's two-sided t-test finds a true difference of two means.

    Parameters
    ----------
    difference : true difference of the means
    sd_a, sd_b : true standard deviations of single runs, in the same units; one of them positive
    n_a, n_b : numbers of runs, at least two each
    alpha : size of the test

    Returns
    -------
    float
        The power.

    Raises
    ------
    ValueError
        If a number is out of range.

    Notes
    -----
    Exact for normal runs: the mean over both sample variances, on which Welch's degrees of freedom and with them the critical
    value depend. For four runs each the noncentral t-distribution at fixed degrees of freedom would say 0.84 where it is 0.80.

    References
    ----------
    Cohen 1988, "Statistical Power Analysis for the Behavioral Sciences"; Welch 1947, Biometrika 34, 28-35.

    Examples
    --------
    >>> round(welch_power(0.5, 1, 1, n_a=64, n_b=64), 3)
    0.801
    """
    _check(sd_a, sd_b, alpha)
    _check_counts(n_a, n_b)
    test = _Test(sd_a, sd_b, n_a, n_b, alpha)
    return test.power(difference / test.se)


class _Test:
    """Welch's test of normal runs: how far the difference seen must lie from zero, over all deviations that may be seen."""

    def __init__(self, sd_a: float, sd_b: float, n_a: int, n_b: int, alpha: float):
        from scipy.stats import t

        (s, p), (r, q) = chi_nodes(n_a - 1, NODES), chi_nodes(n_b - 1, NODES)
        a = sd_a**2 / n_a * (s**2 / (n_a - 1))[:, None]
        b = sd_b**2 / n_b * (r**2 / (n_b - 1))[None, :]
        share = (a / (a + b)).ravel()
        freedom = 1 / (share**2 / (n_a - 1) + (1 - share) ** 2 / (n_b - 1))
        self.weights = np.outer(p, q).ravel()
        self.se = float(np.hypot(sd_a / np.sqrt(n_a), sd_b / np.sqrt(n_b)))
        self.critical = t.ppf(1 - alpha / 2, freedom) * np.sqrt(a + b).ravel() / self.se

    def power(self, standardised: float) -> float:
        """Return the power at a true difference in units of its standard error."""
        from scipy.special import ndtr

        return float(self.weights @ (ndtr(standardised - self.critical) + ndtr(-standardised - self.critical)))


def runs_needed(difference: float, sd_a: float, sd_b: float, *, power: float = 0.8, alpha: float = 0.05) -> int:
    """Smallest number of runs of each of two kinds by which Welch's test finds a difference with the given power.

    Parameters
    ----------
    difference : true difference of the means, not zero
    sd_a, sd_b : true standard deviations of single runs, in the same units; one of them positive
    power : probability of finding it that is asked for
    alpha : size of the test

    Returns
    -------
    int
        Runs of each kind, from 2 on.

    Raises
    ------
    ValueError
        If a number is out of range, or more than 1e9 runs were needed.

    Notes
    -----
    Deviations estimated from a few runs are themselves guesses: with four runs, the true deviation lies between 0.57 and
    3.7 times the one seen (95 %), and the number needed goes with its square.

    References
    ----------
    As `welch_power`.

    Examples
    --------
    >>> runs_needed(0.5, 1, 1), runs_needed(3, 1, 1)
    (64, 4)
    """
    _check(sd_a, sd_b, alpha)
    if not alpha < power < 1:
        raise ValueError(f"power is {power}; it must lie between alpha ({alpha}) and 1")
    if not (math.isfinite(difference) and difference):
        raise ValueError(f"difference is {difference}; it must be finite and not zero")

    def enough(count: int) -> bool:
        test = _Test(sd_a, sd_b, count, count, alpha)
        return test.power(difference / test.se) >= power

    found = 2
    while not enough(found):
        found *= 2
        if found > MOST_RUNS:
            raise ValueError(f"a difference of {difference} needs more than {MOST_RUNS:,} runs")
    low = found // 2  # too few, or below 2
    while found - low > 1:
        middle = (low + found) // 2
        low, found = (low, middle) if middle >= 2 and enough(middle) else (middle, found)
    return found


def detectable_difference(
    sd_a: float, sd_b: float, *, n_a: int, n_b: int, power: float = 0.8, alpha: float = 0.05
) -> float:
    """Smallest true difference of two means that Welch's test finds with the given power; positive.

    Parameters
    ----------
    sd_a, sd_b : true standard deviations of single runs; one of them positive
    n_a, n_b : numbers of runs, at least two each
    power : probability of finding it that is asked for
    alpha : size of the test

    Returns
    -------
    float
        In units of the deviations.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    As `welch_power`.

    Examples
    --------
    >>> round(detectable_difference(1, 1, n_a=4, n_b=4), 2)
    2.51
    """
    from scipy.optimize import brentq

    if not alpha < power < 1:
        raise ValueError(f"power is {power}; it must lie between alpha ({alpha}) and 1")
    _check_counts(n_a, n_b)
    _check(sd_a, sd_b, alpha)
    test = _Test(sd_a, sd_b, n_a, n_b, alpha)
    reach = 4.0
    while test.power(reach) < power:
        reach *= 2
    return float(test.se * brentq(lambda each: test.power(each) - power, 0, reach, xtol=1e-9))


def _check_counts(n_a: int, n_b: int) -> None:
    for name, count in (("n_a", n_a), ("n_b", n_b)):
        if count < 2:
            raise ValueError(f"{name} is {count}; at least 2 runs are needed")


def _check(sd_a: float, sd_b: float, alpha: float) -> None:
    if not (np.isfinite([sd_a, sd_b]).all() and min(sd_a, sd_b) >= 0 and max(sd_a, sd_b) > 0):
        raise ValueError(f"standard deviations are {sd_a} and {sd_b}; they must be finite, and one of them positive")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}; it must lie between 0 and 1")
