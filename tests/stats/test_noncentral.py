import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import chi, nct, norm

from featurespace.stats.noncentral import noncentral_t_cdf


@pytest.mark.parametrize("freedom", [1, 2, 3.3, 6, 40, 1000, 1e7])
@pytest.mark.parametrize("t, delta", [(0.0, 0.0), (2.0, 0.5), (-3.0, 1.0), (8.0, 8.5), (2.5, -2.0)])
def test_against_scipy_where_that_has_a_value(freedom, t, delta):
    assert noncentral_t_cdf(t, freedom, delta) == pytest.approx(nct.cdf(t, freedom, delta), abs=1e-9)


@pytest.mark.parametrize(
    "freedom, t, delta", [(4, 14.0, 32.5), (4, 30.0, 12.0), (6, -50.0, -70.0), (2, 1e3, 8e2), (3, 5.0, 40.0)]
)
def test_far_out_against_adaptive_quadrature(freedom, t, delta):
    expected, _ = quad(lambda s: norm.cdf(t * s / np.sqrt(freedom) - delta) * chi.pdf(s, freedom), 0, 20, limit=2000,
                       points=[min(19.0, max(0.01, delta * np.sqrt(freedom) / t))], epsrel=1e-12, epsabs=1e-12)  # fmt: skip
    assert noncentral_t_cdf(t, freedom, delta) == pytest.approx(expected, abs=1e-8)


def test_the_mirror():
    for t, freedom, delta in ((1.0, 5, 2.0), (-4.0, 3, 0.5)):
        assert noncentral_t_cdf(t, freedom, delta) == pytest.approx(
            1 - noncentral_t_cdf(-t, freedom, -delta), abs=1e-12
        )
