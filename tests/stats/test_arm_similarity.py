from itertools import combinations, permutations
from math import comb

import numpy as np
import pytest

from featurespace.stats import arm_similarity, jackknife_estimate


def pairs_of(rng, models, *, n=40, arms=0.0, seeds=0.1, groups=None):
    """Similarities of models as means over samples: less between arms, and more or less with each seed."""
    easy = rng.normal(size=n) if groups is None else rng.normal(size=groups.max() + 1)[groups] + rng.normal(size=n)
    own = {model: seeds * rng.normal() for model in models}
    sizes = None if groups is None else np.bincount(groups)
    found = {}
    for a, b in combinations(models, 2):
        far = arms * (a[0] != b[0])
        v = 0.5 - far + own[a] + own[b] + 0.1 * easy + 0.1 * rng.normal(size=n) + 0.3 * seeds * rng.normal()
        if groups is None:
            found[a, b] = jackknife_estimate(v.mean(), (v.sum() - v) / (n - 1), n=n)
        else:
            leave_out = (v.sum() - np.bincount(groups, weights=v)) / (n - sizes)
            found[a, b] = jackknife_estimate(v.mean(), leave_out, n=n, sizes=sizes, unit="group")
    return found


def names(first, second):
    return [f"x{i}" for i in range(first)], [f"y{i}" for i in range(second)]


def means(values, a, b):
    """The mean similarity within a, within b, and between; nan where there is no pair."""

    def mean(pairs):
        found = [values.get(pair, values.get(pair[::-1])) for pair in pairs]
        return sum(found) / len(found) if found else float("nan")

    return mean(list(combinations(a, 2))), mean(list(combinations(b, 2))), mean([(i, j) for i in a for j in b])


@pytest.mark.parametrize("first, second", [(2, 2), (3, 2), (4, 3)])
def test_values_are_the_means_of_pairs_in_either_order(rng, first, second):
    a, b = names(first, second)
    pairs = pairs_of(rng, a + b, arms=0.2)
    turned = {pair[::-1]: each for pair, each in pairs.items()}
    within_a, within_b, between = means({pair: each.value for pair, each in pairs.items()}, a, b)
    for given in (pairs, turned):
        found = arm_similarity(given, a, b)
        assert (found.within_a.value, found.within_b.value) == pytest.approx((within_a, within_b))
        assert found.between.value == pytest.approx(between)
        assert found.deficit.value == pytest.approx((within_a + within_b) / 2 - between)


@pytest.mark.parametrize("first, second", [(2, 2), (3, 2), (3, 3)])
def test_p_is_the_share_of_all_assignments(rng, first, second):
    a, b = names(first, second)
    pairs = pairs_of(rng, a + b, arms=0.05)
    found = arm_similarity(pairs, a, b)
    values = {pair: each.value for pair, each in pairs.items()}
    deficits = []
    for order in permutations(a + b):  # every assignment equally often
        one, two, between = means(values, list(order[:first]), list(order[first:]))
        deficits.append((one + two) / 2 - between)
    assert found.p_value == pytest.approx(np.mean([each >= deficits[0] - 1e-12 for each in deficits]))
    assert found.least_p == (2 if first == second else 1) / comb(first + second, first) <= found.p_value


def test_the_variance_is_of_samples_and_of_seeds(rng):
    a, b = names(3, 3)
    pairs = pairs_of(rng, a + b, arms=0.2)
    found = arm_similarity(pairs, a, b).deficit
    values = {pair: each.value for pair, each in pairs.items()}

    def deficit(values, a, b):
        one, two, between = means(values, a, b)
        return (one + two) / 2 - between

    samples = [deficit({pair: each.leave_one_out[unit] for pair, each in pairs.items()}, a, b) for unit in range(40)]
    parts = [39 / 40 * np.sum((samples - np.mean(samples)) ** 2)]
    for leave in (
        [deficit(values, [x for x in a if x != i], b) for i in a],
        [deficit(values, a, [y for y in b if y != i]) for i in b],
    ):
        parts.append(2 / 3 * np.sum((leave - np.mean(leave)) ** 2))
    assert found.se == pytest.approx(sum(parts) ** 0.5)
    assert found.interval == "jackknife over samples, and 3 and 3 seeds"
    assert arm_similarity(pairs, a, b).between.interval.endswith("3 and 3 seeds, Fisher's z")


@pytest.mark.parametrize("repeats", [60, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("seeds, between", [(2, 0.1), (3, 0.1), (4, 0.1), (4, 0.0)])
def test_intervals_cover(rng, seeds, between, repeats):
    a, b = names(seeds, seeds)
    inside, known = (
        dict.fromkeys(("between", "within_a", "deficit"), 0),
        {"between": 0.3, "within_a": 0.5, "deficit": 0.2},
    )
    for _ in range(repeats):
        found = arm_similarity(pairs_of(rng, a + b, arms=0.2, seeds=between), a, b)
        for name, truth in known.items():
            each = getattr(found, name)
            inside[name] += each.ci_low <= truth <= each.ci_high
    for name, count in inside.items():
        if seeds > 2 or name == "between":
            assert count / repeats > 0.94 - 3 * np.sqrt(0.05 * 0.95 / repeats), name


@pytest.mark.parametrize("repeats", [100, pytest.param(3000, marks=pytest.mark.slow)])
def test_p_is_uniform_where_arms_do_not_differ(rng, repeats):
    a, b = names(4, 4)
    p = np.array([arm_similarity(pairs_of(rng, a + b), a, b).p_value for _ in range(repeats)])
    for level in (2 / 70, 0.2, 0.5):
        steps = np.floor(level * 35) / 35
        assert abs(np.mean(p <= level + 1e-9) - steps) < 3 * np.sqrt(steps * (1 - steps) / repeats)
    apart = arm_similarity(pairs_of(rng, a + b, arms=0.5), a, b)
    assert apart.p_value == apart.least_p == 2 / 70


def test_groups_of_unequal_size(rng):
    groups = np.unique(np.sort(rng.integers(0, 12, 40)), return_inverse=True)[1]
    a, b = names(3, 3)
    found = arm_similarity(pairs_of(rng, a + b, groups=groups), a, b, sizes=np.bincount(groups))
    assert found.between.interval == "group jackknife over groups, and 3 and 3 seeds, Fisher's z"
    assert found.between.n_groups == 12 and found.between.n == 40


def test_values_beyond_one_stay_on_their_own_scale(rng):
    a, b = names(3, 3)
    pairs = pairs_of(rng, a + b, arms=-0.7)
    found = arm_similarity(pairs, a, b)
    assert found.between.value > 1 and found.between.interval == "jackknife over samples, and 3 and 3 seeds"


def test_few_seeds_have_a_reason(rng):
    a, b = names(2, 2)
    pairs = pairs_of(rng, a + b)
    two = arm_similarity(pairs, a, b)
    assert two.within_a.interval.startswith("none: two seeds are one pair") and np.isnan(two.within_a.ci_low)
    assert two.deficit.interval == two.within_b.interval and two.between.ci_low < two.between.value
    assert two.least_p == pytest.approx(1 / 3)
    one = arm_similarity(pairs, a, b[:1])
    assert one.within_b is None and one.deficit is None and np.isnan(one.p_value)
    assert one.between.interval.startswith("none: one seed in an arm cannot separate")
    few = arm_similarity(pairs_of(rng, a + b, n=4), a, b)
    assert few.between.interval == "none: 4 samples, at least 5 needed" and 0 < few.p_value <= 1


def test_errors_name_the_reason(rng):
    a, b = names(2, 2)
    pairs = pairs_of(rng, a + b)
    with pytest.raises(ValueError, match="the arms have 2 and 0 models"):
        arm_similarity(pairs, a, [])
    with pytest.raises(ValueError, match="the similarity of 'x0' and 'y9' is missing"):
        arm_similarity(pairs, a, ["y9"])
    with pytest.raises(ValueError, match="level is 2"):
        arm_similarity(pairs, a, b, level=2)
    with pytest.raises(ValueError, match="other samples: n 30 and 40"):
        arm_similarity(pairs | {("x0", "x1"): pairs_of(rng, a, n=30)["x0", "x1"]}, a, b)
    many = names(11, 11)
    with pytest.raises(ValueError, match="11 and 11 models can be assigned to arms in 705,432 ways; at most 200,000"):
        arm_similarity(pairs_of(rng, sum(many, []), n=6), *many)
