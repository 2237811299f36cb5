"""Intervals and p-values of all gaps at the sizes of a medical data set, with the truth in closed form."""

import numpy as np
import pytest

from featurespace.metrics import (
    energy_jackknife,
    energy_permutation,
    frechet_distance_corrected,
    kid_jackknife,
    kid_permutation,
    mmd2_jackknife,
    mmd2_permutation,
)

pytestmark = pytest.mark.slow
D, SIGMA, REPEATS = 10, 20**0.5, 400


def draw(rng, n, groups, shift):
    Z = rng.standard_normal((n, D))
    if groups is not None:  # half of the variance between groups
        Z = np.sqrt(0.5) * Z + np.sqrt(0.5) * rng.standard_normal((groups.max() + 1, D))[groups]
    return Z + shift


def truths(shift):
    """MMD^2, KID, energy distance and Frechet distance of two standard normals, one of them shifted in each feature."""

    def cubic(s, t):  # E (x.y / d + 1)^3 of means s and t in each feature
        a, p, q = D * s * t, D * s * s, D * t * t
        first, second, third = a, a * a + p + q + D, a**3 + 3 * a * p + 3 * a * (q + D + 2)
        return third / D**3 + 3 * second / D**2 + 3 * first / D + 1

    spread = (SIGMA**2 / (SIGMA**2 + 2)) ** (D / 2)
    mmd2 = 2 * spread * (1 - np.exp(-D * shift**2 / (2 * (SIGMA**2 + 2))))
    pairs = np.sqrt(2) * np.random.default_rng(99).standard_normal((400_000, D))
    energy = 2 * np.mean(np.linalg.norm(pairs + shift, axis=1) - np.linalg.norm(pairs, axis=1))
    return mmd2, cubic(shift, shift) + cubic(0, 0) - 2 * cubic(shift, 0), energy, D * shift**2


@pytest.mark.parametrize("n, m, size", [(150, 100, 1), (160, 160, 4)])
@pytest.mark.parametrize("shift", [0.5, 0.5 / 10**0.5])
def test_intervals_cover_and_values_are_unbiased(rng, n, m, size, shift):
    gx, gy = (np.arange(n) // 4, np.arange(m) // 4) if size > 1 else (None, None)
    given = {"groups_x": gx, "groups_y": gy}
    truth, inside, values = np.array(truths(shift)), np.zeros(4), []
    for _ in range(REPEATS):
        X, Y = draw(rng, n, gx, shift), draw(rng, m, gy, 0)
        found = (
            mmd2_jackknife(X, Y, sigma=SIGMA, **given),
            kid_jackknife(X, Y, **given),
            energy_jackknife(X, Y, **given),
            frechet_distance_corrected(X, Y, rng=rng, **given),
        )
        inside += [each.ci_low <= t <= each.ci_high for each, t in zip(found, truth)]
        values.append([each.value for each in found])
    error = np.std(values, axis=0) / REPEATS**0.5
    assert (np.abs(np.mean(values, axis=0) - truth) < 4 * error + 0.1 * truth * [0, 0, 0, 1]).all()
    # a small gap is nearly degenerate, and intervals then cover more than they say
    assert (inside / REPEATS > 0.95 - 0.02 - 2 * np.sqrt(0.05 * 0.95 / REPEATS)).all()
    assert shift < 0.5 or (inside / REPEATS < 0.97 + 2 * np.sqrt(0.05 * 0.95 / REPEATS)).all()


@pytest.mark.parametrize("n, m, size", [(150, 100, 1), (160, 160, 4)])
def test_p_is_uniform_under_the_null(rng, n, m, size):
    gx, gy = (np.arange(n) // 4, np.arange(m) // 4) if size > 1 else (None, None)
    p = []
    for _ in range(REPEATS):
        X, Y = draw(rng, n, gx, 0), draw(rng, m, gy, 0)
        given = {"rng": rng, "permutations": 199, "groups_x": gx, "groups_y": gy}
        p.append([test(X, Y, **given).p_value for test in (mmd2_permutation, kid_permutation, energy_permutation)])
    for level in (0.05, 0.2, 0.5, 0.8):
        found = (np.array(p) <= level).mean(axis=0)
        assert (np.abs(found - level) < 3.5 * np.sqrt(level * (1 - level) / REPEATS)).all()
