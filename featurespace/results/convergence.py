"""When the curve of a training arrives at its final level."""

from __future__ import annotations

from typing import Any

import numpy as np

from featurespace.stats.checks import check_counts

MISSING = (
    100  # of a curve that does not arrive: what the published study counts, whose longest trainings take 100 epochs
)


def time_to_convergence(
    values: Any, *, tolerance: float = 0.005, last: int = 10, tail: int = 5, missing: int | None = None
) -> int:
    """First epoch, counted from 0, at which a curve lies within the tolerance of its final level.

    Parameters
    ----------
    values : (epochs,) a score after each epoch
    tolerance : allowed distance, as a share of the level
    last : number of epochs at the end whose mean is the level
    tail : number of epochs at the end that do not count as an arrival
    missing : what to return where there is none; by default 100, or the number of epochs where that is more

    Returns
    -------
    int
        The smallest e below ``epochs - tail`` with ``|values[e] - level| <= tolerance * |level|``, or ``missing``.

    Raises
    ------
    ValueError
        If a value is not finite, there are fewer epochs than ``last`` or no more than ``tail``, or a number is out of range.

    Notes
    -----
    A curve that crosses its level early and leaves it again has converged by this definition, which is that of the published
    study (Jonske et al. 2025). It says when a training could have been stopped, not that it would be as good.

    Examples
    --------
    >>> time_to_convergence([0.1, 0.5, 0.79, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8], last=5)
    3
    """
    curve = np.asarray(values, dtype=float).ravel()
    check_counts(last=last, tail=tail)
    for name, count, least in (("last", last, 1), ("tail", tail, 0)):
        if count < least:
            raise ValueError(f"{name} is {count}; it must be a whole number from {least} on")
    if not (np.isfinite(tolerance) and tolerance >= 0):
        raise ValueError(f"tolerance is {tolerance}; it must be finite and not negative")
    if len(curve) < last or len(curve) <= tail:
        raise ValueError(f"the curve has {len(curve)} epochs; at least {max(last, tail + 1)} are needed")
    if not np.isfinite(curve).all():
        place = int(np.flatnonzero(~np.isfinite(curve))[0])
        raise ValueError(f"epoch {place} is {curve[place]}; all values must be finite")
    level = curve[-last:].mean()
    arrived = np.flatnonzero(np.abs(curve[: len(curve) - tail] - level) <= tolerance * abs(level))
    if len(arrived):
        return int(arrived[0])
    return max(MISSING, len(curve)) if missing is None else missing
