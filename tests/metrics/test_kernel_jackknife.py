import numpy as np
import pytest
from oracles import distribution as oracle

from featurespace.metrics import (
    energy_distance,
    energy_jackknife,
    kid,
    kid_jackknife,
    mmd2,
    mmd2_jackknife,
    mmd2_permutation,
)

KERNELS = {
    "mmd2": lambda a, b: np.exp(-((a - b) ** 2).sum() / (2 * 1.3**2)),
    "kid": lambda a, b: (a @ b / len(a) + 1) ** 3,
    "energy": lambda a, b: -np.linalg.norm(a - b),
}
FUNCTIONS = {
    "mmd2": lambda X, Y, **given: mmd2_jackknife(X, Y, sigma=1.3, **given),
    "kid": kid_jackknife,
    "energy": energy_jackknife,
}


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("name", KERNELS)
def test_value_and_leave_outs_are_the_loop_over_pairs_of_groups(rng, name, grouped):
    X, Y = rng.standard_normal((18, 3)) + 1, 1.5 * rng.standard_normal((15, 3))
    gx, gy = (
        (np.array([0, 1, 2, 2, 3, 4, 4, 4, 5] * 2), np.arange(15) % 5) if grouped else (np.arange(18), np.arange(15))
    )
    found = FUNCTIONS[name](X, Y, **({"groups_x": gx, "groups_y": gy} if grouped else {}))

    def loop(x=slice(None), y=slice(None)):
        return oracle.across(KERNELS[name], X[x], Y[y], gx[x], gy[y])

    assert found.value == pytest.approx(loop(), rel=1e-9)
    without = [loop(x=gx != u) for u in np.unique(gx)], [loop(y=gy != u) for u in np.unique(gy)]
    np.testing.assert_allclose(found.leave_one_out, np.concatenate(without), rtol=1e-8)
    total = 0.0
    for values in without:
        total += (len(values) - 1) * np.var(values)
    assert found.se == pytest.approx(total**0.5, rel=1e-8)
    assert (found.n, found.n_groups, found.unit) == (33, 11 if grouped else 33, "group" if grouped else "sample")


def test_without_groups_it_is_the_plain_value(rng):
    X, Y = rng.standard_normal((40, 3)) + 1, rng.standard_normal((30, 3))
    assert mmd2_jackknife(X, Y).value == pytest.approx(mmd2(X, Y), rel=1e-10)
    assert kid_jackknife(X, Y).value == pytest.approx(kid(X, Y), rel=1e-10)
    assert energy_jackknife(X, Y).value == pytest.approx(energy_distance(X, Y, unbiased=True), rel=1e-10)
    found, test = mmd2_jackknife(X, Y), mmd2_permutation(X, Y, rng=rng, permutations=1)
    assert (found.ci_low, found.ci_high, found.se) == pytest.approx((test.ci_low, test.ci_high, test.se))
    assert mmd2_jackknife(X, Y, level=0.5).ci_low > found.ci_low


@pytest.mark.parametrize("name", KERNELS)
def test_groups_leave_it_unbiased(rng, name):
    values, biased, labels = [], [], np.arange(60) // 6
    for _ in range(400):
        X, Y = (rng.standard_normal((10, 2))[labels] + 0.5 * rng.standard_normal((60, 2)) for _ in "XY")
        values.append(FUNCTIONS[name](X, Y, groups_x=labels, groups_y=labels).value)
        biased.append(FUNCTIONS[name](X, Y).value)
    error = np.std(values) / 20
    assert abs(np.mean(values)) < 4 * error and np.mean(biased) > 8 * error


@pytest.mark.parametrize("grouped", [False, True])
def test_the_interval_covers_a_known_gap(rng, grouped):
    sigma, shift, d, inside = 3.0, 0.6, 6, 0  # with d = 1 the values are skewed and 92 % are covered
    spread = sigma**2 / (sigma**2 + 2)
    truth = 2 * spread ** (d / 2) * (1 - np.exp(-d * shift**2 / (2 * (sigma**2 + 2))))
    labels = np.arange(160) // 4
    for _ in range(300):
        X, Y = rng.standard_normal((160, d)), rng.standard_normal((160, d))
        if grouped:
            X, Y = (0.6 * Z + 0.8 * rng.standard_normal((40, d))[labels] for Z in (X, Y))
        given = {"groups_x": labels, "groups_y": labels} if grouped else {}
        found = mmd2_jackknife(X + shift, Y, sigma=sigma, **given)
        inside += found.ci_low <= truth <= found.ci_high
    assert abs(inside / 300 - 0.95) < 0.02 + 2 * np.sqrt(0.05 * 0.95 / 300)


def test_far_scales(rng):
    X, Y = rng.standard_normal((20, 3)) + 1, rng.standard_normal((30, 3))
    near = energy_jackknife(X, Y)
    for factor in (1e-150, 1e150):
        far = energy_jackknife(factor * X, factor * Y)
        assert (far.value, far.se) == pytest.approx((factor * near.value, factor * near.se), rel=1e-9)


@pytest.mark.parametrize("name", KERNELS)
def test_which_argument_is_which(rng, name):
    X, Y = rng.standard_normal((20, 2)), 0.05 * rng.standard_normal((30, 2))
    found = FUNCTIONS[name](X, Y, groups_x=np.arange(20) // 2)
    assert found.n_groups == 10 + 30
    few = FUNCTIONS[name](X, Y, groups_y=np.arange(30) // 8)
    assert few.interval == "none: 4 groups, at least 5 needed" and np.isfinite(few.value)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda X: mmd2_jackknife(X, X, groups_x=np.zeros(10)), "pairs of samples of different groups"),
        (lambda X: kid_jackknife(X, X, groups_y=np.zeros(9)), "groups has shape"),
        (lambda X: energy_jackknife(X, X, level=95), "level is 95"),
        (lambda X: mmd2_jackknife(np.ones((5, 2)), np.ones((5, 2))), "median distance of the pooled sample is 0"),
    ],
)
def test_errors_name_the_reason(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(rng.standard_normal((10, 3)))
