"""Jackknife intervals on a scale where a bounded or skewed value is nearly normal."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import stats
from scipy.special import expit, logit

from featurespace.stats.blocks import leave_out_estimate
from featurespace.stats.estimate import Estimate
from featurespace.stats.resampling import degrees_of_freedom, jackknife_variance

_SCALES: dict[str, tuple[Callable, Callable, tuple[float, float]]] = {
    "identity": (np.asarray, float, (-math.inf, math.inf)),
    "log": (np.log, np.exp, (0.0, math.inf)),
    "logit": (logit, expit, (0.0, 1.0)),
}


def transformed_jackknife(
    value: float,
    leave_out: Any,
    *,
    n: int,
    sizes: np.ndarray,
    transform: str,
    unit: str = "sample",
    level: float = 0.95,
) -> Estimate:
    """Jackknife interval made on the scale of a logarithm or logit, or the value's own, where few units may hold the variance.

    Parameters
    ----------
    value : estimate from all samples
    leave_out : (G,) estimates without unit j, nan where undefined
    n : number of samples
    sizes : (G,) samples in each unit
    transform : ``"identity"`` for the scale of the value, ``"log"`` for positive values, ``"logit"`` for values in (0, 1)
    unit : ``"sample"`` or ``"group"``
    level : coverage that the interval aims at

    Returns
    -------
    Estimate
        `se` is that of the value itself. Without interval, and with the reason, if there are fewer than 5 units, the value
        is undefined without some unit, it is the same without any, or it lies at an end of the range.

    Raises
    ------
    ValueError
        If the transform is unknown or the level out of range.

    Notes
    -----
    Cost O(G). Student's t with ``n^2 / sum m_j^2 - 1`` degrees of freedom, G - 1 for units of one size, and fewer where a few
    units make most of the variance (`seen_degrees_of_freedom`). At an end of the range (R^2 of 1, AUC of 1) the jackknife
    sees no variance; that is no evidence of certainty, so there is no interval.

    References
    ----------
    Busing, Meijer, van der Leeden 1999, Statistics and Computing 9, 3-8; Pepe 2003, The Statistical Evaluation of Medical
    Tests, section 5.2 (logit of the AUC); O'Neill 2014, The American Statistician 68, 282-296 (degrees of freedom).

    Examples
    --------
    >>> found = transformed_jackknife(0.9, [0.88, 0.9, 0.9, 0.92, 0.9], n=5, sizes=np.ones(5), transform="logit")
    >>> round(found.ci_low, 3), round(found.ci_high, 3)
    (0.803, 0.952)
    """
    if transform not in _SCALES:
        raise ValueError(f"transform is {transform!r}; allowed are {', '.join(map(repr, _SCALES))}")
    forward, backward, (lowest, highest) = _SCALES[transform]
    leave_out = np.asarray(leave_out, dtype=float)
    found = leave_out_estimate(value, leave_out, n=n, sizes=sizes, unit=unit, level=level)
    if found.interval.startswith("none"):
        return found
    everything = np.append(leave_out, value)
    if (everything <= lowest).any() or (everything >= highest).any():
        end = lowest if (everything <= lowest).any() else highest
        reason = f"the value is {end:g}, with or without some {unit}, where its variance cannot be seen"
        return Estimate.without_interval(value, n=n, unit=unit, n_groups=len(sizes), reason=reason, level=level)
    centre, around = float(forward(value)), forward(leave_out)
    _, variance = jackknife_variance(centre, around, np.asarray(sizes, dtype=float))
    if np.ptp(leave_out) <= 1e-12 * np.abs(leave_out).max():  # equal but for the order of summation
        reason = "every unit left out gives the same value"
        return Estimate.without_interval(value, n=n, unit=unit, n_groups=len(sizes), reason=reason, level=level)
    freedom = seen_degrees_of_freedom(leave_out, sizes)
    half = float(stats.t.ppf(0.5 + level / 2, freedom)) * math.sqrt(variance)
    low, high = float(backward(centre - half)), float(backward(centre + half))
    name = found.interval if transform == "identity" else f"{found.interval}, {transform} scale"
    return replace(found, ci_low=low, ci_high=high, interval=name)


def seen_degrees_of_freedom(leave_out: np.ndarray, sizes: np.ndarray) -> float:
    """Return the degrees of freedom of a jackknife variance that few units may make, between 1 and `degrees_of_freedom`.

    ``2 G / (kurtosis of the leave-outs - 1)``, Satterthwaite's with the kurtosis that is seen: few where a few units,
    such as the only ones with errors, hold most of the variance. The leave-outs are not all equal.

    Examples
    --------
    >>> one_of_20 = np.append(np.zeros(19), 1)
    >>> round(seen_degrees_of_freedom(one_of_20, np.ones(20)), 2), seen_degrees_of_freedom(np.arange(20), np.ones(20))
    (2.35, 19.0)
    """
    most = degrees_of_freedom(sizes)
    deviations = leave_out - np.mean(leave_out)
    squares = np.square(deviations / np.abs(deviations).max())
    kurtosis = len(squares) * float(squares @ squares) / float(squares.sum()) ** 2
    return most if kurtosis <= 1 else max(min(2 * len(squares) / (kurtosis - 1), most), 1.0)
