import numpy as np
import pytest
from oracles import geometry as oracle

from featurespace.metrics import (
    effective_rank,
    participation_ratio,
    participation_ratio_corrected,
    participation_ratio_jackknife,
    spectrum_decay,
    spectrum_fit,
)


def features(rng, n, d):
    return np.maximum(rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) + 1, 0) + 3


@pytest.mark.parametrize("n, d", [(40, 6), (6, 40), (5, 1), (9, 9)])
def test_values_are_the_formulas(rng, n, d):
    X = features(rng, n, d)
    assert effective_rank(X) == pytest.approx(oracle.effective_rank(X), abs=1e-5)
    assert effective_rank(X, centred=True) == pytest.approx(oracle.effective_rank(X - X.mean(axis=0)), abs=1e-5)
    if d > 1:
        assert participation_ratio(X) == pytest.approx(oracle.participation_ratio(X), abs=1e-10)
    assert 1 - 1e-9 <= participation_ratio(X) <= min(n - 1, d)
    assert 1 - 1e-9 <= effective_rank(X) <= min(n, d)


@pytest.mark.parametrize("n, d", [(4, 3), (9, 4), (8, 12)])
def test_debiased_participation_is_the_u_statistic(rng, n, d):
    X = features(rng, n, d)
    expected = oracle.participation_ratio_debiased(X)
    assert participation_ratio(X, debiased=True) == pytest.approx(expected, rel=1e-9)
    assert participation_ratio_jackknife(X).value == pytest.approx(expected, rel=1e-9)


def test_debiased_participation_is_the_row_estimator_of_chun(rng):
    # `dimensionality` 0.1.3 on PyPI, return_all=True, "row" and "naive"
    X = np.random.default_rng(3).standard_normal((40, 6)) * np.arange(1, 7) + 2
    assert participation_ratio(X, debiased=True) == pytest.approx(4.328974952476137, abs=1e-12)
    assert participation_ratio(X) == pytest.approx(3.869383393183729, abs=1e-12)


@pytest.mark.parametrize("groups", [[0, 0, 1, 2, 3, 3, 3, 4], [0, 1, 2, 3, 4, 0, 1, 2], None])
def test_leave_outs_delete_the_rows(rng, groups):
    X = features(rng, 8, 3)
    found = participation_ratio_jackknife(X, groups=groups)
    units = np.arange(8) if groups is None else np.array(groups)
    assert found.value == pytest.approx(oracle.participation_ratio_debiased(X, units.tolist()), rel=1e-9)
    expected = [
        oracle.participation_ratio_debiased(X[units != g], units[units != g].tolist()) for g in np.unique(units)
    ]
    if min(expected) > 0:
        np.testing.assert_allclose(found.leave_one_out, expected, rtol=1e-8)
    assert found.n_groups == len(expected) and found.unit == ("sample" if groups is None else "group")


def test_leave_outs_in_blocks(rng, monkeypatch):
    from featurespace.metrics import pairs

    X, groups = features(rng, 60, 7), rng.integers(0, 12, 60)
    whole = [participation_ratio_jackknife(X, groups=g) for g in (None, groups)]
    monkeypatch.setattr(pairs, "CELLS", 300)
    parts = [participation_ratio_jackknife(X, groups=g) for g in (None, groups)]
    for a, b in zip(whole, parts):
        np.testing.assert_allclose(a.leave_one_out, b.leave_one_out, rtol=1e-11)
    assert whole[0].leave_one_out[7] == pytest.approx(participation_ratio(np.delete(X, 7, axis=0), debiased=True))


def correlated(rng, n, d=20, patients=None):
    """Skewed features of known covariance, eigenvalues 1 / rank; with patients half of the variance between them."""
    if patients is None:
        Z = rng.standard_exponential((n, d)) - 1
    else:
        Z = (rng.standard_exponential((patients.max() + 1, d)) - 1)[patients] + rng.standard_exponential((n, d)) - 1
        Z /= 2**0.5
    return Z * np.arange(1, d + 1) ** -0.5


TRUTH = sum(1 / np.arange(1, 21)) ** 2 / sum(1 / np.arange(1, 21) ** 2)


def test_both_estimates_are_unbiased_at_small_n(rng):
    # the ratio is biased by O(1/n) noise; numerator and denominator are not, seen by averaging before the division
    n, above, below = 8, [], []
    for _ in range(4000):
        X = correlated(rng, n)
        Z = X - X.mean(axis=0)
        a = np.vecdot(Z, Z)
        A, F, fourth = a.sum(), ((Z.T @ Z) ** 2).sum(), n * (n - 1) * (a @ a)
        below.append(((n - 1) * (n - 2) * F + A**2 - fourth) / (n * (n - 1) * (n - 2) * (n - 3)))
        if below[-1] > 0:
            above.append(participation_ratio(X, debiased=True) * below[-1])
        else:
            above.append((A**2 * (n**2 - 3 * n + 1) - fourth + 2 * F) / (n * (n - 1) * (n - 2) * (n - 3)))
    for found, truth in ((above, sum(1 / np.arange(1, 21)) ** 2), (below, sum(1 / np.arange(1, 21) ** 2))):
        assert np.mean(found) == pytest.approx(truth, abs=4 * np.std(found) / 4000**0.5)


@pytest.mark.parametrize("grouped", [False, True])
def test_the_jackknife_covers_the_population(rng, grouped):
    patients = np.repeat(np.arange(60), 5) if grouped else None
    found = [
        participation_ratio_jackknife(correlated(rng, 300, patients=patients), groups=patients) for _ in range(150)
    ]
    covered = np.mean([each.ci_low <= TRUTH <= each.ci_high for each in found])
    assert covered > (0.84 if grouped else 0.88)  # 3 standard errors below what long simulations gave
    assert np.mean([each.value for each in found]) == pytest.approx(TRUTH, rel=0.03)


@pytest.mark.parametrize("repeats", [150, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("tails", ["exponential", "lognormal"])
def test_the_corrected_ratio_is_nearly_unbiased_and_covered(rng, tails, repeats):
    def draw():
        Z = rng.standard_exponential((100, 20)) if tails == "exponential" else np.exp(rng.standard_normal((100, 20)))
        return Z * np.arange(1, 21) ** -0.5

    found, plain = [], []
    for _ in range(repeats):
        X = draw()
        found.append(participation_ratio_corrected(X))
        plain.append(participation_ratio_jackknife(X).value)
    bias, before = np.mean([each.value for each in found]) - TRUTH, np.mean(plain) - TRUTH
    # 10.3 and 9.2 where 8.1 is true with log-normal features, 8.5 and 8.1 with exponential ones
    assert abs(bias) < (0.7 * before if tails == "lognormal" else 0.15) and before > (
        1.5 if tails == "lognormal" else 0.25
    )
    covered = np.mean([each.ci_low <= TRUTH <= each.ci_high for each in found])
    assert covered > 0.91 - 3 * np.sqrt(0.09 * 0.91 / repeats)


def test_the_correction_is_the_jackknifes(rng):
    X, groups = features(rng, 60, 7), rng.integers(0, 12, 60)
    for of, count in ((None, 60), (groups, 12)):
        found, plain = participation_ratio_corrected(X, groups=of), participation_ratio_jackknife(X, groups=of)
        expected = plain.value - (count - 1) * (np.mean(plain.leave_one_out) - plain.value)
        assert found.value == pytest.approx(expected) and found.interval == f"{plain.interval}, bias corrected"
        assert found.ci_high - found.value == pytest.approx(plain.ci_high - plain.value)
        assert participation_ratio_corrected(X * 3 + 1000, groups=of).value == pytest.approx(expected)
    few = participation_ratio_corrected(X[:4])
    assert (
        few.interval == "none: 4 samples, at least 5 needed" and few.value == participation_ratio_jackknife(X[:4]).value
    )
    with pytest.raises(ValueError, match="level is 2"):
        participation_ratio_corrected(X, level=2)


def test_power_law_against_the_normal_equations(rng):
    X = features(rng, 50, 12)
    for first, last in ((1, 6), (2, 9), (3, 5)):
        fit = spectrum_fit(X, first=first, last=last)
        assert fit.alpha == pytest.approx(oracle.power_law(X, first, last), abs=1e-9)
        assert fit.alpha == spectrum_decay(X, first=first, last=last) and 0 < fit.r2 <= 1
        values = np.log(np.sort(np.linalg.eigvalsh(np.cov(X.T)))[::-1][first - 1 : last])
        ranks = np.log(np.arange(first, last + 1))
        slope, cut = np.polyfit(ranks, values, 1, w=np.arange(first, last + 1) ** -0.5)  # polyfit squares its weights
        weights = 1 / np.arange(first, last + 1)
        residual = weights @ (values - slope * ranks - cut) ** 2
        spread = weights @ (values - np.average(values, weights=weights)) ** 2
        assert fit.r2 == pytest.approx(1 - residual / spread, abs=1e-9)
    assert (spectrum_fit(X).first, spectrum_fit(X).last) == (1, 6)


def test_a_flat_spectrum_has_no_decay():
    fit = spectrum_fit(np.kron(np.eye(8), [[1.0], [-1.0]]))
    assert fit.alpha == pytest.approx(0, abs=1e-14) and fit.r2 == 1


def test_known_ranks():
    flat = np.kron(np.eye(4), [[1.0], [-1.0]])
    assert participation_ratio(flat) == pytest.approx(4) and effective_rank(flat) == pytest.approx(4)
    assert effective_rank(np.ones((5, 3))) == pytest.approx(1)
    offset = flat + 1000
    assert effective_rank(offset) < 1.1 and effective_rank(offset, centred=True) == pytest.approx(4)
    assert participation_ratio(offset, debiased=True) == pytest.approx(participation_ratio(flat, debiased=True))


@pytest.mark.parametrize("scale", [1e-150, 1e150, 1e-300, 1e300])
def test_extreme_scales(rng, scale):
    X = features(rng, 30, 4)
    for metric in (effective_rank, participation_ratio, spectrum_decay_of_three):
        assert metric(X * scale) == pytest.approx(metric(X), rel=1e-10)
    assert participation_ratio_jackknife(X * scale).se == pytest.approx(participation_ratio_jackknife(X).se, rel=1e-8)


def spectrum_decay_of_three(X):
    return spectrum_decay(X, last=3)


ONE_OFF = np.eye(6)[:, :1]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda X: effective_rank(X * 0), "X is zero: no direction"),
        (lambda X: effective_rank(X * 0 + 0.1, centred=True), "X is constant: all 20 samples"),
        (lambda X: participation_ratio(X[:1]), "X is constant: all 1 samples"),
        (lambda X: participation_ratio(X[:3], debiased=True), "X has 3 rows; the debiased participation ratio"),
        (lambda X: participation_ratio(ONE_OFF, debiased=True), r"tr\(C\^2\) is not above 0 with 6 samples"),
        (lambda X: participation_ratio_jackknife(ONE_OFF), r"tr\(C\^2\) is not above 0 with 6 samples"),
        (lambda X: participation_ratio_jackknife(X * 0 + 0.1), r"tr\(C\^2\) is not above 0 with 20 samples"),
        (lambda X: participation_ratio_jackknife(X, groups=np.arange(20) % 3), "X has 3 groups; the debiased"),
        (lambda X: participation_ratio_jackknife(X, groups=[1]), "groups has shape"),
        (lambda X: participation_ratio_jackknife(X, level=2), "level is 2"),
        (lambda X: spectrum_fit(X), "ranks 1 to 1 cannot be fitted: features of shape .20, 3. have rank 3"),
        (lambda X: spectrum_fit(X, last=4), "ranks 1 to 4 cannot be fitted"),
        (lambda X: spectrum_fit(np.repeat(X, 2, axis=1), last=4), "have rank 3 once centred"),
        (lambda X: spectrum_decay(X, first=0, last=3), "ranks 0 to 3"),
    ],
)
def test_errors_name_the_reason(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(rng.standard_normal((20, 3)))


def test_few_units_and_undefined_leave_outs_give_no_interval(rng):
    X = rng.standard_normal((20, 3))
    assert participation_ratio_jackknife(X[:4]).interval == "none: 4 samples, at least 5 needed"
    X = np.zeros((20, 1))
    X[:2, 0] = 1, 2
    found = participation_ratio_jackknife(X)
    assert found.interval == "none: the value is undefined when one sample is left out"
    assert found.value == pytest.approx(participation_ratio(X, debiased=True))


def test_groups_whose_equal_share_is_no_exact_number_have_an_interval(rng):
    groups = np.r_[np.arange(30), rng.integers(0, 30, 147)]
    found = participation_ratio_jackknife(rng.standard_normal((177, 4)), groups=groups)
    assert found.interval == "group jackknife" and found.se > 0
