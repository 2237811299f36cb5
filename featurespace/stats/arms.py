"""Whether two ways of training differ, with seeds and samples as separate sources of variation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import t as student

from featurespace.stats.estimate import Estimate, check_level
from featurespace.stats.resampling import degrees_of_freedom, jackknife_variance

ONE_SEED = "one seed in an arm cannot separate the way of training from its seed; at least 2 seeds an arm are needed"


def arm_difference(
    a: Sequence[Estimate],
    b: Sequence[Estimate],
    *,
    sizes: np.ndarray | None = None,
    count_x: int | None = None,
    level: float = 0.95,
) -> tuple[Estimate, float]:
    """Return the difference of two arms' means, arm a less arm b, and the two-sided p that it is zero.

    An arm is one way of training, repeated with several seeds; all models see the same samples.

    Parameters
    ----------
    a, b : the estimate of each seed of an arm, with its values without each unit; from the same samples
    sizes : (G,) samples in each unit, where units are groups of unequal size
    count_x : of values of two samples (a domain gap), how many of the units are of the first one; they come first
    level : coverage that the interval aims at

    Returns
    -------
    tuple
        Estimate of mean(a) - mean(b), whose interval speaks of further seeds and further samples; p in (0, 1]. With one
        seed in an arm there is no interval and no p (nan), and the reason says so.

    Raises
    ------
    ValueError
        If an arm has no seed, estimates come from other samples, or have no leave-one-out values though an interval.

    Notes
    -----
    The variance is the jackknife variance of the difference over samples (two samples: theirs add up), seeds held, plus for
    each arm the variance between its seeds over their number. What a seed does to single samples is in both terms, which
    errs on the safe side: in simulation the interval covers 94 to 98 % with two seeds, 96 to 99 % with three or four, most
    where seeds differ little. (Taking it out of one term, as an analysis of variance does, covered 91 % with two seeds.)
    Of two samples: 95 to 99 %, 3000 repeats, two to four seeds.
    Student's t with Satterthwaite's degrees of freedom, of which few seeds leave few. Cost O(seeds G).

    References
    ----------
    Satterthwaite 1946, Biometrics Bulletin 2, 110-114; Quenouille's jackknife for the samples (Busing et al. 1999).
    Bouthillier et al. 2021, arXiv:2103.03098, why seeds and samples both belong into the variance.

    Examples
    --------
    >>> from featurespace.stats import jackknife_estimate
    >>> rng = np.random.default_rng(0)
    >>> easy = rng.normal(size=100)
    >>> def seed(shift):
    ...     v = easy + shift + 0.1 * rng.normal() + 0.1 * rng.normal(size=100)
    ...     return jackknife_estimate(v.mean(), (v.sum() - v) / 99, n=100)
    >>> difference, p = arm_difference([seed(1), seed(1), seed(1)], [seed(0), seed(0), seed(0)])
    >>> difference.ci_low < 1 < difference.ci_high, p < 0.01
    (True, True)
    """
    check_level(level)
    everyone = [*a, *b]
    if not a or not b:
        raise ValueError(f"the arms have {len(a)} and {len(b)} seeds; each needs at least one")
    means = [float(np.mean([each.value for each in arm])) for arm in (a, b)]
    like = replace(everyone[0], value=means[0] - means[1], level=level)
    reason = next((each.interval.removeprefix("none: ") for each in everyone if each.interval.startswith("none: ")), "")
    if min(len(a), len(b)) < 2:
        reason = ONE_SEED
    if reason:
        return joined(like, [], reason=reason)
    left_out = checked_leave_outs(everyone)
    leave_out = left_out[: len(a)].mean(axis=0) - left_out[len(a) :].mean(axis=0)
    parts = sample_parts(like.value, leave_out, sizes, count_x)
    parts += [(float(np.var([each.value for each in arm], ddof=1)) / len(arm), len(arm) - 1.0) for arm in (a, b)]
    return joined(like, parts, seeds=f"{len(a)} and {len(b)} seeds")


def checked_leave_outs(estimates: Sequence[Estimate]) -> np.ndarray:
    """Return the (models, G) values without each unit.

    Raises
    ------
    ValueError
        If one has none, or they come from other samples.
    """
    first = estimates[0]
    for each in estimates:
        if each.leave_one_out is None:
            raise ValueError("the estimates of all seeds need their leave-one-out values")
        if (each.n, each.unit, each.n_groups) != (first.n, first.unit, first.n_groups):
            raise ValueError(f"the seeds come from other samples: n {first.n} and {each.n}; compare the same samples")
    return np.array([each.leave_one_out for each in estimates])


def sample_parts(
    value: float, leave_out: np.ndarray, sizes: np.ndarray | None, count_x: int | None = None
) -> list[tuple[float, float]]:
    """Return the variance of the samples and its degrees of freedom, of each of two samples where there are two."""
    weights = np.ones(len(leave_out)) if sizes is None else np.asarray(sizes, dtype=float)
    cut = [] if count_x is None else [count_x]
    return [
        (jackknife_variance(value, part, own)[1], degrees_of_freedom(own))
        for part, own in zip(np.split(leave_out, cut), np.split(weights, cut))
    ]


def joined(
    like: Estimate, parts: Sequence[tuple[float, float]], *, seeds: str = "", reason: str = ""
) -> tuple[Estimate, float]:
    """Return the value of `like` with an interval from variances and their degrees of freedom, and the p that it is zero.

    Parameters
    ----------
    like : the value, and the samples it is from
    parts : variance and degrees of freedom of each source
    seeds : how many seeds there were, for the name of the interval
    reason : why there is no interval
    """
    total = sum(variance for variance, _ in parts)
    same = not reason and total == 0
    reason = "every seed and every unit gives the same difference" if same else reason
    if reason:
        n, unit, count = like.n, like.unit, like.n_groups
        bare = Estimate.without_interval(like.value, n=n, unit=unit, n_groups=count, reason=reason, level=like.level)
        return bare, 1.0 if same and like.value == 0 else math.nan
    freedom = total**2 / sum(variance**2 / df for variance, df in parts)
    se = math.sqrt(total)
    half = float(student.ppf(0.5 + like.level / 2, freedom)) * se
    name = f"{'group ' if like.unit == 'group' else ''}jackknife over {like.unit}s, and {seeds}"
    low, high = like.value - half, like.value + half
    found = replace(like, ci_low=low, ci_high=high, se=se, interval=name, leave_one_out=None)
    return found, float(2 * student.sf(abs(like.value) / se, freedom))
