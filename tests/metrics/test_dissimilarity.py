import numpy as np
import pytest
from oracles import dissimilarity as oracle
from scipy.spatial.distance import cdist, pdist
from scipy.stats import spearmanr

from featurespace.metrics import distance_correlation, distance_correlation_jackknife, rsa, rsa_jackknife
from featurespace.metrics.dependence import centred_distances
from featurespace.metrics.dissimilarity import COMPARISONS, RDMS, dissimilarities
from featurespace.metrics.distances import condensed_squared_distances, pairs_with

GROUPS = {
    "samples": lambda n: None,
    "equal": lambda n: np.arange(n) % (n // 4),
    "unequal": lambda n: np.sort(np.arange(n) ** 2 % 13 % 7)[::-1],
}


def related(rng, n, d1, d2):
    X = rng.standard_normal((n, d1)) + 3
    return X, X[:, :1] ** 2 + rng.standard_normal((n, d2))


@pytest.mark.parametrize("compare", COMPARISONS)
@pytest.mark.parametrize("rdm", RDMS)
def test_rsa_is_the_formula(rng, rdm, compare):
    for n, d1, d2 in [(20, 4, 9), (9, 30, 3)]:
        X, Y = related(rng, n, d1, d2)
        assert rsa(X, Y, rdm=rdm, compare=compare) == pytest.approx(oracle.rsa(X, Y, rdm, compare), abs=1e-10)
    if compare == "spearman":
        assert rsa(X, Y, rdm=rdm) == pytest.approx(spearmanr(pdist(X, rdm), pdist(Y, rdm))[0], abs=1e-10)


def test_ties_are_ties_whatever_the_rounding(rng):
    X = rng.integers(0, 3, (30, 4)).astype(float)
    X[:, 0] = np.arange(30) % 5  # no constant row in any subset of columns
    Y = rng.standard_normal((30, 2))
    for rdm in ("euclidean", "correlation"):
        x, y = (X, Y) if rdm == "euclidean" else (Y, X + rng.standard_normal((30, 4)))  # two columns: only 0 and 2
        assert rsa(x, y, rdm=rdm) == pytest.approx(oracle.rsa(x, y, rdm), abs=1e-12)
        assert rsa(x * 0.1, y, rdm=rdm) == pytest.approx(rsa(x, y, rdm=rdm), abs=1e-12)
    rows = np.arange(60) % 30
    order = rng.permutation(60)
    assert rsa(X[rows], Y[rows], rdm="euclidean") == pytest.approx(
        rsa(X[rows][order] / 3, Y[rows][order], rdm="euclidean"), abs=1e-12
    )


def test_distances_of_many_rows_and_of_near_ones(rng):
    X = rng.standard_normal((600, 5))
    X[300:] = X[:300] + 1e-7 * X[::-1][:300]
    X -= X.mean(axis=0)
    expected = pdist(X)
    np.testing.assert_allclose(np.sqrt(condensed_squared_distances(X)), expected, rtol=1e-9)
    assert condensed_squared_distances(np.repeat(X[:4], 2, axis=0))[0] == 0
    np.testing.assert_allclose(dissimilarities(X + 9, rdm="cosine"), pdist(X + 9, "cosine"), atol=1e-12)


def test_pairs_with_rows():
    places = {pair: place for place, pair in enumerate((i, j) for i in range(7) for j in range(i + 1, 7))}
    for rows in ([3], [0, 6], [1, 4, 2], list(range(7))):
        expected = sorted(place for pair, place in places.items() if set(pair) & set(rows))
        assert pairs_with(np.array(rows), 7).tolist() == expected


@pytest.mark.parametrize("debiased", [True, False])
@pytest.mark.parametrize("n, d1, d2", [(20, 3, 4), (5, 9, 2), (4, 1, 1)])
def test_distance_correlation_is_the_formula(rng, n, d1, d2, debiased):
    X, Y = related(rng, n, d1, d2)
    expected = oracle.distance_correlation2(X, Y, debiased)
    assert distance_correlation(X, Y, debiased=debiased) == pytest.approx(expected, abs=1e-10)
    vectors = centred_distances(X, debiased=debiased) @ centred_distances(Y, debiased=debiased)
    assert vectors == pytest.approx(expected, abs=1e-10)


def test_distance_correlation_of_more_rows_than_a_block(rng):
    X, Y = related(rng, 600, 3, 2)
    a, b = cdist(X, X), cdist(Y, Y)
    A, B = (m - m.mean(0) - m.mean(1)[:, None] + m.mean() for m in (a, b))
    expected = (A * B).sum() / np.sqrt((A * A).sum() * (B * B).sum())
    assert distance_correlation(X, Y, debiased=False) == pytest.approx(expected, abs=1e-12)
    assert distance_correlation(X, Y) == pytest.approx(centred_distances(X) @ centred_distances(Y), abs=1e-12)
    groups = np.arange(600) % 2 + np.arange(600) // 60 * 5  # blocks of whole groups
    found = distance_correlation_jackknife(X, Y, groups=groups)
    expected = oracle.leave_out(distance_correlation, X, Y, groups)
    np.testing.assert_allclose(found.leave_one_out, expected, rtol=0, atol=1e-12)


def test_what_distance_correlation_sees_and_noise(rng):
    x = rng.standard_normal((300, 1))
    assert distance_correlation(x, x**2) > 0.15 > abs(np.corrcoef(x.T, (x**2).T)[0, 1])
    values = np.array([distance_correlation(*rng.standard_normal((2, 64, 128))) for _ in range(100)])
    assert abs(values.mean()) < 4 * values.std() / 10 and (values < 0).sum() > 20
    assert distance_correlation(*rng.standard_normal((2, 256, 512)), debiased=False) == pytest.approx(0.89, abs=0.01)


@pytest.mark.parametrize("kind", GROUPS)
@pytest.mark.parametrize(
    "jackknife, value, options",
    [(rsa_jackknife, rsa, {"rdm": rdm, "compare": compare}) for rdm in RDMS for compare in COMPARISONS]
    + [(distance_correlation_jackknife, distance_correlation, {"debiased": debiased}) for debiased in (True, False)],
)
def test_every_leave_out_equals_deleting_the_rows(rng, jackknife, value, options, kind):
    n = 30
    X, Y = related(rng, n, 4, 3)
    X[:6] = np.round(X[:6])  # some ties
    groups = GROUPS[kind](n)
    units = np.arange(n) if groups is None else groups
    found = jackknife(X, Y, groups=groups, **options)
    assert found.value == pytest.approx(value(X, Y, **options), abs=1e-12)
    expected = oracle.leave_out(value, X, Y, units, **options)
    np.testing.assert_allclose(found.leave_one_out, expected, rtol=0, atol=1e-11)
    assert found.unit == ("sample" if groups is None else "group") and found.n_groups == len(np.unique(units))


@pytest.mark.parametrize("jackknife", [rsa_jackknife, distance_correlation_jackknife])
def test_no_interval_and_why(rng, jackknife):
    X, Y = related(rng, 20, 4, 3)
    assert jackknife(X, Y, groups=np.arange(20) % 4).interval == "none: 4 groups, at least 5 needed"
    assert jackknife(X[:4], Y[:4]).interval == "none: 4 samples, at least 5 needed"
    assert jackknife(X, Y, groups=[0] * 20).interval == "none: 1 group, at least 5 needed"
    assert jackknife(X, Y, groups=[0] * 17 + [1, 2, 3]).interval == "none: 4 groups, at least 5 needed"
    assert jackknife(X, Y, groups=[0] * 15 + [1, 2, 3, 4, 4]).interval.startswith("group jackknife")
    X[1:] = X[1] if jackknife is rsa_jackknife else X[:1]
    X[1:3] += [[1], [2]] if jackknife is distance_correlation_jackknife else [[1, 0, 2, 0], [0, 0, 0, 0]]
    found = jackknife(X, Y, **({"compare": "pearson"} if jackknife is rsa_jackknife else {}))
    assert found.interval in ("jackknife", "none: the value is undefined when one sample is left out")
    with pytest.raises(ValueError, match="level is 95"):
        jackknife(X, Y, level=95)
    with pytest.raises(ValueError, match="groups has shape"):
        jackknife(X, Y, groups=[1, 2])


def test_undefined_without_one_sample(rng):
    Y = rng.standard_normal((20, 3))
    X = np.zeros((20, 3))
    X[0, 0], X[1, 1] = 1, 2
    for found in (
        distance_correlation_jackknife(X, Y),
        rsa_jackknife(X[:, :1] + np.eye(20)[:, :1], Y, rdm="euclidean", compare="pearson"),
        rsa_jackknife(X[:, :1], Y, rdm="euclidean"),
        rsa_jackknife(X[:, :1], Y, rdm="euclidean", compare="cosine"),
    ):
        assert found.interval == "none: the value is undefined when one sample is left out"
        assert np.isfinite(found.value) and np.isnan(found.se)


@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_scales_near_the_ends_of_float64(rng, scale):
    X, Y = related(rng, 20, 4, 3)
    assert distance_correlation(X * scale, Y) == pytest.approx(distance_correlation(X, Y), abs=1e-12)
    for rdm in RDMS:
        assert rsa(X * scale, Y, rdm=rdm) == pytest.approx(rsa(X, Y, rdm=rdm), abs=1e-12)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda X: rsa(X, X, rdm="l1"), "rdm 'l1' is not known; allowed: correlation, euclidean, cosine"),
        (lambda X: rsa(X, X, compare="tau"), "compare 'tau' is not known; allowed: spearman, pearson, cosine"),
        (lambda X: rsa(X[:2], X[:2]), "X has 2 rows; RSA by spearman is defined from 3 samples on"),
        (lambda X: rsa(X[:1], X[:1], compare="cosine"), "X has 1 rows; RSA by cosine is defined from 2"),
        (lambda X: rsa(X[:, :1], X), "X has 20 rows that are constant over the 1 features, the first is row 0"),
        (lambda X: rsa(X, np.r_[X[:19], [[0.1] * 3]]), "Y has 1 rows that are constant .* row 19; .*euclidean"),
        (lambda X: rsa(X, X * 0, rdm="cosine"), "Y has 20 rows of zeros"),
        (lambda X: rsa(X * 0 + 0.1, X, rdm="euclidean"), "X is constant"),
        (lambda X: rsa(X, X[:1].repeat(20, axis=0)), "all correlation dissimilarities of Y are 0"),
        (lambda X: rsa(np.eye(20), X, rdm="euclidean"), "all euclidean dissimilarities of X are equal"),
        (lambda X: distance_correlation(X[:3], X[:3]), "X and Y have 3 rows; debiased distance correlation is .* 4"),
        (lambda X: distance_correlation(X[:1], X[:1], debiased=False), "have 1 rows; distance correlation is .* 2"),
        (lambda X: centred_distances(X[:3], "Y"), "Y has 3 rows; debiased"),
        (lambda X: distance_correlation(X, X * 0), "Y is constant"),
        (lambda X: distance_correlation(np.eye(20), X), "within X are those of equidistant samples"),
        (lambda X: distance_correlation(X, np.eye(20)[:, :1]), "within Y .* all samples but one are the same"),
        (lambda X: centred_distances(np.eye(20)[:, :1], "Y"), "within Y .* all samples but one are the same"),
    ],
)
def test_errors_name_the_reason(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(rng.standard_normal((20, 3)))
