"""Whether two values from the same samples differ."""

from __future__ import annotations

import numpy as np
from scipy.stats import t as student

from featurespace.stats.estimate import Estimate
from featurespace.stats.resampling import degrees_of_freedom, jackknife_estimate

ROUNDING = 1e-12  # of the values: what the order of summation leaves of differences that are equal


def paired_jackknife(a: Estimate, b: Estimate, *, sizes: np.ndarray | None = None) -> tuple[Estimate, float]:
    """Return the difference a - b with its interval, and the two-sided p of the paired jackknife test.

    Parameters
    ----------
    a, b : estimates from the same samples, with their values without each unit
    sizes : (G,) samples in each unit, where units are groups of unequal size

    Returns
    -------
    tuple
        Estimate of a - b; p in (0, 1] from Student's t with the interval's degrees of freedom, nan where there is none.
        Where every unit gives the same difference there is no interval, and p is 1 if that difference is zero.

    Raises
    ------
    ValueError
        a and b come from other units, or have no leave-one-out values

    Notes
    -----
    Units that move both values alike cancel, which is why the test finds differences that two overlapping intervals
    hide. Cost O(G).

    References
    ----------
    Busing, Meijer and van der Leeden 1999, "Delete-m jackknife for unequal m", Statistics and Computing 9, 3-8.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=50); y = x + 0.1 + 0.01 * rng.normal(size=50)
    >>> def mean(v): return jackknife_estimate(v.mean(), (v.sum() - v) / 49, n=50)
    >>> difference, p = paired_jackknife(mean(y), mean(x))
    >>> bool(p < 1e-6), abs(difference.value - 0.1) < 0.01
    (True, True)
    """
    for each in (a, b):
        if each.interval.startswith("none: "):
            reason = each.interval.removeprefix("none: ")
            bare = Estimate.without_interval(
                a.value - b.value, n=a.n, unit=a.unit, n_groups=a.n_groups, reason=reason, level=a.level
            )
            return bare, float("nan")
    if a.leave_one_out is None or b.leave_one_out is None:
        raise ValueError("both estimates need their leave-one-out values for a paired test")
    if a.n != b.n or a.unit != b.unit or a.leave_one_out.shape != b.leave_one_out.shape:
        raise ValueError(
            f"the estimates come from other samples: n {a.n} and {b.n}, {len(a.leave_one_out)} and "
            f"{len(b.leave_one_out)} {a.unit}s; compare values over the same samples"
        )
    leave_out = a.leave_one_out - b.leave_one_out
    difference = jackknife_estimate(a.value - b.value, leave_out, n=a.n, sizes=sizes, unit=a.unit, level=a.level)
    rounding = ROUNDING * max(np.abs(each).max() for each in (a.leave_one_out, b.leave_one_out))
    if np.ptp(leave_out) <= rounding:
        reason = "every unit gives the same difference"
        bare = Estimate.without_interval(
            difference.value, n=a.n, unit=a.unit, n_groups=a.n_groups, reason=reason, level=a.level
        )
        return bare, 1.0 if abs(difference.value) <= rounding else float("nan")
    weights = np.ones(len(leave_out)) if sizes is None else np.asarray(sizes)
    return difference, float(2 * student.sf(abs(difference.value) / difference.se, degrees_of_freedom(weights)))
