"""Features at the ends of float64: a value where there is one, else a reason; never nan, infinity or a warning."""

import warnings

import numpy as np
import pytest
from test_metric_properties import NAMES, PAIRS, sample

import featurespace.metrics as room
from featurespace.metrics import METRICS
from featurespace.stats import block_jackknife, jackknife_estimate

PEAKS = [1e-320, 1e-310, 1e-200, 1e-160, 1e160, 1e200, 3e307, 1.7e308]


def rng():
    return np.random.default_rng(0)


def at(peak, arrays):
    """Return the arrays with this largest magnitude, scaled together by a power of two and what is left."""
    largest = max(np.abs(Z).max() for Z in arrays)
    return [Z / largest * peak for Z in arrays]


def strict(function, *arrays):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return function(*arrays)


@pytest.mark.parametrize("peak", PEAKS)
@pytest.mark.parametrize("name", NAMES)
def test_metrics_have_a_value_or_a_reason(name, peak):
    facts = METRICS[name]
    arrays = at(1.0, sample(name))
    extreme = at(peak, sample(name))
    try:
        value = strict(facts.function, *extreme)
    except ValueError as error:
        assert "isotropic_scale" not in facts.invariances and "range of float64" in str(error)
        return
    assert np.isfinite(value)
    if "isotropic_scale" in facts.invariances:
        assert value == pytest.approx(facts.function(*arrays), rel=1e-9 if peak > 1e-300 else 0.3, abs=1e-9)


DISTANCES = {
    "energy_distance": room.energy_distance,
    "sliced_wasserstein": lambda X, Y: room.sliced_wasserstein(X, Y, rng=rng()),
    "energy_jackknife": lambda X, Y: room.energy_jackknife(X, Y).ci_high,
    "energy_permutation": lambda X, Y: room.energy_permutation(X, Y, rng=rng(), permutations=9).ci_high,
    "mmd2_sigma": lambda X, Y: room.mmd2_permutation(X, Y, rng=rng(), permutations=9).sigma,
    "pca_embedding": lambda X, Y: float(np.abs(room.pca_embedding(X)).max()),
}


@pytest.mark.parametrize("exponent", [-1030, -600, 600, 1015])
@pytest.mark.parametrize("name", DISTANCES)
def test_values_in_units_of_the_features_scale_with_them(name, exponent):
    X, Y = (np.round(Z * 16) / 16 for Z in sample("mmd2"))  # exact at every scale
    value = DISTANCES[name](X, Y)
    found = strict(DISTANCES[name], np.ldexp(X, exponent), np.ldexp(Y, exponent))
    assert found == pytest.approx(float(np.ldexp(value, exponent)), rel=1e-12 if exponent > -1000 else 1e-9)


@pytest.mark.parametrize(
    "name", sorted(set(PAIRS) & {"mmd2", "energy_distance", "sliced_wasserstein", "precision", "coverage"})
)
def test_samples_whose_difference_is_no_number(name):
    X, Y = (sign * 1.7e308 * np.linspace(0.5, 1, 8)[:, None] * np.ones(2) for sign in (1, -1))
    try:
        value = strict(METRICS[name].function, X, Y)
    except ValueError as error:
        assert "range of float64" in str(error)
    else:
        assert np.isfinite(value) and value == pytest.approx(
            METRICS[name].function(X / 2**1000, Y / 2**1000), rel=1e-12
        )


@pytest.mark.parametrize("exponent", [-480, 480])
def test_frechet_intervals_scale_with_the_features(exponent):
    X, Y = sample("mmd2")
    found, expected = (
        strict(lambda X, Y: room.frechet_distance_corrected(X, Y, rng=rng()), np.ldexp(X, e), np.ldexp(Y, e))
        for e in (exponent, 0)
    )
    for name in ("value", "ci_low", "ci_high", "se"):
        assert getattr(found, name) == pytest.approx(np.ldexp(getattr(expected, name), 2 * exponent), rel=1e-9)
    np.testing.assert_allclose(found.leave_one_out, np.ldexp(expected.leave_one_out, 2 * exponent), rtol=1e-9)


@pytest.mark.parametrize("exponent", [-900, 900])
def test_jackknife_intervals_scale_with_the_values(exponent):
    leave_out = np.array([1.1, 0.9, 1.0, 1.2, 0.8, 1.0])
    found, expected = (
        strict(lambda e: jackknife_estimate(np.ldexp(1.0, e), np.ldexp(leave_out, e), n=6), e) for e in (exponent, 0)
    )
    assert (found.ci_low, found.ci_high, found.se) == pytest.approx(
        tuple(np.ldexp((expected.ci_low, expected.ci_high, expected.se), exponent)), rel=1e-12
    )
    X = rng().standard_normal((40, 2))
    scaled = block_jackknife(lambda A: float(A.mean()), [np.ldexp(X, exponent)], rng=rng())
    assert scaled.se == pytest.approx(np.ldexp(block_jackknife(lambda A: float(A.mean()), [X], rng=rng()).se, exponent))


def test_an_interval_that_is_no_number_has_a_reason():
    with pytest.raises(ValueError, match="the value or its interval leaves the range of float64"):
        jackknife_estimate(1.7e308, [1.7e308, 1e308, 1.0, 0.0, 1.7e308], n=5)
    X = np.array([[-1.7e308], [1.7e308], [1.6e308]])
    with pytest.raises(ValueError, match="the value leaves the range of float64"):
        room.energy_distance(np.repeat(X, 50, axis=1), -np.repeat(X, 50, axis=1) / 2)
