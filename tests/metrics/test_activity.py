import numpy as np
import pytest

from featurespace.metrics import constant_units, dead_units

X = np.array([[0, 0, 5, 1, -3.0, 1e-9], [0, 0.1, 5, 2, -3, 0]])


def test_shares():
    assert [round(6 * dead_units(X, threshold=t)) for t in (0, 1e-9, 0.5, 3)] == [1, 2, 3, 5]  # by magnitude: -3, too
    assert dead_units(X) == pytest.approx(1 / 6) and constant_units(X) == 0.5
    assert dead_units(X[1:]) == pytest.approx(2 / 6) and dead_units(X * 0) == 1 and constant_units(X * 0) == 1


def test_dead_after_relu_is_found_and_constant_is_not_dead(rng):
    Z = np.maximum(rng.standard_normal((500, 8)) - np.r_[np.zeros(6), 50, 50], 0)
    assert dead_units(Z) == constant_units(Z) == 0.25
    assert dead_units(Z + 1) == 0 and constant_units(Z + 1) == 0.25


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: dead_units(X, threshold=-1), "threshold is -1; it is compared with magnitudes"),
        (lambda: dead_units(X, threshold=float("nan")), "threshold is nan"),
        (lambda: constant_units(X[:1]), "X has 1 rows; a channel is constant from 2 samples on"),
    ],
)
def test_errors_name_the_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call()
