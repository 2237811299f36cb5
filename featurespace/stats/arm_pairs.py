"""Whether models of two ways of training are less alike than models of one, with seeds and samples as sources of variation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from featurespace.stats.arms import ONE_SEED, checked_leave_outs, joined, sample_parts
from featurespace.stats.estimate import Estimate, check_level
from featurespace.stats.resampling import jackknife_variance

TWO_SEEDS = "two seeds are one pair, whose variation between seeds cannot be seen; at least 3 seeds an arm are needed"
MOST = 200_000
"""Assignments of models to arms that are gone through; 10 seeds an arm have 184,756."""


@dataclass(frozen=True)
class ArmSimilarity:
    """Similarity of models within and between two arms.

    Parameters
    ----------
    within_a, within_b : mean over the pairs of seeds of an arm, the ceiling that seeds set; None with one seed
    between : mean over the pairs of a seed of one arm and one of the other
    deficit : mean of the two within less between, above 0 where arms differ by more than seeds; None with one seed in an arm
    p_value : one-sided, of models being exchangeable between the arms; nan with one seed in an arm
    least_p : the smallest p that so many seeds can give; nan with one seed in an arm
    """

    within_a: Estimate | None
    within_b: Estimate | None
    between: Estimate
    deficit: Estimate | None
    p_value: float
    least_p: float


def arm_similarity(
    similarity: Mapping[tuple[str, str], Estimate],
    a: Sequence[str],
    b: Sequence[str],
    *,
    sizes: np.ndarray | None = None,
    level: float = 0.95,
) -> ArmSimilarity:
    """Return the similarity of models within and between two arms, and the one-sided p that between is no lower.

    An arm is one way of training, repeated with several seeds; all models see the same samples.

    Parameters
    ----------
    similarity : (model, model) -> estimate with its values without each unit, in either order, from the same samples
    a, b : models of each arm
    sizes : (G,) samples in each unit, where units are groups of unequal size
    level : coverage that the intervals aim at

    Returns
    -------
    ArmSimilarity
        Intervals speak of further seeds and further samples. Without one, and with the reason, where it takes more seeds:
        `between` 2 an arm, the others 3.

    Raises
    ------
    ValueError
        If an arm has no model, a pair is missing, estimates come from other samples or have no leave-one-out values though an
        interval, there are more than 200,000 ways to assign the models to the arms, or level is out of range.

    Notes
    -----
    The p-value is exact: the deficit of every assignment of the models to arms of these sizes, of which ``choose(4, 2)`` for
    two seeds an arm and ``choose(8, 4)`` for four (with the arms swapped the same), so that it cannot be below 1/3 with two
    seeds an arm, 0.1 with three, 0.029 with four, however far the arms are apart. It takes the samples as given.
    The variance of an interval is the jackknife's over samples, seeds held, plus for each arm the jackknife's over its
    seeds; what a seed does to single samples or in single pairs is counted twice, which errs on the safe side.
    Student's t with Satterthwaite's degrees of freedom.
    Means of one kind are on the scale of Fisher's z where all values lie in (-1, 1). Measured coverage of the 95 % intervals,
    debiased CKA of 80 samples, 400 repeats, seeds of a common and a random part: where the share of the random part varies
    by 10 % between seeds (log-normal) `between` 95 to 98 % with two, three and four seeds an arm, `within` 96 to 97 %, patients of
    unequal size 96 to 97 % (CKA between groups); where it varies by 20 or 30 %, so that one seed in ten is far off, which three
    do not show, 92 to 97 % and 91 to 99 %. `deficit` 96 to 99 % where arms differ, 99 to 100 % where they do not: its variance
    is then of second order, so take the p-value, which was at most 0.1 in 7 to 11 % of 400 repeats with three or four seeds an arm.
    Cost O(pairs (G + assignments)).

    References
    ----------
    Anderson 2001, Austral Ecology 26, 32-46, and Clarke 1993, Australian J. Ecology 18, 117-143 (permutation of similarities
    within and between groups); Efron, Stein 1981, Annals of Statistics 9, 586-596 (jackknife of U-statistics);
    Bouthillier et al. 2021, arXiv:2103.03098 (seeds and samples).

    Examples
    --------
    >>> from featurespace.metrics import cka_jackknife
    >>> rng = np.random.default_rng(0)
    >>> X, Y = rng.standard_normal((2, 80, 3))
    >>> models = {f"{arm}{seed}": Z + 0.5 * rng.standard_normal((80, 3)) for arm, Z in zip("xy", (X, Y)) for seed in range(3)}
    >>> pairs = {(i, j): cka_jackknife(models[i], models[j]) for i, j in combinations(models, 2)}
    >>> found = arm_similarity(pairs, ["x0", "x1", "x2"], ["y0", "y1", "y2"])
    >>> found.deficit.ci_low > 0.3, found.p_value, found.least_p
    (True, 0.1, 0.1)
    """
    check_level(level)
    if not a or not b:
        raise ValueError(f"the arms have {len(a)} and {len(b)} models; each needs at least one")
    pairs = _Pairs.of(similarity, [*a, *b], len(a), sizes, level)
    few = min(len(a), len(b))
    p_value, least_p = (math.nan, math.nan) if few < 2 else _exact_p(pairs)
    return ArmSimilarity(
        within_a=None if len(a) < 2 else pairs.estimate(_WITHIN_A, TWO_SEEDS if len(a) < 3 else ""),
        within_b=None if len(b) < 2 else pairs.estimate(_WITHIN_B, TWO_SEEDS if len(b) < 3 else ""),
        between=pairs.estimate(_BETWEEN, ONE_SEED if few < 2 else ""),
        deficit=None if few < 2 else pairs.estimate(_DEFICIT, TWO_SEEDS if few < 3 else ""),
        p_value=p_value,
        least_p=least_p,
    )


# how much the mean over pairs within arm a, within arm b, and between them counts
_WITHIN_A, _WITHIN_B, _BETWEEN, _DEFICIT = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.5, 0.5, -1.0)


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Pairs of models (by place, those of arm a first), their values, and, unless a reason says why not, the leave-outs."""

    places: np.ndarray
    values: np.ndarray
    leave_outs: np.ndarray
    arms: np.ndarray
    sizes: np.ndarray | None
    like: Estimate
    reason: str

    @classmethod
    def of(
        cls, similarity: Mapping[tuple[str, str], Estimate], models: list[str], first: int, sizes: Any, level: float
    ) -> _Pairs:
        found = []
        for a, b in combinations(models, 2):
            estimate = similarity.get((a, b), similarity.get((b, a)))
            if estimate is None:
                raise ValueError(
                    f"the similarity of {a!r} and {b!r} is missing; every two models of both arms need theirs"
                )
            found.append(estimate)
        reasons = [each.interval.removeprefix("none: ") for each in found if each.interval.startswith("none: ")]
        leave_outs = np.empty((0, 0)) if reasons else checked_leave_outs(found)
        places = np.array(list(combinations(range(len(models)), 2)))
        arms = np.arange(len(models)) >= first
        values = np.array([each.value for each in found])
        like = replace(found[0], level=level)
        return cls(places, values, leave_outs, arms, sizes, like, next(iter(reasons), ""))

    def estimate(self, counts: tuple[float, float, float], reason: str) -> Estimate:
        """Return a sum of means of pairs with its interval; a mean of one kind on the scale of Fisher's z."""
        kept = np.ones(len(self.arms), dtype=bool)
        weights = self._weights(counts, kept)
        like = replace(self.like, value=float(weights @ self.values))
        if self.reason or reason:
            return joined(like, [], reason=self.reason or reason)[0]
        left_out, value, seeds = weights @ self.leave_outs, like.value, []
        for arm in (False, True):
            if counts[2] or counts[int(arm)]:
                members = np.flatnonzero(self.arms == arm)
                without = [self._weights(counts, kept & (np.arange(len(kept)) != i)) @ self.values for i in members]
                seeds.append(np.array(without))
        scaled = counts != _DEFICIT and all((np.abs(each) < 1).all() for each in (value, left_out, *seeds))
        if scaled:
            value, left_out, seeds = np.arctanh(value), np.arctanh(left_out), [np.arctanh(each) for each in seeds]
        parts = sample_parts(value, left_out, self.sizes)
        parts += [(jackknife_variance(value, each, np.ones(len(each)))[1], len(each) - 1.0) for each in seeds]
        names = f"{' and '.join(str(len(each)) for each in seeds)} seeds"
        found, _ = joined(replace(like, value=float(value)), parts, seeds=names)
        if not scaled or found.interval.startswith("none"):
            return replace(found, value=like.value)
        low, high = (float(np.tanh(end)) for end in (found.ci_low, found.ci_high))
        se = found.se * (1 - like.value**2)
        return replace(
            found, value=like.value, ci_low=low, ci_high=high, se=se, interval=f"{found.interval}, Fisher's z"
        )

    def _weights(self, counts: tuple[float, float, float], kept: np.ndarray) -> np.ndarray:
        """Return the weight of each pair, with the models kept."""
        of_arm, both = self.arms[self.places], kept[self.places].all(axis=1)
        kinds = (~of_arm.any(axis=1), of_arm.all(axis=1), of_arm[:, 0] != of_arm[:, 1])
        weights = np.zeros(len(both))
        for count, kind in zip(counts, kinds):
            if count:
                chosen = kind & both
                weights[chosen] = count / chosen.sum()
        return weights


def _exact_p(pairs: _Pairs) -> tuple[float, float]:
    """Return the share of the assignments of models to arms whose deficit is as large, and the least it can be."""
    total, first = len(pairs.arms), int((~pairs.arms).sum())
    second = total - first
    if math.comb(total, first) > MOST:
        raise ValueError(
            f"{first} and {second} models can be assigned to arms in {math.comb(total, first):,} ways; at most {MOST:,} are gone "
            "through: compare fewer seeds, at most 10 an arm"
        )
    S = np.zeros((total, total))
    S[tuple(pairs.places.T)] = pairs.values
    S += S.T
    chosen = np.array(list(combinations(range(total), first)))
    Z = np.zeros((len(chosen), total))
    np.put_along_axis(Z, chosen, 1.0, axis=1)
    to_a, to_b = Z @ S, (1 - Z) @ S
    within = np.vecdot(to_a, Z) / (first * (first - 1)) + np.vecdot(to_b, 1 - Z) / (second * (second - 1))
    deficits = within / 2 - np.vecdot(to_a, 1 - Z) / (first * second)
    # the first is that of the arms themselves; equal assignments differ by the order of summation
    reached = deficits >= deficits[0] - 1e-12
    return float(reached.mean()), (2 if first == second else 1) / len(chosen)
