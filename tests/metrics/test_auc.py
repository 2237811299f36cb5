import numpy as np
import pytest
from oracles import labels as oracle
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from featurespace.metrics import auc_jackknife
from featurespace.stats import paired_jackknife


def scored(rng, n=60, ties=False, share=0.4):
    positive = (rng.uniform(size=n) < share).astype(int)
    scores = rng.standard_normal(n) + positive
    return (np.round(scores) if ties else scores), positive


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("units", [None, 20, 7])
def test_value_and_every_leave_out_are_the_loops(rng, ties, units):
    scores, positive = scored(rng, ties=ties)
    groups = None if units is None else rng.integers(0, units, 60)
    found = auc_jackknife(scores, positive, groups=groups)
    assert found.value == pytest.approx(oracle.auc(scores, positive))
    assert found.value == pytest.approx(roc_auc_score(positive, scores))
    codes = np.arange(60) if groups is None else groups
    expected = [oracle.auc(scores[codes != u], positive[codes != u]) for u in np.unique(codes)]
    np.testing.assert_allclose(found.leave_one_out, expected, atol=1e-12)


def test_the_variance_is_delongs(rng):
    scores, positive = scored(rng, 200)
    wins = (scores[positive == 1][:, None] > scores[positive == 0]).astype(float)
    delong = wins.mean(axis=1).var(ddof=1) / len(wins) + wins.mean(axis=0).var(ddof=1) / wins.shape[1]
    assert auc_jackknife(scores, positive).se == pytest.approx(delong**0.5, rel=0.01)


def test_monotone_maps_change_nothing_and_the_other_class_mirrors(rng):
    scores, positive = scored(rng)
    found, mapped = auc_jackknife(scores, positive), auc_jackknife(np.exp(3 * scores), positive)
    assert (found.value, found.ci_low) == (mapped.value, mapped.ci_low)
    mirrored = auc_jackknife(scores, 1 - positive)
    assert (1 - mirrored.value, 1 - mirrored.ci_high) == pytest.approx((found.value, found.ci_low))


def test_two_models_on_the_same_samples(rng):
    positive = np.arange(200) % 2
    noise = rng.standard_normal(200)
    a, b = auc_jackknife(noise + 2 * positive, positive), auc_jackknife(noise + positive, positive)
    assert paired_jackknife(a, b)[1] < 0.01


def test_perfect_separation_is_not_certainty():
    positive = np.arange(40) < 10
    found = auc_jackknife(positive * 1.0, positive)
    assert found.value == found.ci_high == 1 and found.interval == "Wilson, few errors"
    assert found.ci_low == pytest.approx(20 / (20 + norm.ppf(0.975) ** 2))
    grouped = auc_jackknife(positive * 1.0, positive, groups=np.arange(40) // 2)
    assert grouped.ci_low < found.ci_low and grouped.n_groups == 20
    flipped = auc_jackknife(-1.0 * positive, positive)
    assert flipped.value == flipped.ci_low == 0 and flipped.ci_high == pytest.approx(1 - found.ci_low)


def test_no_interval_has_a_reason():
    found = auc_jackknife(np.arange(6.0), [0, 0, 0, 0, 0, 1])
    assert found.value == 1 and found.interval == "none: the value is undefined when one sample is left out"
    assert auc_jackknife([1.0, 2], [0, 1]).interval == "none: 2 samples, at least 5 needed"
    blind = auc_jackknife(np.ones(30), np.arange(30) % 2)
    assert blind.value == 0.5 and blind.interval == "none: every unit left out gives the same value"


@pytest.mark.parametrize("repeats", [200, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("counts, size", [((10, 90), 1), ((50, 50), 1), ((20, 200), 1), ((100, 100), 5)])
@pytest.mark.parametrize("auc", [0.7, 0.9, 0.97])
def test_intervals_cover_and_err_on_the_safe_side(rng, counts, size, auc, repeats):
    inside = 0
    positive = np.repeat([1, 0], counts)
    groups = None if size == 1 else np.arange(sum(counts)) // size
    for _ in range(repeats):
        shared = rng.standard_normal(sum(counts))[np.arange(sum(counts)) // size]  # own to each sample where size is 1
        scores = np.sqrt(0.5) * (shared + rng.standard_normal(sum(counts))) + positive * norm.ppf(auc) * np.sqrt(2)
        found = auc_jackknife(scores, positive, groups=groups)
        inside += found.ci_low <= auc <= found.ci_high
    assert inside / repeats > 0.95 - 0.02 - 3 * np.sqrt(0.05 * 0.95 / repeats)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda s, y: auc_jackknife(s, y[:-1]), r"scores have shape \(60,\) and positive \(59,\)"),
        (lambda s, y: auc_jackknife(s * np.nan, y), "scores have 60 values that are not finite"),
        (lambda s, y: auc_jackknife(s, y + 1), "positive has the value 2; allowed are 0 and 1"),
        (lambda s, y: auc_jackknife(s, y * 0), "there are no positives among 60 samples"),
        (lambda s, y: auc_jackknife(s, y * 0 + 1), "there are no negatives"),
        (lambda s, y: auc_jackknife(s, y, groups=[1]), "groups has shape"),
        (lambda s, y: auc_jackknife(s, y, level=2), "level is 2"),
    ],
)
def test_errors_name_the_reason(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(*scored(rng))
