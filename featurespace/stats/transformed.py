"""Jackknife intervals on a scale where a bounded or skewed value is nearly normal."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import stats
from scipy.special import expit, logit

from featurespace.stats.blocks import leave_out_estimate
from featurespace.stats.estimate import Estimate
from featurespace.stats.resampling import degrees_of_freedom, jackknife_variance

_SCALES = {"log": (np.log, np.exp, (0.0, math.inf)), "logit": (logit, expit, (0.0, 1.0))}


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
    """Jackknife interval made on the scale of a logarithm or logit, whose ends stay in the range of the value.

    Parameters
    ----------
    value : estimate from all samples
    leave_out : (G,) estimates without unit j, nan where undefined
    n : number of samples
    sizes : (G,) samples in each unit
    transform : ``"log"`` for positive values, ``"logit"`` for values in (0, 1)
    unit : ``"sample"`` or ``"group"``
    level : coverage that the interval aims at

    Returns
    -------
    Estimate
        `se` is that of the value itself. Without interval, and with the reason, if there are fewer than 5 units, the value
        is undefined without some unit, or a value at the end of the range leaves nothing to transform.

    Raises
    ------
    ValueError
        If the transform is unknown or the level out of range.

    Notes
    -----
    Cost O(G). Student's t with G - 1 degrees of freedom. At an end of the range (R^2 of 1, AUC of 1) the jackknife sees no
    variance; that is no evidence of certainty, so there is no interval.

    References
    ----------
    Busing, Meijer, van der Leeden 1999, Statistics and Computing 9, 3-8; Pepe 2003, The Statistical Evaluation of Medical
    Tests, section 5.2 (logit of the AUC).

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
    half = float(stats.t.ppf(0.5 + level / 2, degrees_of_freedom(sizes))) * math.sqrt(variance)
    low, high = float(backward(centre - half)), float(backward(centre + half))
    return replace(found, ci_low=low, ci_high=high, interval=f"{found.interval}, {transform} scale")
