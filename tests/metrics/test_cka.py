import numpy as np
import pytest
from oracles import similarity as oracle

from featurespace.metrics import cka, cka_estimate, cka_jackknife, cka_matrices, prepare_cka
from featurespace.metrics import hsic as hsic_room


def related(rng, n, d1, d2):
    X = rng.standard_normal((n, d1)) @ rng.standard_normal((d1, d1)) + 3
    return X, np.maximum(X[:, : min(2, d1)] @ rng.standard_normal((min(2, d1), d2)) + rng.standard_normal((n, d2)), 0)


WIDTHS = [(3, 5), (1, 4), (30, 2), (40, 60)]
GROUPS = [None, "equal", "unequal"]


def labels(kind, n):
    return {None: None, "equal": np.arange(n) % (n // 4), "unequal": np.sort(np.arange(n) ** 2 % 13 % 7)[::-1]}[kind]


@pytest.mark.parametrize("d1, d2", WIDTHS)
def test_value_is_songs_formula(rng, d1, d2):
    X, Y = related(rng, 24, d1, d2)
    assert cka(X, Y) == pytest.approx(oracle.cka_debiased(X, Y), abs=1e-11)
    assert cka(X, Y) == pytest.approx(oracle.cka_debiased(X, Y, oracle.hsic_u_centred), abs=1e-11)
    assert cka(X, Y, debiased=False) == pytest.approx(oracle.cka_biased(X, Y), abs=1e-11)


def test_rbf_kernel_against_loops(rng):
    X, Y = related(rng, 20, 3, 6)
    K, L = oracle.rbf_gram(X), oracle.rbf_gram(Y)
    H = np.eye(20) - 1 / 20
    h = oracle.hsic_unbiased
    assert cka(X, Y, kernel="rbf") == pytest.approx(h(K, L) / np.sqrt(h(K, K) * h(L, L)), abs=1e-11)
    plain = np.trace(H @ K @ H @ L) / np.sqrt(np.trace(H @ K @ H @ K) * np.trace(H @ L @ H @ L))
    assert cka(X, Y, kernel="rbf", debiased=False) == pytest.approx(plain, abs=1e-11)
    assert cka(X, Y, kernel="rbf") != pytest.approx(cka(X, Y), abs=1e-3)


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_rbf_width_leaves_equal_rows_out(rng, offset):
    X, Y = related(rng, 12, 300, 6)
    rows = np.r_[np.zeros(30, dtype=int), np.arange(12)]  # most pairs are equal rows
    X, Y = X[rows], Y[rows]
    K, L = oracle.rbf_gram(X), oracle.rbf_gram(Y)
    h = oracle.hsic_unbiased
    expected = h(K, L) / np.sqrt(h(K, K) * h(L, L))
    assert cka(X + offset, Y, kernel="rbf") == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("kind", GROUPS)
@pytest.mark.parametrize("d1, d2", WIDTHS)
def test_every_leave_out_equals_deleting_the_rows(rng, d1, d2, kind):
    n = 28
    X, Y = related(rng, n, d1, d2)
    groups = labels(kind, n)
    units = np.arange(n) if groups is None else groups
    found = cka_jackknife(X, Y, groups=groups)
    assert found.value == pytest.approx(oracle.cka_debiased(X, Y), abs=1e-11)
    np.testing.assert_allclose(
        found.leave_one_out, oracle.leave_out(oracle.cka_debiased, X, Y, units), rtol=0, atol=1e-9
    )
    assert found.n == n and found.n_groups == len(np.unique(units))
    assert found.unit == ("sample" if kind is None else "group")


@pytest.mark.parametrize("kind", GROUPS)
def test_moments_and_grams_agree(rng, monkeypatch, kind):
    X, Y = related(rng, 40, 20, 30)
    groups = labels(kind, 40)
    found = []
    for kernels in (False, True):
        monkeypatch.setattr(hsic_room, "kernels_are_cheaper", lambda first, second, answer=kernels: answer)
        found.append(cka_jackknife(X, Y, groups=groups))
    assert found[0].value == pytest.approx(found[1].value, abs=1e-13)
    np.testing.assert_allclose(found[0].leave_one_out, found[1].leave_one_out, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", GROUPS)
@pytest.mark.parametrize("limits", [{}, {"PRODUCT_BYTES": 1, "CHUNK_BYTES": 1, "KERNEL_ROWS": 7}])
def test_every_pair_of_many_layers_is_that_pair_alone(rng, monkeypatch, kind, limits):
    for name, value in limits.items():
        monkeypatch.setattr(hsic_room, name, value)
    groups = labels(kind, 40)
    models = [[related(rng, 40, d, 5)[0] for d in widths] for widths in ((3, 50, 9), (70, 60), (2, 4, 1))]
    prepared = [[prepare_cka(X, groups=groups) for X in layers] for layers in models]
    chosen = {hsic_room.kernels_are_cheaper(prepared[i], prepared[j]) for i in range(3) for j in range(3)}
    assert chosen == {True, False}
    matrices = dict(cka_matrices(prepared))
    assert list(matrices) == [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
    for (i, j), estimates in matrices.items():
        for a, X in enumerate(models[i]):
            for b, Y in enumerate(models[j]):
                alone = cka_jackknife(X, Y, groups=groups)
                assert estimates[a][b].value == pytest.approx(alone.value, abs=1e-12)
                np.testing.assert_allclose(estimates[a][b].leave_one_out, alone.leave_one_out, rtol=0, atol=1e-11)
    for pairs in ([(0, 2)], [(1, 1), (0, 1)]):  # no bit depends on the other pairs
        for pair, found in cka_matrices(prepared, pairs):
            for some, alone in zip(sum(found, []), sum(matrices[pair], [])):
                assert some.value == alone.value and np.array_equal(some.leave_one_out, alone.leave_one_out)
    assert all(matrices[i, i][a][a].value == 1 for i in range(3) for a in range(len(models[i])))


def test_an_undefined_layer_among_others_has_no_estimates(rng):
    X = rng.standard_normal((20, 3))
    prepared = [[prepare_cka(X), prepare_cka(np.eye(20)[:, :1])], [prepare_cka(X[:, :2])]]
    estimates = dict(cka_matrices(prepared))[0, 1]
    assert estimates[1][0] is None and 0 < estimates[0][0].value < 1


@pytest.mark.parametrize("kind", GROUPS)
@pytest.mark.parametrize("d", [1, 5, 90])
def test_a_layer_is_itself(rng, d, kind):
    X = rng.standard_normal((32, d)) * np.arange(1, d + 1)
    groups = labels(kind, 32)
    found = cka_estimate(prepare_cka(X, groups=groups), prepare_cka(X.copy(), groups=groups))
    assert found.value == pytest.approx(1, abs=1e-9)
    np.testing.assert_allclose(found.leave_one_out, 1, rtol=0, atol=1e-9)


def test_a_common_offset_in_float32_changes_only_the_rounding_of_the_input(rng):
    X = rng.standard_normal((200, 8)).astype(np.float32)
    Y = (X + rng.standard_normal((200, 8))).astype(np.float32)
    moved = (X + np.float32(1000)).astype(np.float32)
    assert cka(moved, Y) == pytest.approx(cka(moved.astype(float) - 1000, Y), abs=1e-12)
    assert cka(moved, Y) == pytest.approx(cka(X, Y), abs=1e-4)  # half a unit in the last place of 1000 is 3e-5


@pytest.mark.parametrize("scale", [1e-90, 1e90])
def test_extreme_scales_do_not_overflow(rng, scale):
    X, Y = related(rng, 20, 3, 4)
    assert cka(X * scale, Y) == pytest.approx(cka(X, Y), abs=1e-12)


def test_noise_is_zero_when_debiased_and_near_one_when_not(rng):
    pairs = [rng.standard_normal((2, 64, 128)) for _ in range(100)]
    values = np.array([cka(X, Y) for X, Y in pairs])
    assert abs(values.mean()) < 4 * values.std() / 10 and (values < 0).sum() > 20
    assert cka(*pairs[0], debiased=False) > 0.6


def test_groups_may_come_in_any_order_and_type(rng):
    X, Y = related(rng, 30, 4, 4)
    groups = np.repeat(np.arange(10), 3)
    order = rng.permutation(30)
    names = np.array([f"patient {g:02d}" for g in groups], dtype=object)
    a, b = cka_jackknife(X, Y, groups=groups), cka_jackknife(X[order], Y[order], groups=names[order])
    assert a.value == pytest.approx(b.value) and a.se == pytest.approx(b.se)
    np.testing.assert_allclose(a.leave_one_out, b.leave_one_out)


def test_too_few_units_give_no_interval(rng):
    X, Y = related(rng, 30, 4, 4)
    assert cka_jackknife(X, Y, groups=np.arange(30) % 3).interval == "none: 3 groups, at least 5 needed"
    assert cka_jackknife(X[:4], Y[:4]).interval == "none: 4 samples, at least 5 needed"
    assert cka_jackknife(X[:5], Y[:5]).interval == "jackknife"


def test_four_samples_must_remain_without_the_largest_group(rng):
    X, Y = related(rng, 8, 4, 4)
    found = cka_jackknife(X[:7], Y[:7], groups=[0, 0, 0, 0, 1, 2, 3])
    assert found.interval == "none: 4 groups, at least 5 needed"
    assert cka_jackknife(X, Y, groups=[0, 0, 0, 0, 1, 2, 3, 4]).interval == "group jackknife"
    X, Y = related(rng, 9, 4, 4)
    found = cka_jackknife(X, Y, groups=[0, 0, 0, 0, 0, 1, 2, 3, 4])
    assert found.interval == "group jackknife" and found.leave_one_out.shape == (5,)


def test_an_undefined_leave_out_gives_no_interval(rng):
    X, Y = related(rng, 30, 4, 4)
    X = np.zeros((30, 1))
    X[:2, 0] = 1, 2
    found = cka_jackknife(X, Y)
    assert found.interval == "none: features are constant when one sample is left out"
    assert found.value == pytest.approx(oracle.cka_debiased(X, Y))


def coverage(intervals, truth):
    return np.mean([e.ci_low <= truth <= e.ci_high for e in intervals])


def draw(rng, n, patients=None):
    """A pair whose CKA is known from a large sample; optionally with a shared effect of each patient."""
    shared = rng.standard_normal((n, 4))
    X, Y = np.c_[shared, rng.standard_normal((n, 4))], np.c_[shared, rng.standard_normal((n, 6))]
    if patients is not None:
        X, Y = X + 1.0 * rng.standard_normal((n, 8))[patients], Y + 1.0 * rng.standard_normal((n, 10))[patients]
    return X, Y


def test_the_jackknife_covers(rng):
    truth = cka(*draw(rng, 200_000))
    found = [cka_jackknife(*draw(rng, 80)) for _ in range(400)]
    # 3 standard errors of 400 repeats are 0.033; the jackknife is a little wide
    assert 0.917 < coverage(found, truth) <= 0.985


def test_slices_are_not_samples(rng):
    patients = np.repeat(np.arange(40), 6)
    by_group, by_slice = [], []
    for _ in range(200):
        X, Y = draw(rng, 240, patients)
        by_group.append(cka_jackknife(X, Y, groups=patients))
        by_slice.append(cka_jackknife(X, Y))
    # around the mean of the statistic itself: pairs within a patient raise the value above that of single slices,
    # which no interval of this value repairs
    centre = np.mean([e.value for e in by_group])
    truth = cka(*draw(rng, 200_000, np.arange(200_000)))
    assert 0.92 < coverage(by_group, centre) <= 0.99
    assert coverage(by_slice, centre) < 0.88
    assert truth + 0.02 < centre < truth + 0.06


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda X: cka(X[:3], X[:3]), "debiased CKA is defined from 4 samples on"),
        (lambda X: prepare_cka(X[:3]), "X has 3 rows"),
        (lambda X: cka(X[:1], X[:1], debiased=False), "have 1 rows; CKA is defined from 2"),
        (lambda X: cka(X, X[:-1]), "X has 20 rows and Y 19; paired"),
        (lambda X: cka(X, X, kernel="poly"), "kernel 'poly' is not known; allowed: linear, rbf"),
        (lambda X: cka(X * 0 + 0.1, X), "X is constant"),
        (lambda X: cka(X, X * 0 + 0.1), "Y is constant"),
        (lambda X: cka(X, X * 0 + 0.1, debiased=False), "Y is constant"),
        (lambda X: cka(X, np.eye(20)[:, :1]), "Y is constant but for at most one sample"),
        (lambda X: cka_jackknife(np.eye(20)[:, :1], X), "X is constant but for at most one sample"),
        (lambda X: cka_jackknife(X, np.eye(20)[:, :1]), "Y is constant but for at most one sample"),
        (lambda X: cka(np.where(X.max() - 1e-9 < X, np.nan, X), X), "X has 1 values that are not finite, the first"),
        (lambda X: cka(X, np.full((20, 2), np.inf)), r"Y has 40 values .* row 0, column 0 \(inf\)"),
        (lambda X: cka(X[0], X), r"X has shape \(3,\)"),
        (lambda X: cka(X.astype(str), X), "X has dtype"),
        (lambda X: cka_jackknife(X, X, groups=[1, 2]), "groups has shape"),
        (lambda X: cka_estimate(prepare_cka(X), prepare_cka(X[:9])), "differ in samples or groups"),
        (lambda X: cka_estimate(prepare_cka(X), prepare_cka(X, groups=np.arange(20))), "differ in samples or groups"),
        (
            lambda X: cka_estimate(
                prepare_cka(X, groups=np.sort(np.arange(20) % 6)), prepare_cka(X, groups=np.sort(np.arange(20) % 7))
            ),
            "different groups",
        ),
    ],
)
def test_errors_name_the_reason(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(rng.standard_normal((20, 3)))


@pytest.mark.parametrize("kind", ["f4", "f8", "i8", "torch"])
def test_the_features_given_are_not_changed(rng, kind):
    import torch

    X = (rng.standard_normal((12, 3)) * 9).astype("f8" if kind == "torch" else kind)
    given = torch.from_numpy(X) if kind == "torch" else X
    before = X.copy()
    prepare_cka(given)
    cka_jackknife(given, given)
    assert np.array_equal(X, before)


def test_lists_of_numbers_are_features_too(rng):
    X, Y = rng.standard_normal((20, 3)), rng.standard_normal((20, 2))
    assert cka_estimate(prepare_cka(X.tolist()), prepare_cka(Y)).value == cka_jackknife(X, Y).value
