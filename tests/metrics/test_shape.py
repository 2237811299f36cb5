import math

import numpy as np
import pytest

from featurespace.metrics import procrustes_distance, procrustes_jackknife, shape_angle
from featurespace.metrics.shape import procrustes_from_shapes, shape
from featurespace.stats.resampling import jackknife_variance


def related(rng, n, d):
    """A pair in which every direction of one has its counterpart in the other."""
    shared = rng.standard_normal((n, d))
    return shared * np.linspace(1, 2, d) + 0.5 * rng.standard_normal((n, d)) + 9, shared + rng.standard_normal((n, d))


@pytest.mark.parametrize("d1, d2", [(3, 5), (6, 2), (30, 40)])
def test_the_angle_is_that_of_the_formula_and_the_arc_over_the_chord(rng, d1, d2):
    X, Y = rng.standard_normal((25, d1)) + 2, rng.standard_normal((25, d2))
    A, B = (Z - Z.mean(axis=0) for Z in (X, Y))
    gram_root = np.linalg.eigvals(A @ A.T @ B @ B.T)  # squares of the singular values of A'B
    nuclear = np.sqrt(np.maximum(gram_root.real, 0)).sum() / np.linalg.norm(A) / np.linalg.norm(B)
    assert shape_angle(X, Y) == pytest.approx(math.acos(nuclear), abs=1e-6)
    assert 2 * math.sin(shape_angle(X, Y) / 2) == pytest.approx(procrustes_distance(X, Y), abs=1e-12)


def test_the_triangle_inequality(rng):
    for _ in range(50):
        X, Y, Z = (rng.standard_normal((12, 3)) for _ in range(3))
        assert shape_angle(X, Z) <= shape_angle(X, Y) + shape_angle(Y, Z) + 1e-12


def test_unrelated_columns_are_a_right_angle():
    X = np.array([[1.0], [-1], [0], [0]])
    assert shape_angle(X, X[::-1]) == pytest.approx(math.pi / 2) and shape_angle(X, -X) == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_scales_near_the_ends_of_float64(rng, scale):
    X, Y = rng.standard_normal((2, 20, 4))
    assert shape_angle(X * scale, Y) == pytest.approx(shape_angle(X, Y), abs=1e-12)
    assert procrustes_jackknife(X * scale, Y).se == pytest.approx(procrustes_jackknife(X, Y).se, rel=1e-9)


@pytest.mark.parametrize("kind", ["samples", "equal", "unequal"])
def test_leave_outs_keep_the_rotation(rng, kind):
    n = 30
    X, Y = rng.standard_normal((n, 4)), rng.standard_normal((n, 6))
    groups = {"samples": None, "equal": np.arange(n) % 6, "unequal": np.sort(np.arange(n) ** 2 % 13)[::-1]}[kind]
    units = np.arange(n) if groups is None else groups
    A, B = X - X.mean(axis=0), Y - Y.mean(axis=0)
    U, _, Vt = np.linalg.svd(A.T @ B, full_matrices=False)
    expected = []
    for u in np.unique(units):
        P, Q = (Z[units != u] - Z[units != u].mean(axis=0) for Z in (X, Y))
        shared = np.trace(Vt @ Q.T @ P @ U) / np.linalg.norm(P) / np.linalg.norm(Q)
        expected.append(math.sqrt(2 - 2 * shared))
    found = procrustes_jackknife(X, Y, groups=groups)
    np.testing.assert_allclose(found.leave_one_out, expected, rtol=0, atol=1e-12)
    assert found.value == pytest.approx(procrustes_distance(X, Y), abs=1e-12)


def test_the_standard_error_is_near_that_of_the_full_jackknife(rng):
    X, Y = related(rng, 300, 5)
    found = procrustes_jackknife(X, Y)
    exact = np.array([procrustes_distance(np.delete(X, i, 0), np.delete(Y, i, 0)) for i in range(300)])
    _, variance = jackknife_variance(found.value, exact, np.ones(300))
    assert found.se == pytest.approx(math.sqrt(variance), rel=0.02)


def coverage(rng, repeats, *, groups=None, n=200, d=10):
    def draw():
        X, Y = related(rng, n, d)
        if groups is not None:
            X, Y = (Z + rng.standard_normal((n, d))[groups] for Z in (X, Y))
        return procrustes_jackknife(X, Y, groups=groups)

    found = [draw() for _ in range(repeats)]
    truth = np.mean([each.value for each in found])
    return np.mean([each.ci_low <= truth <= each.ci_high for each in found])


@pytest.mark.parametrize("groups", [None, np.repeat(np.arange(60), 5)], ids=["samples", "groups"])
def test_the_jackknife_covers_the_expected_value(rng, groups):
    # 3 standard errors of 400 repeats are 0.033; the jackknife is a little wide
    assert 0.917 < coverage(rng, 400, groups=groups, n=200 if groups is None else 300) <= 0.99


def test_no_interval_and_why(rng):
    X, Y = related(rng, 20, 3)
    assert procrustes_jackknife(X, Y, groups=np.arange(20) % 4).interval == "none: 4 groups, at least 5 needed"
    assert "below 1e-6, which rounding does not resolve" in procrustes_jackknife(X, X[:, ::-1] * 3).interval
    single = np.eye(20)[:, :1]
    found = procrustes_jackknife(single, Y)
    assert found.interval == "none: the value is undefined when one sample is left out" and found.value > 0


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda X: shape_angle(X[:1], X[:1]), "at least 2 samples"),
        (lambda X: procrustes_jackknife(X[:1], X[:1]), "at least 2 samples"),
        (lambda X: shape_angle(X, X * 0 + 0.1), "Y is constant"),
        (lambda X: procrustes_jackknife(X, X, level=0), "level is 0"),
        (lambda X: procrustes_jackknife(X, X, groups=[1]), "groups has shape"),
        (lambda X: shape_angle(X, X[:-1]), "X has 20 rows and Y 19"),
    ],
)
def test_errors_name_the_reason(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(rng.standard_normal((20, 3)))


def test_a_likeness_above_1_is_no_rounding(rng):
    A = shape(rng.standard_normal((20, 3)))
    assert procrustes_from_shapes(A, A) < 1e-6
    with pytest.raises(ArithmeticError, match="nuclear norm above 1 by 1.0e-06, more than rounding explains"):
        procrustes_from_shapes(A, (1 + 1e-6) * A)
