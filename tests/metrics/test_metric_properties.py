"""Properties that the registry claims, drawn from it: adding a metric adds its tests."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from oracles import similarity as oracle

import featurespace.metrics as room
from featurespace.metrics import METRICS, cosine_neighbours, mutual_knn, mutual_knn_from_neighbours, procrustes_distance
from featurespace.metrics.registry import INVARIANCES

NAMES = sorted(METRICS)


def sample(name, seed=0):
    """Two related feature sets, away from the origin and with unequal spread; unequal n where unpaired."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((60, 7)) * np.arange(1, 8) + 2
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
    return Z * rng.uniform(0.1, 5, d)


@pytest.mark.parametrize("name", NAMES)
def test_range_symmetry_and_identity(name):
    facts = METRICS[name]
    X, Y = sample(name)
    value = facts.function(X, Y)
    assert type(value) is float and facts.range[0] <= value <= facts.range[1]
    assert (facts.function(Y, X) == pytest.approx(value, abs=1e-10)) is facts.symmetric
    if facts.identity is not None:
        assert facts.function(X, X.copy()) == pytest.approx(facts.identity, abs=1e-6)
    assert facts.reference and facts.direction in ("likeness", "difference")


@pytest.mark.parametrize("kind", INVARIANCES)
@pytest.mark.parametrize("name", NAMES)
def test_claimed_invariances_hold_and_others_break(name, kind):
    facts = METRICS[name]
    X, Y = sample(name)
    before = facts.function(X, Y)
    after = facts.function(changed(kind, X), Y if facts.paired else changed(kind, Y))
    if kind in facts.invariances:
        assert after == pytest.approx(before, rel=1e-9, abs=1e-9)
    else:
        assert after != pytest.approx(before, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_direction(name):
    facts = METRICS[name]
    X, _ = sample(name)
    rng = np.random.default_rng(2)
    noise = rng.standard_normal((60, 7)) * np.arange(1, 8)
    near = X + 0.2 * noise
    far = 2 + noise[rng.permutation(60)] if facts.paired else near + 20
    grows = facts.function(X, near) - facts.function(X, far)
    assert grows > 0 if facts.direction == "likeness" else grows < 0


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_rows(name):
    facts = METRICS[name]
    X, Y = sample(name)
    order, other = np.random.default_rng(1).permutation(len(X)), np.random.default_rng(2).permutation(len(Y))
    value = facts.function(X, Y)
    assert facts.function(X[order], Y[order if facts.paired else other]) == pytest.approx(value, abs=1e-10)
    if facts.paired:
        assert facts.function(X[order], Y) != pytest.approx(value, abs=1e-2)


@pytest.mark.parametrize("name", NAMES)
def test_input_types_and_input_untouched(name):
    facts = METRICS[name]
    X, Y = (Z.astype(np.float32) for Z in sample(name))
    kept = X.copy(), Y.copy()
    value = facts.function(X, Y)
    np.testing.assert_array_equal(np.concatenate([X, Y]), np.concatenate(kept))
    X.setflags(write=False)
    assert facts.function(X.astype(float), Y.astype(float)) == value  # float32 is widened, nothing else
    assert facts.function(torch.from_numpy(kept[0]).requires_grad_(), torch.from_numpy(kept[1])) == value
    assert facts.function(np.asfortranarray(X), Y.tolist()) == pytest.approx(value, abs=1e-12)
    assert facts.function(*sample(name)) == pytest.approx(value, rel=1e-5, abs=1e-5)
    half = torch.from_numpy(kept[0]).to(torch.bfloat16), torch.from_numpy(kept[1])
    assert facts.function(*half) == facts.function(half[0].float().numpy(), half[1])


@pytest.mark.parametrize("name", NAMES)
def test_bad_features_are_named(name):
    facts = METRICS[name]
    X, Y = sample(name)
    Y = Y.copy()
    Y[3, 2], Y[9, 0] = np.nan, np.inf
    with pytest.raises(ValueError, match=r"Y has 2 values that are not finite, the first in row 3, column 2 \(nan\)"):
        facts.function(X, Y)
    with pytest.raises(ValueError, match="paired features" if facts.paired else "share one feature space"):
        facts.function(X, X[:-1] if facts.paired else X[:, :-1])
    with pytest.raises(ValueError, match=r"X has shape \(0, 7\)"):
        facts.function(X[:0], Y)


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
