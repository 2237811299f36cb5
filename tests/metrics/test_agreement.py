"""Who knows what: against loops, whole permutations and scikit-learn, and in simulations of independent models."""

import numpy as np
import pytest
from oracles import agreement as oracle
from scipy.stats import binomtest, fisher_exact, norm
from sklearn.metrics import cohen_kappa_score

from featurespace.metrics import (
    answer_counts,
    answer_map,
    answer_sets,
    error_consistency,
    pixel_agreement,
    pixel_error_consistency,
    sample_agreement,
)
from featurespace.metrics.independence import jackknife_p_values
from featurespace.stats import holm, wilson_estimate


def answers(rng, n=120, models=3, shared=0.8):
    """Models that find the same samples hard."""
    hard = shared * rng.standard_normal(n)
    return np.stack([hard + rng.standard_normal(n) < bar for bar in np.linspace(0.3, 0.9, models)], axis=1)


@pytest.mark.parametrize("models", [2, 3, 4, 6])
def test_counts_shares_and_expected_against_loops(rng, models):
    correct = answers(rng, models=models)
    found = sample_agreement(correct, rng=rng, permutations=9)
    assert found.sets == answer_sets(models) == oracle.sets_of(models)
    assert found.counts.tolist() == oracle.counts(correct) and found.counts.sum() == 120
    np.testing.assert_allclose(found.expected, oracle.expected(correct), atol=1e-12)
    np.testing.assert_allclose(found.errors, np.sqrt(found.counts) / 120)
    np.testing.assert_allclose(found.p_holm, holm(found.p_values))
    for place, share in enumerate(found.shares):
        hits = [tuple(np.flatnonzero(row)) == found.sets[place] for row in correct]
        assert share == wilson_estimate(hits)


def test_expected_by_class_and_intervals_by_group(rng):
    correct, labels, groups = answers(rng), rng.choice(list("abc"), 120), np.arange(120) // 6
    found = sample_agreement(correct, rng=rng, labels=labels, groups=groups, permutations=9)
    np.testing.assert_allclose(found.expected, oracle.expected(correct, labels), atol=1e-12)
    assert np.abs(found.expected - oracle.expected(correct)).max() > 1e-3
    assert {share.unit for share in found.shares} == {"group"} and found.shares[0].n_groups == 20


CASES = {
    "plain": {},
    "classes": {"labels": np.repeat([0, 1, 2], [30, 20, 10])},
    "groups": {"groups": np.arange(60) // 5},
    "both": {"groups": np.arange(60) // 5, "labels": np.repeat([0, 1], 30)},
}


@pytest.mark.parametrize("case", CASES)
def test_p_values_are_those_of_whole_permutations(rng, case):
    correct = answers(rng, n=60, models=2 if case == "both" else 3, shared=0.4)
    found = sample_agreement(correct, rng=rng, permutations=20_000, **CASES[case])
    about = CASES[case]
    expected = oracle.permuted_p(correct, rng, 1500, blocks=about.get("groups"), labels=about.get("labels"))
    assert 0.001 < expected.min() < 0.9  # something to see
    np.testing.assert_allclose(found.p_values, expected, atol=5 * np.sqrt(0.5 / 1500))


def test_the_p_of_two_models_is_fishers(rng):
    correct = answers(rng, n=40, models=2)
    found = sample_agreement(correct, rng=rng, permutations=50_000)
    both = correct.all(axis=1).sum()
    table = [[both, (correct[:, 0] & ~correct[:, 1]).sum()], [(~correct[:, 0] & correct[:, 1]).sum(), 0]]
    table[1][1] = 40 - np.sum(table)
    one_sided = min(fisher_exact(table, alternative=side).pvalue for side in ("greater", "less"))
    np.testing.assert_allclose(found.p_values, min(1, 2 * one_sided), atol=0.01)


def test_a_shared_weakness_is_found_and_hard_classes_explain_it(rng):
    labels = np.repeat([0, 1], 300)
    correct = rng.random((600, 3)) < np.where(labels == 0, 0.9, 0.4)[:, None]
    alike = sample_agreement(correct, rng=rng, permutations=4999)
    assert alike.p_holm[0] < 0.01 and alike.p_holm[-1] < 0.05 and alike.shares[0].value > alike.expected[0]
    assert sample_agreement(correct, rng=rng, labels=labels, permutations=999).p_holm.min() > 0.05


def test_models_that_are_always_right_or_always_wrong(rng):
    correct = np.c_[np.ones(30, dtype=bool), np.zeros(30, dtype=bool), rng.random(30) < 0.5]
    found = sample_agreement(correct, rng=rng, permutations=99)
    assert (found.p_values == 1).all() and found.counts[[0, 2, 3]].sum() == 0
    np.testing.assert_allclose(found.expected, found.counts / 30)
    kappa = error_consistency(correct[:, 0], correct[:, 0])
    assert np.isnan(kappa.value) and kappa.interval == "none: both models are always right, and kappa is 0 / 0"
    assert "always wrong" in error_consistency(correct[:, 1], correct[:, 1]).interval
    assert error_consistency(correct[:, 0], correct[:, 2]).value == 0


def test_the_same_answers_in_the_same_order_whatever_their_type(rng):
    correct = answers(rng)
    found = [sample_agreement(each, rng=np.random.default_rng(3), permutations=99) for each in (correct, correct.astype(int), correct.tolist())]  # fmt: skip
    for each in found[1:]:
        assert each.counts.tolist() == found[0].counts.tolist() and each.p_values.tolist() == found[0].p_values.tolist()


def test_what_agreement_refuses(rng):
    correct = answers(rng)
    with pytest.raises(ValueError, match=r"correct has shape \(120,\); it is \(n, models\)"):
        sample_agreement(correct[:, 0], rng=rng)
    with pytest.raises(ValueError, match="correct holds 2; it says true or false"):
        sample_agreement(2 * correct, rng=rng)
    with pytest.raises(ValueError, match="there are 1 models; who knows what is asked of 2 to 6"):
        sample_agreement(correct[:, :1], rng=rng)
    with pytest.raises(ValueError, match="there are 9 models"):
        sample_agreement(np.tile(correct, 3), rng=rng)
    with pytest.raises(ValueError, match=r"labels has shape \(3,\)"):
        sample_agreement(correct, rng=rng, labels=[1, 2, 3])
    with pytest.raises(ValueError, match=r"groups has shape \(3,\)"):
        sample_agreement(correct, rng=rng, groups=[1, 2, 3])
    with pytest.raises(ValueError, match="rng is None"):
        sample_agreement(correct, rng=None)
    with pytest.raises(ValueError, match="permutations is 0"):
        sample_agreement(correct, rng=rng, permutations=0)
    with pytest.raises(ValueError, match="level is 2"):
        sample_agreement(correct, rng=rng, level=2)


# Segmentation -------------------------------------------------------------------------------------------------------


def test_pixels_are_counted_in_the_foreground_only(rng):
    mask = rng.choice([0, 1, 2, 255], (9, 7))
    predictions = [np.where(rng.random((9, 7)) < 0.7, mask, 1) for _ in range(3)]
    found = answer_map(mask, predictions)
    right = {
        (y, x): tuple(model for model, each in enumerate(predictions) if each[y, x] == mask[y, x])
        for y in range(9) for x in range(7)
    }  # fmt: skip
    for (y, x), members in right.items():
        assert found[y, x] == (-1 if mask[y, x] in (0, 255) else answer_sets(3).index(members))
    foreground = [members for (y, x), members in right.items() if mask[y, x] in (1, 2)]
    expected = [foreground.count(each) for each in answer_sets(3)]
    assert answer_counts(mask, predictions).tolist() == expected
    assert answer_counts(mask, iter(predictions)).tolist() == expected
    assert answer_counts(mask, predictions, background=2, ignored=1).sum() == np.isin(mask, (0, 255)).sum()
    assert answer_counts(np.zeros_like(mask), predictions).tolist() == [0] * 8


def image_counts(rng, images=40, models=2, dependent=0.0):
    """Pixels of images whose difficulty differs: for each model by itself, or in part for all."""
    shared = rng.normal(0, 1, (images, 1))
    chance = 1 / (1 + np.exp(-(0.8 + dependent * shared + rng.normal(0, 0.7, (images, models)))))
    found = []
    for image in range(images):
        correct = rng.random((int(rng.integers(50, 400)), models)) < chance[image]
        found.append(sample_agreement(correct, rng=rng, permutations=1).counts)
    return np.array(found)


def test_pixel_agreement_is_agreement_of_all_pixels_by_image(rng):
    counts = image_counts(rng, images=12)
    found = pixel_agreement(counts)
    assert found.counts.tolist() == counts.sum(axis=0).tolist()
    members = [np.array([model in each for each in found.sets]) for model in range(2)]
    p, q = (counts.sum(axis=0)[each].sum() / counts.sum() for each in members)
    np.testing.assert_allclose(found.expected, [(1 - p) * (1 - q), p * (1 - q), (1 - p) * q, p * q])
    for place, share in enumerate(found.shares):
        rest = counts.sum(axis=0) - counts
        np.testing.assert_allclose(share.leave_one_out, rest[:, place] / rest.sum(axis=1))
        assert share.ci_low < share.value < share.ci_high and share.n == counts.sum() and share.n_groups == 12
    grouped = pixel_agreement(counts, groups=np.repeat(list("abcdef"), 2))
    by_hand = pixel_agreement(counts[::2] + counts[1::2])
    assert grouped.shares[0].unit == "group" and grouped.shares[0].ci_low == by_hand.shares[0].ci_low
    assert grouped.p_values.tolist() == by_hand.p_values.tolist()


def test_images_without_foreground_are_no_units(rng):
    counts = image_counts(rng, images=12)
    found = pixel_agreement(np.vstack([counts, np.zeros((5, 4), dtype=int)]))
    assert found.shares[0] == pixel_agreement(counts).shares[0]


def test_few_images_hold_a_set(rng):
    counts = image_counts(rng, images=12)
    counts[:8, 1] = 0
    found = pixel_agreement(counts)
    assert np.isnan(found.p_values[1]) and np.isnan(found.p_holm[1]) and not np.isnan(found.p_values[0])
    counts[:, 1] = 0
    assert pixel_agreement(counts).shares[1].interval == "none: the value is 0, with or without some sample, where its variance cannot be seen"  # fmt: skip
    few = pixel_agreement(counts[:3])
    assert np.isnan(few.p_values).all() and few.shares[0].interval == "none: 3 samples, at least 5 needed"
    assert pixel_agreement(counts[:1]).shares[0].interval == "none: 1 sample, at least 5 needed"


def test_what_pixel_agreement_refuses(rng):
    for wrong in (np.ones((3, 3), dtype=int), np.ones((3, 4)), -np.ones((3, 4), dtype=int), np.ones(4, dtype=int)):
        with pytest.raises(ValueError, match=r"they are \(images, 2\^models\) whole numbers"):
            pixel_agreement(wrong)
    with pytest.raises(ValueError, match="counts hold no pixel"):
        pixel_agreement(np.zeros((3, 4), dtype=int))
    with pytest.raises(ValueError, match="there are 1 models"):
        pixel_agreement(np.ones((3, 2), dtype=int))
    with pytest.raises(ValueError, match="groups has shape"):
        pixel_agreement(np.ones((3, 4), dtype=int), groups=[1])
    with pytest.raises(ValueError, match=r"the prediction of model 1 has shape \(1, 2\) and the mask \(1, 3\)"):
        answer_map([[0, 1, 2]], [[[0, 1, 2]], [[0, 1]]])
    with pytest.raises(ValueError, match="there are 0 models"):
        answer_counts([[0, 1]], [])
    with pytest.raises(ValueError, match="models 0 and 2 are asked for; they are two of 0 to 1"):
        pixel_error_consistency(np.ones((3, 4), dtype=int), 0, 2)
    with pytest.raises(ValueError, match="models 1 and 1"):
        pixel_error_consistency(np.ones((3, 4), dtype=int), 1, 1)


# Error consistency --------------------------------------------------------------------------------------------------


def test_kappa_is_cohens_and_every_leave_out_exact(rng):
    a, b = answers(rng, models=2).T
    found = error_consistency(a, b)
    assert found.value == pytest.approx(cohen_kappa_score(a, b), abs=1e-12)
    assert found.value == pytest.approx(oracle.kappa(a, b), abs=1e-12)
    left = [oracle.kappa(np.delete(a, i), np.delete(b, i)) for i in range(len(a))]
    np.testing.assert_allclose(found.leave_one_out, left, atol=1e-12)
    groups = np.sort(rng.integers(0, 15, len(a)))
    left = [oracle.kappa(a[groups != g], b[groups != g]) for g in np.unique(groups)]
    grouped = error_consistency(a, b, groups=groups)
    np.testing.assert_allclose(grouped.leave_one_out, left, atol=1e-12)
    assert grouped.unit == "group" and grouped.value == found.value


def test_kappa_of_pixels_is_that_of_all_pixels_by_image(rng):
    correct, image = answers(rng, n=300, models=3), np.repeat(np.arange(10), 30)
    counts = np.array([sample_agreement(correct[image == each], rng=rng, permutations=1).counts for each in range(10)])
    for i, j in ((0, 1), (2, 0)):
        expected = error_consistency(correct[:, i], correct[:, j], groups=image)
        found = pixel_error_consistency(counts, i, j)
        assert (found.value, found.ci_low, found.n_groups) == (expected.value, expected.ci_low, 10)


def test_signs_of_kappa_and_equal_answers(rng):
    a = rng.permutation(200) < 100
    assert error_consistency(a, ~a).value == -1 and error_consistency(a, a).value == 1
    same = error_consistency(a, a)
    assert same.interval == "Wilson, of shared errors" and 0.9 < same.ci_low < same.ci_high == 1
    assert error_consistency(a[:4], ~a[:4]).interval.startswith("none: 4 samples, at least 5")


def test_few_shared_errors_take_wilsons_interval(rng):
    a, b = np.ones((2, 100), dtype=bool)
    a[:8], b[6:11] = False, False  # both wrong on two, a alone on six, b alone on three
    found, share = error_consistency(a, b), wilson_estimate(np.arange(11) < 2)
    assert found.interval == "Wilson, of shared errors" and np.isnan(found.se)
    for end, of_missed in ((found.ci_low, share.ci_low), (found.ci_high, share.ci_high)):
        w = 11 * of_missed  # both wrong; the others are a's and b's as two to one, as seen
        p, q = w + (11 - w) * 2 / 3, w + (11 - w) / 3
        observed, chance = 1 - (11 - w) / 100, (p * q + (100 - p) * (100 - q)) / 1e4
        assert end == pytest.approx((observed - chance) / (1 - chance), abs=1e-12)
    mirrored = error_consistency(~a, ~b)
    assert (mirrored.value, mirrored.ci_low) == (pytest.approx(found.value), pytest.approx(found.ci_low))
    groups = np.arange(100) // 4
    assert error_consistency(a, b, groups=groups).interval == "none: an error in only 3 groups, at least 5 needed"
    assert (
        error_consistency(a[5:], b[5:], groups=np.arange(95)).interval
        == "Wilson, design effect of groups, of shared errors"
    )
    few = pixel_error_consistency(np.array([[3, 5, 5, 90]] * 3 + [[0, 4, 6, 90]] * 9), 0, 1)
    assert few.interval == "none: fewer than 5 samples hold pixels that both models miss, or that both get right"


def test_what_kappa_refuses():
    with pytest.raises(ValueError, match=r"a has shape \(3,\) and b \(2,\)"):
        error_consistency([1, 0, 1], [1, 0])
    with pytest.raises(ValueError, match="correct holds 3"):
        error_consistency([1, 0, 3], [1, 0, 1])
    with pytest.raises(ValueError, match="level is -1"):
        error_consistency([1, 0, 0], [1, 0, 1], level=-1)


# Simulations --------------------------------------------------------------------------------------------------------


def rejected(p_values):
    """Return how likely at least so many p-values at most 0.05 are where the test has that size."""
    p_values = np.asarray(p_values)
    p_values = p_values[~np.isnan(p_values)]
    return binomtest(int((p_values <= 0.05).sum()), len(p_values), 0.05, alternative="greater").pvalue


@pytest.mark.parametrize("repeats", [80, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["samples", "equal groups", "unequal groups"])
def test_independent_models_are_seldom_called_dependent(kind, repeats):
    rng = np.random.default_rng(5)
    p_values = []
    for _ in range(repeats):
        sizes = {"samples": np.ones(150), "equal groups": np.full(30, 5), "unequal groups": rng.geometric(0.2, 30)}[
            kind
        ]
        groups = np.repeat(np.arange(len(sizes)), sizes.astype(int))
        effect = rng.normal(0, 0 if kind == "samples" else 1, (len(sizes), 3))[groups]
        correct = effect + rng.standard_normal((len(groups), 3)) < (0.5, 0.8, 1.2)
        found = sample_agreement(correct, rng=rng, groups=None if kind == "samples" else groups, permutations=199)
        p_values.append(found.p_values)
    for place in range(8):
        assert rejected([each[place] for each in p_values]) > 0.001


def covers(found):
    """How likely so few covered truths, or fewer, are where the interval covers 95 %."""
    return binomtest(int(np.sum(found)), len(found), 0.95, alternative="less").pvalue


@pytest.mark.parametrize("accuracy, kappa", [(0.7, 0.318), (0.95, 0.204)])
def test_kappa_is_covered_also_where_errors_are_few(accuracy, kappa):
    rng = np.random.default_rng(8)
    hits = []
    for _ in range(400):
        hard = rng.standard_normal(150)
        a, b = (hard + rng.standard_normal(150) < np.sqrt(2) * norm.ppf(accuracy) for _ in range(2))
        found = error_consistency(a, b)
        if not np.isnan(found.ci_low):
            hits.append(found.ci_low <= kappa <= found.ci_high)
    assert len(hits) > 390 and covers(hits) > 0.001


def test_shares_of_pixels_are_covered_and_independent_models_seldom_called_dependent():
    rng = np.random.default_rng(9)
    hits, p_values = [], []
    truth = 0.9 * 0.7
    for _ in range(300):
        counts = np.zeros((30, 4), dtype=int)
        for image in range(30):
            chance = rng.beta((9, 7), (1, 3))  # of each model on this image, 0.9 and 0.7 on average
            right = rng.random((int(rng.geometric(0.1)) + 1, 2)) < chance
            counts[image] = 25 * np.bincount(right @ (1, 2), minlength=4)  # pixels in patches
        found = pixel_agreement(counts)
        hits.append(found.shares[3].ci_low <= truth <= found.shares[3].ci_high)
        p_values.append(found.p_values[3])
    assert covers(hits) > 0.001 and rejected(p_values) > 0.001


@pytest.mark.parametrize("units", [5, 6, 7, 20])
@pytest.mark.parametrize("cells", [[3, 2, 1, 4], [1, 0, 0, 2]])
def test_groups_that_are_all_alike_show_no_variance_and_have_no_p(units, cells):
    assert np.isnan(jackknife_p_values(np.tile(cells, (units, 1)))).all()
