"""CKA from kernels (wide features, unpooled maps, RBF), and without pairs within a group."""

import numpy as np
import pytest
from oracles import similarity as oracle

from featurespace.metrics import cka, cka_estimate, cka_jackknife, cka_matrices, cka_units, kernels, prepare_cka
from featurespace.metrics import hsic as hsic_room
from featurespace.metrics.prepared import PreparedKernel


def related(rng, n, d1, d2):
    X = rng.standard_normal((n, d1)) + 3
    return X, X[:, :2] @ rng.standard_normal((2, d2)) + rng.standard_normal((n, d2))


GROUPS = np.array([3, 1, 1, 2, 0, 3, 3, 1, 2, 4, 5, 5, 0])


@pytest.mark.parametrize("d1, d2", [(3, 5), (20, 4), (30, 40)])
def test_without_pairs_within_a_group_the_value_is_a_mean_over_four_groups(rng, d1, d2):
    X, Y = related(rng, len(GROUPS), d1, d2)
    expected = oracle.cka_between(X, Y, GROUPS)
    assert cka(X, Y, groups=GROUPS) == pytest.approx(expected, abs=1e-11)
    assert cka(X, Y) != pytest.approx(expected, abs=1e-3)
    found = cka_jackknife(X, Y, groups=GROUPS, between_groups=True)
    assert found.value == pytest.approx(expected, abs=1e-11)
    for left_out, value in zip(np.unique(GROUPS), found.leave_one_out, strict=True):
        kept = left_out != GROUPS
        assert value == pytest.approx(cka(X[kept], Y[kept], groups=GROUPS[kept]), abs=1e-9)


def test_groups_of_one_are_samples(rng):
    X, Y = related(rng, 20, 3, 4)
    names = np.arange(20)
    found, plain = (
        cka_jackknife(X, Y, groups=names, between_groups=True),
        cka_jackknife(X, Y, groups=names),
    )
    assert found.value == plain.value == pytest.approx(cka(X, Y)) and found.unit == "group"
    np.testing.assert_array_equal(found.leave_one_out, plain.leave_one_out)


@pytest.mark.parametrize("groups, between", [(None, False), ("groups", False), ("groups", True)])
def test_kernels_moments_and_wide_features_agree(rng, monkeypatch, groups, between):
    n = 40
    names = None if groups is None else np.arange(n) ** 2 % 11
    X, Y = related(rng, n, 20, 30)
    wide = [np.c_[Z, np.zeros((n, n))] for Z in (X, Y)]  # the same kernel, kept as a kernel
    found = []
    for moments in (True, False):
        monkeypatch.setattr(hsic_room, "kernels_are_cheaper", lambda a, b, answer=not moments: answer)
        found.append(cka_jackknife(X, Y, groups=names, between_groups=between))
    found.append(cka_jackknife(*wide, groups=names, between_groups=between))
    units = cka_units(names, n, between=between)
    mixed = prepare_cka(wide[0], groups=units), prepare_cka(Y, groups=units)
    assert [isinstance(layer, PreparedKernel) for layer in mixed] == [True, False]
    found.append(cka_estimate(*mixed))
    for other in found[1:]:
        assert other.value == pytest.approx(found[0].value, abs=1e-13)
        np.testing.assert_allclose(other.leave_one_out, found[0].leave_one_out, rtol=0, atol=1e-12)


def test_many_layers_without_pairs_within_groups(rng, monkeypatch):
    monkeypatch.setattr(hsic_room, "KERNEL_ROWS", 7)
    n, names = 40, np.arange(40) ** 2 % 11
    models = [[related(rng, n, d, 5)[0] for d in widths] for widths in ((3, 50, 9), (70, 6))]
    units = cka_units(names, n, between=True)
    prepared = [[prepare_cka(X, groups=units) for X in layers] for layers in models]
    for (i, j), estimates in cka_matrices(prepared):
        for a, X in enumerate(models[i]):
            for b, Y in enumerate(models[j]):
                alone = cka_jackknife(X, Y, groups=names, between_groups=True)
                assert estimates[a][b].value == pytest.approx(alone.value, abs=1e-12)
                assert estimates[a][b].se == pytest.approx(alone.se, abs=1e-10)


@pytest.mark.parametrize("kind", ["numpy", "torch", "memmap"])
def test_unpooled_maps_are_their_flattened_features(rng, monkeypatch, tmp_path, kind):
    import torch

    maps = rng.standard_normal((12, 5, 4, 3)).astype(np.float32)
    other = maps.mean(axis=(1, 2)) + 0.1 * rng.standard_normal((12, 3))
    expected = cka_jackknife(maps.reshape(12, -1).astype(float), other)
    if kind == "memmap":
        np.save(tmp_path / "maps.npy", maps)
        monkeypatch.setattr(kernels, "COLUMN_BYTES", 8 * 12 * 7)  # blocks of 7 columns
    given = {
        "numpy": lambda: maps,
        "torch": lambda: torch.from_numpy(maps),
        "memmap": lambda: np.load(tmp_path / "maps.npy", mmap_mode="r"),
    }[kind]()
    found = cka_jackknife(given, given)
    assert found.value == pytest.approx(1, abs=1e-12)
    found = cka_jackknife(given, other)
    assert found.value == pytest.approx(expected.value, abs=1e-12) and found.se == pytest.approx(expected.se)
    assert cka(given, other) == pytest.approx(expected.value, abs=1e-12)


def test_a_bad_value_of_a_map_is_named_by_its_flattened_column(rng, monkeypatch):
    monkeypatch.setattr(kernels, "COLUMN_BYTES", 8 * 12 * 7)
    maps = rng.standard_normal((12, 5, 4, 3))
    maps[3, 2, 1, 0] = np.nan
    with pytest.raises(ValueError, match=r"Y has 1 values .* row 3, column 27 \(nan\)"):
        cka_jackknife(rng.standard_normal((12, 5, 4, 3)), maps)


@pytest.mark.parametrize("scale", [1e-170, 1e-300, 1e170, 1e300])
@pytest.mark.parametrize("d", [3, 50])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_the_most_extreme_scales_change_nothing(rng, d, kernel, scale):
    X, Y = related(rng, 20, d, 4)
    X = X - X.mean(axis=0)
    expected = cka(X, Y, kernel=kernel)
    assert cka(X * scale, Y, kernel=kernel) == pytest.approx(expected, abs=1e-9)
    assert cka(Y, X * scale, kernel=kernel) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("groups", [None, GROUPS])
def test_rbf_leave_outs_have_the_kernel_of_all_samples(rng, groups):
    X, Y = related(rng, len(GROUPS), 3, 6)
    K, L = oracle.rbf_gram(X), oracle.rbf_gram(Y)
    names = np.arange(len(X)) if groups is None else groups

    def value(kept):
        k, m = K[np.ix_(kept, kept)], L[np.ix_(kept, kept)]
        h = oracle.hsic_unbiased
        return h(k, m) / np.sqrt(h(k, k) * h(m, m))

    found = cka_jackknife(X, Y, kernel="rbf", groups=groups)
    assert found.value == pytest.approx(value(names >= 0), abs=1e-11) == pytest.approx(cka(X, Y, kernel="rbf"))
    for name, without in zip(np.unique(names), found.leave_one_out, strict=True):
        assert without == pytest.approx(value(names != name), abs=1e-10)


def draw(rng, patients):
    """A pair with a shared effect of each patient; its CKA for independent patients is known from many of one slice."""
    n = len(patients)
    shared = rng.standard_normal((n, 4))
    X, Y = np.c_[shared, rng.standard_normal((n, 4))], np.c_[shared, rng.standard_normal((n, 6))]
    return X + rng.standard_normal((n, 8))[patients], Y + rng.standard_normal((n, 10))[patients]


@pytest.mark.parametrize("repeats", [100, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize("sizes", ["equal", "unequal"])
def test_the_interval_without_pairs_within_patients_covers_the_truth_of_independent_ones(rng, sizes, repeats):
    patients = np.repeat(np.arange(40), 6 if sizes == "equal" else np.r_[[2] * 20, [10] * 20])
    truth = cka(*draw(rng, np.arange(200_000)))
    without, with_pairs = [], []
    for _ in range(repeats):
        X, Y = draw(rng, patients)
        without.append(cka_jackknife(X, Y, groups=patients, between_groups=True))
        with_pairs.append(cka_jackknife(X, Y, groups=patients))
    values = np.array([each.value for each in without])
    assert values.mean() == pytest.approx(
        truth, abs=4 * values.std() / repeats**0.5 + 0.003
    )  # a ratio of unbiased ones
    covered = np.mean([each.ci_low <= truth <= each.ci_high for each in without])
    assert covered == pytest.approx(0.95, abs=0.035 * (300 / repeats) ** 0.5)  # 3 standard errors
    assert np.mean([each.value for each in with_pairs]) > truth + 0.02


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda X: cka(X, X, groups=[0, 1, 2] * 6 + [0, 1]),
            "X has 3 groups; debiased CKA is defined from 4 groups on",
        ),
        (lambda X: cka(X, X, groups=np.arange(20), debiased=False), "groups are for the debiased value"),
        (lambda X: cka_jackknife(X, X, between_groups=True), "between_groups needs groups"),
        (lambda X: prepare_cka(X, kernel="poly"), "kernel 'poly' is not known; allowed: linear, rbf"),
        (lambda X: cka(X[:, :, None], X[:-1, :, None]), "X has 20 rows and Y 19"),
        (lambda X: cka(np.full((20, 30), 0.1), X), "X is constant"),
        (lambda X: cka(X, np.full((20, 5, 6), 1e-200)), "Y is constant"),
    ],
)
def test_errors_name_the_reason(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(rng.standard_normal((20, 3)))
