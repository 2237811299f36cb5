"""Reuse and uniqueness of filters: against loops, by their invariances, and by simulation."""

import numpy as np
import pytest
import torch
from oracles import weights as oracle
from scipy.stats import binomtest

from featurespace.metrics import (
    cka,
    cka_jackknife,
    feature_reuse,
    feature_reuse_jackknife,
    feature_uniqueness,
    feature_uniqueness_jackknife,
    split_uniqueness,
)
from featurespace.metrics.filters import filter_rows, prepare_filters, reuse_estimate
from featurespace.metrics.weights import uniqueness_estimate

SHAPES = [(6, 3, 2, 3), (7, 5, 1, 1), (9, 1, 3, 2), (5, 4, 2, 2)]


def finetuned(rng, shape, *, change=0.7):
    W = rng.standard_normal(shape) + 0.3
    return W, W + change * rng.standard_normal(shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_reuse_and_every_leave_out_against_loops(rng, shape):
    before, after = finetuned(rng, shape)
    expected = oracle.feature_reuse(before, after)
    assert feature_reuse(before, after) == pytest.approx(expected, abs=1e-11)
    found = feature_reuse_jackknife(before, after)
    assert found.value == pytest.approx(expected, abs=1e-11)
    np.testing.assert_allclose(found.leave_one_out, oracle.reuse_without_each_filter(before, after), rtol=0, atol=1e-11)
    assert (found.n, found.n_groups, found.unit) == (len(oracle.rows_of(before)), shape[0], "group")


@pytest.mark.parametrize("shape, splits", [((4, 3, 2, 2), 4), ((8, 2, 1, 3), 8), ((6, 3, 2, 2), 3), ((3, 2, 4, 1), 2)])
def test_uniqueness_against_loops(rng, shape, splits):
    W = rng.standard_normal(shape)
    expected = oracle.split_uniqueness(W, splits)
    np.testing.assert_allclose(split_uniqueness(W, splits=splits), expected, rtol=0, atol=1e-11)
    assert feature_uniqueness(W, splits=splits) == pytest.approx(np.mean(expected), abs=1e-11)
    found = feature_uniqueness_jackknife(W, splits=splits)
    assert found.value == pytest.approx(np.mean(expected), abs=1e-11)


def test_leave_outs_of_uniqueness_delete_the_filter_at_one_place_of_every_split(rng):
    W = rng.standard_normal((12, 3, 2, 1))
    found = feature_uniqueness_jackknife(W, splits=2)
    halves = W.reshape(2, 6, 3, 2, 1)
    np.testing.assert_allclose(found.leave_one_out, 1 - oracle.reuse_without_each_filter(*halves), rtol=0, atol=1e-11)
    assert (found.n, found.n_groups) == (24, 6)


def test_the_debiased_measures_are_debiased_cka_of_the_rows(rng):
    before, after = finetuned(rng, (8, 4, 2, 2))
    X, Y = filter_rows(before), filter_rows(after)
    assert feature_reuse(before, after, debiased=True) == pytest.approx(cka(X, Y, kernel="rbf"), abs=1e-12)
    found = feature_reuse_jackknife(before, after, debiased=True)
    expected = cka_jackknife(X, Y, groups=np.repeat(np.arange(8), 4), kernel="rbf")
    assert (found.value, found.ci_low, found.ci_high) == pytest.approx(
        (expected.value, expected.ci_low, expected.ci_high)
    )
    expected = [
        1 - cka(X[8 * a : 8 * a + 8], X[8 * b : 8 * b + 8], kernel="rbf") for a in range(4) for b in range(a + 1, 4)
    ]
    assert feature_uniqueness(before, splits=4, debiased=True) == pytest.approx(np.mean(expected), abs=1e-12)
    found, of_pairs = uniqueness_estimate(before, splits=4, debiased=True)
    assert found.value == pytest.approx(np.mean(expected), abs=1e-12)
    np.testing.assert_allclose(of_pairs, expected, atol=1e-12)


def test_the_linear_kernel(rng):
    before, after = finetuned(rng, (8, 4, 2, 2))
    X, Y = filter_rows(before), filter_rows(after)
    expected = cka(X, Y, debiased=False)
    assert feature_reuse(before, after, kernel="linear") == pytest.approx(expected, abs=1e-12)
    assert feature_reuse_jackknife(before, after, kernel="linear").value == pytest.approx(expected, abs=1e-12)
    assert feature_reuse(before, after) != pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("debiased", [False, True])
def test_what_reuse_ignores_and_what_not(rng, debiased):
    before, after = finetuned(rng, (10, 6, 3, 3))
    reuse = feature_reuse(before, after, debiased=debiased)
    assert feature_reuse(before, before.copy(), debiased=debiased) == pytest.approx(1, abs=1e-9)
    assert feature_reuse(after, before, debiased=debiased) == pytest.approx(reuse, abs=1e-12)
    channels, filters = rng.permutation(6), rng.permutation(10)
    same = {
        "in-channels of both": (before[:, channels], after[:, channels]),
        "in-channels of one, a rotation": (before[:, channels], after),
        "filters of both": (before[filters], after[filters]),
        "factor": (3 * before, after / 7),
        "constant of an in-channel": (before + np.arange(6)[:, None, None], after),
    }
    for name, (first, second) in same.items():
        assert feature_reuse(first, second, debiased=debiased) == pytest.approx(reuse, abs=1e-9), name
    other = {"filters of one": (before[filters], after), "mirrored": (before[..., ::-1], after)}
    for name, (first, second) in other.items():
        assert abs(feature_reuse(first, second, debiased=debiased) - reuse) > 0.05, name


def test_uniqueness_of_copies_is_zero(rng):
    W = np.tile(rng.standard_normal((2, 4, 3, 3)), (8, 1, 1, 1))
    assert feature_uniqueness(W) == pytest.approx(0, abs=1e-9)
    assert feature_uniqueness(W, debiased=True) == pytest.approx(0, abs=1e-9)


def test_linear_depthwise_and_other_convolutions(rng):
    dense = rng.standard_normal((12, 5))
    np.testing.assert_array_equal(filter_rows(dense), dense)
    assert filter_rows(rng.standard_normal((12, 1, 3, 3))).shape == (108, 1)
    assert filter_rows(rng.standard_normal((4, 3, 5))).shape == (20, 3)
    assert filter_rows(rng.standard_normal((4, 3, 2, 2, 2))).shape == (32, 3)
    assert 0 < feature_reuse(*finetuned(rng, (12, 1, 3, 3))) < 1
    assert feature_reuse(dense, dense[:, :, None, None][..., 0, 0]) == pytest.approx(1, abs=1e-12)


def test_tensors_and_input_untouched(rng):
    before, after = (each.astype(np.float32) for each in finetuned(rng, (8, 4, 3, 3)))
    kept = before.copy()
    found = feature_reuse_jackknife(torch.tensor(before, requires_grad=True), torch.nn.Parameter(torch.tensor(after)))
    assert found == feature_reuse_jackknife(before.astype(float), after.astype(float))
    np.testing.assert_array_equal(before, kept)
    assert feature_uniqueness_jackknife(torch.tensor(before)).value == feature_uniqueness_jackknife(before).value


def test_prepared_once_for_several(rng):
    layers = [prepare_filters(W) for W in (*finetuned(rng, (8, 4, 3, 3)), rng.standard_normal((8, 4, 3, 3)))]
    assert reuse_estimate(layers[0], layers[0]).value == pytest.approx(1, abs=1e-12)
    for debiased in (False, True):
        values = [reuse_estimate(layers[0], each, debiased=debiased).value for each in layers]
        assert values[0] == pytest.approx(1) and values[0] > values[1] > values[2]
    few = prepare_filters(rng.standard_normal((3, 4)))
    assert reuse_estimate(few, few).value == pytest.approx(1)
    with pytest.raises(ValueError, match="a layer of fewer than 4 rows .* has no debiased CKA"):
        reuse_estimate(few, few, debiased=True)


def test_few_filters_have_a_value_and_no_interval(rng):
    before, after = finetuned(rng, (1, 3, 5, 5))
    found = feature_reuse_jackknife(before, after)
    assert found.value == pytest.approx(feature_reuse(before, after), abs=1e-12)
    assert found.interval == "none: 1 filter, at least 5 needed" and np.isnan(found.ci_low)
    few = feature_uniqueness_jackknife(rng.standard_normal((16, 3, 3, 3)))
    assert few.interval == "none: 2 filters, at least 5 needed" and few.n == 144
    W = rng.standard_normal((12, 3, 2, 1))
    cut = feature_uniqueness_jackknife(W)
    assert cut.interval == "none: 12 filters cannot be divided into 8 splits of whole filters"
    assert cut.value == feature_uniqueness(W)


def test_all_of_it_in_one_filter_has_no_interval():
    W = np.zeros((8, 3, 1, 1))
    W[5] = [[[1.0]], [[2.0]], [[0.5]]]
    found = feature_reuse_jackknife(W, W)
    assert found.value == pytest.approx(1) and found.interval == "none: all rows are equal when one filter is left out"


@pytest.mark.parametrize("call", [feature_reuse, feature_reuse_jackknife])
def test_what_reuse_refuses(rng, call):
    W = rng.standard_normal((8, 4, 3, 3))
    with pytest.raises(ValueError, match=r"W_before has shape \(8, 4, 3, 3\) and W_after \(8, 4, 1, 1\)"):
        call(W, W[..., :1, :1])
    with pytest.raises(ValueError, match=r"W_before has shape \(4,\); weights are"):
        call(W[0, :, 0, 0], W[0, :, 0, 0])
    with pytest.raises(ValueError, match="W_after is constant: all its rows are equal"):
        call(W, np.ones_like(W))
    with pytest.raises(ValueError, match="W_before has 1 rows"):
        call(W[:1, :, 0, 0], W[:1, :, 0, 0])
    with pytest.raises(ValueError, match="not finite, the first in row 0, column 1"):
        broken = W.copy()
        broken[0, 1, 0, 0] = np.nan
        call(W, broken)
    with pytest.raises(ValueError, match="kernel 'cosine' is not known; allowed: linear, rbf"):
        call(W, W, kernel="cosine")
    with pytest.raises(ValueError, match="has 3 rows .* at least 4 are needed"):
        call(W[:3, :, 0, 0], W[:3, :, 0, 0], debiased=True)
    with pytest.raises(ValueError, match="level is 95"):
        feature_reuse_jackknife(W, W, level=95)


@pytest.mark.parametrize("call", [feature_uniqueness, split_uniqueness, feature_uniqueness_jackknife])
def test_what_uniqueness_refuses(rng, call):
    W = rng.standard_normal((8, 4, 3, 3))
    with pytest.raises(
        ValueError, match=r"72 rows .* cannot be divided into 7 equal splits; splits that fit: 2, 3, 4, 6"
    ):
        call(W, splits=7)
    with pytest.raises(ValueError, match="splits is 1; at least 2"):
        call(W, splits=1)
    with pytest.raises(ValueError, match="splits is 2.0"):
        call(W, splits=2.0)
    with pytest.raises(ValueError, match="split 0 of W has 1 rows"):
        call(W[:, :, 0, 0])
    with pytest.raises(ValueError, match="split 1 of W is constant"):
        call(np.concatenate([W[:4], np.ones((4, 4, 3, 3))]), splits=2)
    with pytest.raises(ValueError, match="kernel 'cosine'"):
        call(W, kernel="cosine")
    one = np.zeros((8, 4, 3, 3))
    one[[0, 4], 0, 0, 0] = 1
    with pytest.raises(ValueError, match="is constant but for at most one"):
        call(one, splits=2, debiased=True)


# Simulations --------------------------------------------------------------------------------------------------------


def covers(estimates, truth):
    """How likely so few intervals hold the truth, or fewer, where they cover 95 %."""
    hits = [each.ci_low <= truth <= each.ci_high for each in estimates]
    return binomtest(sum(hits), len(hits), 0.95, alternative="less").pvalue


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize("change", [0.5, None])
def test_intervals_cover_the_expectation_over_filters(change, debiased):
    rng = np.random.default_rng(11)

    def drawn():
        W = rng.standard_normal((48, 16, 3)) * np.exp(0.3 * rng.standard_normal((48, 1, 1)))
        other = rng.standard_normal(W.shape)
        return feature_reuse_jackknife(W, other if change is None else W + change * other, debiased=debiased)

    estimates = [drawn() for _ in range(200)]
    values = [each.value for each in estimates]
    assert covers(estimates, np.mean(values)) > 0.001
    if change is None:
        assert abs(np.mean(values)) < 4 * np.std(values) / 200**0.5 if debiased else np.mean(values) > 0.05
    ses = np.sqrt(np.mean([each.se**2 for each in estimates]))
    assert 0.85 < ses / np.std(values) < 1.8


@pytest.mark.parametrize("debiased", [False, True])
def test_intervals_cover_the_uniqueness_of_independent_filters(debiased):
    rng = np.random.default_rng(12)
    estimates = [feature_uniqueness_jackknife(rng.standard_normal((64, 8, 2)), debiased=debiased) for _ in range(200)]
    mean, sd = np.mean([each.value for each in estimates]), np.std([each.value for each in estimates])
    assert covers(estimates, mean) > 0.001
    assert abs(mean - 1) < 4 * sd / 200**0.5 if debiased else mean < 0.8


def test_the_published_measures_of_unrelated_weights_depend_on_the_shape():
    rng = np.random.default_rng(13)
    expected = {(64, 64, 1, 1): (0.63, 0.07), (64, 64, 3, 3): (0.16, 0.40)}
    for shape, (reuse, unique) in expected.items():
        first, second = rng.standard_normal((2, *shape))
        assert feature_reuse(first, second) == pytest.approx(reuse, abs=0.03)
        assert feature_uniqueness(first) == pytest.approx(unique, abs=0.03)
