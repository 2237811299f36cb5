"""Properties that the registry claims, drawn from it: adding a metric adds its tests."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from oracles import similarity as oracle

import featurespace.metrics as room
from featurespace.metrics import METRICS, cosine_neighbours, mutual_knn, mutual_knn_from_neighbours, procrustes_distance
from featurespace.metrics.registry import INVARIANCES, KINDS

NAMES = sorted(METRICS)
PAIRS = [name for name in NAMES if METRICS[name].kind != "single"]


def sample(name, seed=0):
    """Return what the metric takes: away from the origin, with unequal spread; related if paired, else of unequal n."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((60, 7)) * np.arange(1, 8) + 2
    if name in ("dead_units", "constant_units"):
        X[:, 0] = 0  # something to count, or every change would leave it
    if METRICS[name].kind == "single":
        return (X,)
    if METRICS[name].paired:
        return X, np.c_[X[:, :3], rng.standard_normal((60, 4))] + 0.5 * rng.standard_normal((60, 7))
    return X, rng.standard_normal((45, 7)) * np.arange(7, 0, -1) + 1


def changed(kind, Z, seed=5):
    rng = np.random.default_rng(seed)
    d = Z.shape[1]
    if kind == "translation":
        return Z + 10 * rng.standard_normal(d)
    if kind == "rotation":
        return Z @ np.linalg.qr(rng.standard_normal((d, d)))[0]
    if kind == "isotropic_scale":
        return 3.7 * Z
    if kind == "invertible":
        return Z @ (rng.standard_normal((d, d)) + np.diag(rng.uniform(1, 5, d)))
    return Z * rng.uniform(0.1, 5, d)


def changed_sample(name, change):
    """Apply a change to one input of a similarity, to both of a gap."""
    first, *others = sample(name)
    return [change(first), *others] if METRICS[name].paired else [change(Z) for Z in (first, *others)]


@pytest.mark.parametrize("name", NAMES)
def test_range_symmetry_and_identity(name):
    facts = METRICS[name]
    arrays = sample(name)
    value = facts.function(*arrays)
    assert type(value) is float and facts.range[0] <= value <= facts.range[1]
    assert (facts.function(*arrays[::-1]) == pytest.approx(value, abs=1e-10)) is facts.symmetric
    if facts.identity is not None:
        assert facts.function(arrays[0], arrays[0].copy()) == pytest.approx(facts.identity, abs=1e-6)
    assert facts.reference and facts.kind in KINDS
    assert facts.direction in (("none",) if facts.kind == "single" else ("likeness", "difference"))


@pytest.mark.parametrize("kind", INVARIANCES)
@pytest.mark.parametrize("name", NAMES)
def test_claimed_invariances_hold_and_others_break(name, kind):
    facts = METRICS[name]
    before = facts.function(*sample(name))
    after = facts.function(*changed_sample(name, lambda Z: changed(kind, Z)))
    if kind in facts.invariances:
        assert after == pytest.approx(before, rel=1e-9, abs=1e-9)
    else:
        assert after != pytest.approx(before, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("name", [name for name in NAMES if "translation" in METRICS[name].invariances])
def test_a_large_offset_in_float32_changes_nothing(name):
    grid = [np.round(Z * 256) / 256 for Z in sample(name)]  # float32 holds these with the offset, too
    before = METRICS[name].function(*(Z.astype(np.float32) for Z in grid))
    after = METRICS[name].function(*((Z + 1000).astype(np.float32) for Z in grid))
    assert after == pytest.approx(before, rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("factor", [1e-60, 1e60])
@pytest.mark.parametrize("name", [name for name in NAMES if "isotropic_scale" in METRICS[name].invariances])
def test_tiny_and_huge_scales_change_nothing(name, factor):
    before = METRICS[name].function(*sample(name))
    after = METRICS[name].function(*changed_sample(name, lambda Z: Z * factor))
    assert after == pytest.approx(before, rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("name", PAIRS)
def test_direction(name):
    facts = METRICS[name]
    X, _ = sample(name)
    rng = np.random.default_rng(2)
    noise = rng.standard_normal((60, 7)) * np.arange(1, 8)
    near = X + 0.2 * noise
    far = 2 + noise[rng.permutation(60)] if facts.paired else 2 * near + 30  # a metric may be blind to a shift
    grows = facts.function(X, near) - facts.function(X, far)
    assert grows > 0 if facts.direction == "likeness" else grows < 0


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_rows(name):
    facts = METRICS[name]
    arrays = sample(name)
    orders = [np.random.default_rng(1 if facts.paired else i).permutation(len(Z)) for i, Z in enumerate(arrays)]
    value = facts.function(*arrays)
    assert facts.function(*(Z[order] for Z, order in zip(arrays, orders))) == pytest.approx(value, abs=1e-10)
    if facts.paired:
        assert facts.function(arrays[0][orders[0]], arrays[1]) != pytest.approx(value, abs=1e-2)


@pytest.mark.parametrize("name", NAMES)
def test_input_types_and_input_untouched(name):
    facts = METRICS[name]
    arrays = [Z.astype(np.float32) for Z in sample(name)]
    kept = [Z.copy() for Z in arrays]
    value = facts.function(*arrays)
    for Z, before in zip(arrays, kept):
        np.testing.assert_array_equal(Z, before)
    arrays[0].setflags(write=False)
    assert facts.function(*(Z.astype(float) for Z in arrays)) == value  # float32 is widened, nothing else
    tensors = [torch.from_numpy(Z) for Z in kept]
    assert facts.function(tensors[0].clone().requires_grad_(), *tensors[1:]) == value
    assert facts.function(np.asfortranarray(arrays[0]), *kept[1:]) == pytest.approx(value, abs=1e-12)
    assert facts.function(*(Z.tolist() for Z in kept)) == pytest.approx(value, abs=1e-12)
    assert facts.function(*sample(name)) == pytest.approx(value, rel=1e-5, abs=1e-5)
    half = tensors[0].to(torch.bfloat16)
    assert facts.function(half, *tensors[1:]) == facts.function(half.float().numpy(), *kept[1:])


@pytest.mark.parametrize("name", NAMES)
def test_bad_features_are_named(name):
    facts = METRICS[name]
    arrays = [Z.copy() for Z in sample(name)]
    arrays[-1][3, 2], arrays[-1][9, 0] = np.nan, np.inf
    last = "XY"[len(arrays) - 1]
    message = rf"{last} has 2 values that are not finite, the first in row 3, column 2 \(nan\)"
    with pytest.raises(ValueError, match=message):
        facts.function(*arrays)
    with pytest.raises(ValueError, match=r"X has shape \(0, 7\)"):
        facts.function(arrays[0][:0], *arrays[1:])
    if name in PAIRS:
        X = sample(name)[0]
        with pytest.raises(ValueError, match="paired features" if facts.paired else "share one feature space"):
            facts.function(X, X[:-1] if facts.paired else X[:, :-1])


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("name", NAMES)
def test_few_samples_give_a_finite_value_or_a_reason(name, rows):
    try:
        value = METRICS[name].function(*(Z[:rows] for Z in sample(name)))
    except ValueError as error:
        assert len(str(error)) > 20
    else:
        assert np.isfinite(value)


@pytest.mark.parametrize("kind", ["constant", "duplicated rows", "duplicated columns", "constant column", "n < d"])
@pytest.mark.parametrize("name", NAMES)
def test_degenerate_features_give_a_finite_value_or_a_reason(name, kind):
    change = {
        "constant": lambda Z: np.full_like(Z, 0.1),
        "duplicated rows": lambda Z: np.repeat(Z, 2, axis=0),
        "duplicated columns": lambda Z: np.repeat(Z, 2, axis=1),
        "constant column": lambda Z: np.c_[Z, np.full(len(Z), 0.1)],
        "n < d": lambda Z: Z[:6],
    }[kind]
    facts = METRICS[name]
    try:
        value = facts.function(*(change(Z) for Z in sample(name)))
    except ValueError as error:
        assert len(str(error)) > 20
    else:
        assert np.isfinite(value) and facts.range[0] - 1e-9 <= value <= facts.range[1] + 1e-9


def test_procrustes_is_the_best_rotation(rng):
    X, Y = rng.standard_normal((30, 4)) + 2, rng.standard_normal((30, 4))
    from scipy.linalg import orthogonal_procrustes

    A, B = (Z - Z.mean(axis=0) for Z in (X, Y))
    A, B = A / np.linalg.norm(A), B / np.linalg.norm(B)
    R, _ = orthogonal_procrustes(A, B)
    assert procrustes_distance(X, Y) == pytest.approx(np.linalg.norm(A @ R - B), abs=1e-12)


@pytest.mark.parametrize("d1, d2", [(3, 9), (50, 9), (50, 70), (9, 70)])
def test_procrustes_pads_the_narrower_with_zeros(rng, d1, d2):
    X, Y = rng.standard_normal((30, d1)), rng.standard_normal((30, d2))
    wide = max(d1, d2)
    padded = [np.pad(Z, ((0, 0), (0, wide - Z.shape[1]))) for Z in (X, Y)]
    C = (padded[0] - padded[0].mean(0)).T @ (padded[1] - padded[1].mean(0))
    norms = np.linalg.norm(X - X.mean(0)) * np.linalg.norm(Y - Y.mean(0))
    expected = np.sqrt(2 - 2 * np.linalg.svd(C)[1].sum() / norms)
    assert procrustes_distance(X, Y) == pytest.approx(expected, abs=1e-12)
    Q = np.linalg.qr(rng.standard_normal((d1, d1)))[0]
    assert procrustes_distance(X, X @ Q) < 1e-6


def test_procrustes_errors():
    with pytest.raises(ValueError, match="at least 2 samples"):
        procrustes_distance([[1.0]], [[1.0]])
    with pytest.raises(ValueError, match="Y is constant"):
        procrustes_distance([[1.0], [2.0]], [[0.1], [0.1]])


@pytest.mark.parametrize("k", [1, 4, 11])
def test_mutual_knn_against_sets(rng, k):
    X = rng.standard_normal((40, 3)) + 0.5
    Y = X + 0.3 * rng.standard_normal((40, 3))
    assert mutual_knn(X, Y, k=k) == pytest.approx(oracle.mutual_knn(X, Y, k))


def test_neighbours_of_many_rows_leave_themselves_out(rng):
    X = rng.standard_normal((1100, 3))
    found = cosine_neighbours(X, k=3)
    assert not (found == np.arange(1100)[:, None]).any()
    U = X / np.linalg.norm(X, axis=1, keepdims=True)
    likeness = U @ U.T - 9 * np.eye(1100)
    np.testing.assert_array_equal(found, np.sort(np.argsort(likeness)[:, -3:]))


def test_mutual_knn_of_noise_is_chance(rng):
    values = [mutual_knn(*rng.standard_normal((2, 101, 5)), k=10) for _ in range(40)]
    assert np.mean(values) == pytest.approx(0.1, abs=4 * np.std(values) / 40**0.5)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda X: mutual_knn(X, X, k=20), "k is 20; with 20 samples it must lie between 1 and 19"),
        (lambda X: cosine_neighbours(X, k=0), "k is 0"),
        (lambda X: cosine_neighbours(np.r_[X, X[:1] * 0], k=2), "X has 1 rows of zeros, the first is row 20"),
        (lambda X: mutual_knn_from_neighbours(np.ones((3, 2)), np.ones((3, 1))), "shapes"),
    ],
)
def test_neighbour_errors(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(rng.standard_normal((20, 3)))


def test_importing_the_room_imports_nothing_heavy():
    code = (
        "import sys, featurespace.metrics as m, featurespace.stats; "
        "assert not {'scipy', 'sklearn', 'torch', 'umap', 'numpy'} & set(sys.modules), sys.modules.keys(); "
        "assert set(dir(m)) == set(m.__all__)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_lazy_names():
    assert all(hasattr(room, name) for name in room.__all__)
    assert callable(room.cka)  # and not a module of the same name
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        room.absent  # noqa: B018
