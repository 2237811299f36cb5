"""A value with its interval, and how that interval was made."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

MIN_UNITS = 5
"""Fewer resampled units than this give no interval: the variance of four values is itself a guess."""


@dataclass(frozen=True)
class Estimate:
    """A value, its confidence interval, and what was resampled to make it.

    Parameters
    ----------
    value : the estimate, from all samples
    ci_low, ci_high : ends of the interval; nan where there is none, and `interval` says why
    se : standard error; nan where there is none
    n : number of samples
    unit : what was resampled, ``"sample"`` or ``"group"``
    n_groups : number of resampled units (equal to `n` when the unit is the sample)
    interval : how the interval was made, e.g. ``"jackknife"``, or ``"none: 3 groups, at least 5 needed"``
    level : coverage that the interval aims at
    leave_one_out : the value without each unit in turn, in the sorted order of the units' names; None if not made

    Examples
    --------
    >>> Estimate.without_interval(0.8, n=30, unit="group", n_groups=3, reason="3 groups, at least 5 needed").interval
    'none: 3 groups, at least 5 needed'
    """

    value: float
    ci_low: float
    ci_high: float
    se: float
    n: int
    unit: str
    n_groups: int
    interval: str
    level: float = 0.95
    leave_one_out: np.ndarray | None = field(default=None, repr=False, compare=False)

    @classmethod
    def without_interval(
        cls, value: float, *, n: int, unit: str, n_groups: int, reason: str, level: float = 0.95
    ) -> Estimate:
        """Return an estimate whose interval is missing for the given reason."""
        nan = float("nan")
        return cls(float(value), nan, nan, nan, int(n), unit, int(n_groups), f"none: {reason}", level)

    def times_two_to(self, exponent: int) -> Estimate:
        """Return the estimate times a power of two that was taken off for the sake of the range of float64.

        Raises
        ------
        ValueError
            If a number that was finite is beyond that range now.
        """
        if not exponent:
            return self
        names = ("value", "ci_low", "ci_high", "se")
        with np.errstate(over="ignore"):
            scaled = {name: float(np.ldexp(getattr(self, name), exponent)) for name in names}
            left = None if self.leave_one_out is None else np.ldexp(self.leave_one_out, exponent)
        if any(math.isinf(each) for each in scaled.values()) or (left is not None and np.isinf(left).any()):
            raise ValueError(
                "the value or its interval leaves the range of float64 (1e308); divide all features by one factor"
            )
        return replace(self, **scaled, leave_one_out=left)  # type: ignore[arg-type]


def too_few(units: int, unit: str) -> str:
    """Return the reason for having no interval, or an empty string when there are enough units.

    Examples
    --------
    >>> too_few(3, "group"), too_few(5, "group")
    ('3 groups, at least 5 needed', '')
    """
    if units >= MIN_UNITS:
        return ""
    return f"{units} {unit}{'' if units == 1 else 's'}, at least {MIN_UNITS} needed"


def check_level(level: float) -> None:
    """Raise ValueError unless the level lies strictly between 0 and 1."""
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it must lie between 0 and 1, e.g. 0.95")


def check_unit(unit: str) -> None:
    """Raise ValueError unless the unit is one of the two that tables know."""
    if unit not in ("sample", "group"):
        raise ValueError(f"unit is {unit!r}; allowed are 'sample' and 'group'")
