import numpy as np
import pytest
from oracles import geometry as oracle

from featurespace.metrics import (
    alignment_loss,
    anisotropy,
    anisotropy_jackknife,
    pairs,
    uniformity,
    uniformity_jackknife,
)
from featurespace.stats import block_jackknife


def features(rng, n, d=4):
    return rng.standard_normal((n, d)) * np.arange(1, d + 1) + 1


@pytest.mark.parametrize("n", [2, 3, 30])
def test_values_are_the_formulas(rng, n):
    X, Y = features(rng, n), features(rng, n)
    for t in (0.5, 2, 7):
        assert uniformity(X, t=t) == pytest.approx(oracle.uniformity(X, t), abs=1e-12)
    assert anisotropy(X) == pytest.approx(oracle.anisotropy(X), abs=1e-12)
    for alpha in (1, 2, 3.5):
        assert alignment_loss(X, Y, alpha=alpha) == pytest.approx(oracle.alignment_loss(X, Y, alpha), abs=1e-12)


@pytest.mark.parametrize("groups", [None, [0, 0, 1, 2, 2, 2, 3, 4, 4, 5], [5, 1, 2, 3, 4, 5, 1, 2, 3, 4]])
@pytest.mark.parametrize("block", [2**22, 7])
def test_leave_outs_delete_the_rows(rng, monkeypatch, groups, block):
    monkeypatch.setattr(pairs, "CELLS", block)
    X = features(rng, 10)
    units = np.arange(10) if groups is None else np.array(groups)
    for found, metric in (
        (uniformity_jackknife(X, groups=groups, t=3), lambda Z, g: oracle.uniformity(Z, 3, g)),
        (anisotropy_jackknife(X, groups=groups), oracle.anisotropy),
    ):
        assert found.value == pytest.approx(metric(X, units.tolist()), abs=1e-12)
        expected = [metric(X[units != g], units[units != g].tolist()) for g in np.unique(units)]
        np.testing.assert_allclose(found.leave_one_out, expected, atol=1e-12)
        assert found.unit == ("sample" if groups is None else "group") and found.se > 0


def test_known_values(rng):
    X = np.repeat([[0.3, 0.4]], 5, axis=0)
    assert uniformity(X) == pytest.approx(0, abs=1e-15) and anisotropy(X) == pytest.approx(1)
    assert alignment_loss(X, -2 * X) == pytest.approx(4)
    square = np.array([[1, 0], [0, 1], [-1, 0], [0, -1.0]])
    assert anisotropy(square) == pytest.approx(-1 / 3)
    Z = rng.standard_normal((2000, 400))
    assert uniformity(Z) == pytest.approx(-4 + 2 * 4 / 400, abs=0.01)  # -2 t + 2 t^2 / d
    assert abs(anisotropy(Z)) < 1e-3


def test_alignment_is_invariant_to_a_common_rotation_and_to_scale(rng):
    X, Y = features(rng, 30), features(rng, 30)
    Q = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    value = alignment_loss(X, Y)
    assert alignment_loss(3 * X @ Q, 1e150 * Y @ Q) == pytest.approx(value, abs=1e-12)
    assert alignment_loss(Y, X) == value and alignment_loss(X, X) == 0
    assert alignment_loss(X + 5, Y + 5) != pytest.approx(value, abs=1e-2)
    assert alignment_loss(X.astype("f2"), X.tolist()) < 1e-5
    assert block_jackknife(alignment_loss, [X, Y], rng=rng).ci_low < value


def shifted(rng, n, patients=None):
    """Normal features, so that samples of patients have the distribution of single ones."""
    Z = rng.standard_normal((n, 20))
    if patients is not None:
        Z = (Z + rng.standard_normal((patients.max() + 1, 20))[patients]) / 2**0.5
    return Z * np.arange(1, 21) ** -0.5 + 0.5


@pytest.mark.parametrize(
    "jackknife, metric, size", [(anisotropy_jackknife, anisotropy, 200_000), (uniformity_jackknife, uniformity, 4000)]
)
def test_the_jackknife_covers_and_patients_do_not_raise_the_value(rng, jackknife, metric, size):
    truth, patients = metric(shifted(rng, size)), np.repeat(np.arange(60), 5)
    sampled = [jackknife(shifted(rng, 300)) for _ in range(100)]
    draws = [shifted(rng, 300, patients) for _ in range(100)]
    grouped = [jackknife(X, groups=patients) for X in draws]
    for found in (sampled, grouped):
        covered = np.mean([each.ci_low <= truth <= each.ci_high for each in found])
        # 95 % less 3 standard errors of 100 repeats, and of the truth itself
        assert covered > 0.86 and np.mean([each.value for each in found]) == pytest.approx(truth, abs=0.02)
    assert np.mean([metric(X) for X in draws]) > np.mean([each.value for each in grouped]) + 0.002


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda X: uniformity(X[:1]), "X has 1 rows; pairs of different samples need at least 2"),
        (lambda X: anisotropy(X[:1]), "X has 1 rows"),
        (lambda X: anisotropy(np.r_[X, X[:1] * 0]), "X has 1 rows of zeros, the first is row 20"),
        (lambda X: uniformity(X, t=0), "t is 0; the width of the potential"),
        (lambda X: uniformity_jackknife(X, t=np.inf), "t is inf"),
        (lambda X: uniformity([[1, 0], [-1, 0]], t=1000), "t is 1000: the potential of every pair is below"),
        (lambda X: uniformity_jackknife(X, groups=[1] * 20), "groups are all the same"),
        (lambda X: anisotropy_jackknife(X, groups=[1] * 20), "groups are all the same"),
        (lambda X: anisotropy_jackknife(X, groups=[1]), "groups has shape"),
        (lambda X: anisotropy_jackknife(X, level=0), "level is 0"),
        (lambda X: uniformity_jackknife(X, level=95), "level is 95"),
        (lambda X: alignment_loss(X, X, alpha=0), "alpha is 0; the power"),
        (lambda X: alignment_loss(X, X[:, :2]), "X has 3 columns and Y 2; two views"),
        (lambda X: alignment_loss(X, X[:5]), "X has 20 rows and Y 5"),
        (lambda X: alignment_loss(X, X * 0), "Y has 20 rows of zeros"),
    ],
)
def test_errors_name_the_reason(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(rng.standard_normal((20, 3)))


def test_few_units_give_no_interval(rng):
    X = features(rng, 20)
    for jackknife in (anisotropy_jackknife, uniformity_jackknife):
        assert jackknife(X[:2]).interval == "none: 2 samples, at least 5 needed"
        assert jackknife(X, groups=np.arange(20) % 4).interval == "none: 4 groups, at least 5 needed"
