import itertools

import numpy as np
import pytest

import featurespace.stats as room
from featurespace.stats import benjamini_hochberg, holm, max_t, permutation_p, permute_units


def test_p_counts_ties_and_is_never_zero():
    assert permutation_p(5, [1, 2, 3]) == 1 / 4
    assert permutation_p(2, [1, 2, 3]) == 3 / 4
    assert permutation_p(2 + 1e-12, [1, 2, 3]) == 2 / 4
    assert permutation_p(2 + 1e-12, [1, 2, 3], tolerance=1e-9) == 3 / 4


def test_every_subset_is_as_likely(rng):
    sides = permute_units(5, 2, permutations=20000, rng=rng)
    assert (sides.sum(axis=1) == 2).all()
    counts = [(sides[:, a] & sides[:, b]).sum() for a, b in itertools.combinations(range(5), 2)]
    assert np.abs(np.array(counts) - 2000).max() < 5 * np.sqrt(20000 * 0.1 * 0.9)


def test_p_is_uniform_under_the_null(rng):
    p = np.array([permutation_p(x[0], x[1:]) for x in rng.standard_normal((20000, 20))])
    np.testing.assert_allclose(np.bincount((p * 20).round().astype(int), minlength=21)[1:] / 20000, 0.05, atol=0.007)


def test_holm_matches_statsmodels_textbook_values():
    # multipletests([...], method="holm") of statsmodels 0.14
    np.testing.assert_allclose(holm([0.01, 0.02, 0.03, 0.04, 0.05]), [0.05, 0.08, 0.09, 0.09, 0.09])
    np.testing.assert_allclose(holm([0.6, 0.001]), [0.6, 0.002])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1, 1])


def test_benjamini_hochberg_matches_scipy_and_the_definition(rng):
    from scipy.stats import false_discovery_control

    p = rng.random(30) ** 2
    found = benjamini_hochberg(p)
    np.testing.assert_allclose(found, false_discovery_control(p), rtol=1e-14)
    order = np.argsort(p)  # the definition: the largest k with p_(k) <= k q / m, and all below it
    for q in (0.05, 0.2):
        passing = np.flatnonzero(p[order] <= q * np.arange(1, 31) / 30)
        rejected = np.sort(order[: passing.max() + 1]) if len(passing) else np.array([], dtype=int)
        np.testing.assert_array_equal(np.flatnonzero(found <= q), rejected)
    with_gap = benjamini_hochberg([0.01, np.nan, 0.04])
    np.testing.assert_allclose(with_gap, [0.02, np.nan, 0.04])
    with pytest.raises(ValueError, match=r"p-values must lie in \[0, 1\]; seen 0.1 to 1.5"):
        benjamini_hochberg([0.1, 1.5])


def test_benjamini_hochberg_keeps_the_false_discovery_rate(rng):
    shares = []
    for _ in range(2000):
        from scipy.stats import norm

        z = rng.standard_normal(20) + np.r_[np.full(5, 3.0), np.zeros(15)]
        rejected = benjamini_hochberg(norm.sf(z)) <= 0.1
        shares.append(rejected[5:].sum() / max(rejected.sum(), 1))
    # q times the share of true hypotheses, 0.075
    assert np.mean(shares) == pytest.approx(0.075, abs=3 * np.std(shares) / 2000**0.5)


def test_holm_skips_what_was_not_tested():
    np.testing.assert_allclose(holm([np.nan, 0.02, 0.03]), [np.nan, 0.04, 0.04])
    assert holm([]).size == 0


def test_holm_keeps_the_family_wise_error(rng):
    rejected = [(holm(p) < 0.05).any() for p in rng.uniform(size=(4000, 10))]
    assert np.mean(rejected) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 4000)


def test_max_t_is_the_loop(rng):
    observed, null = rng.standard_normal(4) + 1, rng.standard_normal((30, 4)) * [1, 2, 3, 4]
    values = np.r_[observed[None], null]
    z = [[(v - np.mean(values[:, j])) / np.std(values[:, j]) for j, v in enumerate(row)] for row in values]
    expected = [(1 + sum(max(row) >= z[0][j] for row in z[1:])) / 31 for j in range(4)]
    np.testing.assert_allclose(max_t(observed, null), expected)
    np.testing.assert_allclose(max_t(observed * 1e150, null * 1e150), expected)
    np.testing.assert_allclose(max_t(observed[:1], null[:, :1]), [permutation_p(observed[0], null[:, 0])])


def test_a_constant_layer_is_no_evidence(rng):
    null = np.c_[rng.standard_normal(99), np.zeros(99)]
    assert max_t([9.0, 0.0], null).tolist() == [0.01, 1.0]
    assert max_t([0.0], np.zeros((5, 1))).tolist() == [1.0]


@pytest.mark.parametrize("likeness", [0.0, 0.5, 0.9])
def test_max_t_keeps_the_family_wise_error_and_beats_holm(rng, likeness):
    layers, repeats, scales = 12, 600, 10.0 ** np.arange(-6, 6)
    rejected, found, found_by_holm = 0, 0, 0
    for _ in range(repeats):
        shared, own = rng.standard_normal((400, 1)), rng.standard_normal((400, layers))
        values = (
            np.sqrt(likeness) * shared + np.sqrt(1 - likeness) * own
        ) ** 2 * scales  # skewed, as squared distances are
        rejected += max_t(values[0], values[1:]).min() <= 0.05
        values[0, :3] += 8 * scales[:3]
        found += (max_t(values[0], values[1:])[:3] <= 0.05).sum()
        p = [permutation_p(values[0, j], values[1:, j]) for j in range(layers)]
        found_by_holm += (holm(p)[:3] <= 0.05).sum()
    assert rejected / repeats == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / repeats))
    assert found >= found_by_holm


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: permutation_p(1, []), "0 permutations given"),
        (lambda: permutation_p(np.nan, [1]), "all values finite"),
        (lambda: permute_units(3, 1, permutations=0, rng=np.random.default_rng(0)), "permutations is 0"),
        (lambda: permute_units(3, 3, permutations=9, rng=np.random.default_rng(0)), "3 of 3 units"),
        (lambda: max_t([1.0], np.ones(3)), r"observed has shape \(1,\) and null \(3,\)"),
        (lambda: max_t([1.0], np.ones((0, 1))), r"null \(0, 1\)"),
        (lambda: max_t([1.0, np.nan], np.ones((3, 2))), "layer 1 has values that are not finite"),
        (lambda: holm([0.1, 1.5]), r"must lie in \[0, 1\]; seen 0.1 to 1.5"),
        (lambda: room.absent, None),
    ],
)
def test_errors_name_the_reason(call, message):
    with pytest.raises(AttributeError if message is None else ValueError, match=message or "no attribute 'absent'"):
        call()


def test_names_are_listed():
    assert set(dir(room)) == set(room.__all__) and all(hasattr(room, name) for name in room.__all__)
