import gzip

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from featurespace.metrics import compression_ratio, effective_slices, mutual_information


def oracle(x, y):
    """Mutual information by numpy's own histogram and the entropies of its margins."""
    joint = gaussian_filter(np.histogram2d(x.ravel(), y.ravel(), bins=64)[0], 1.0, mode="constant")
    joint = joint / joint.sum()

    def entropy(p):
        return -sum(each * np.log(each) for each in p.ravel() if each > 0)

    return entropy(joint.sum(0)) + entropy(joint.sum(1)) - entropy(joint)


def test_mutual_information_is_that_of_the_histogram(rng):
    x = rng.normal(size=(40, 30))
    y = x + rng.normal(size=(40, 30))
    assert mutual_information(x, y) == pytest.approx(oracle(x, y), rel=1e-9)
    assert mutual_information(x, y) == pytest.approx(mutual_information(y, x))
    assert mutual_information(3 * x + 1, y) == pytest.approx(mutual_information(x, y))  # grey values on any scale


def test_slices_that_repeat_are_worth_one_and_unlike_ones_as_many_as_they_are(rng):
    size = (64, 64)
    alike = [np.repeat(rng.normal(size=(1, *size)), 4, axis=0) for _ in range(6)]
    assert effective_slices(alike, rng=rng).value == pytest.approx(1 / 4)
    unlike = effective_slices([rng.normal(size=(4, *size)) for _ in range(6)], rng=rng)
    assert 0.95 < unlike.value <= 1 and (unlike.n, unlike.n_groups, unlike.unit) == (24, 6, "group")
    assert unlike.ci_low <= unlike.value <= unlike.ci_high


def test_effective_slices_follow_the_definition(rng):
    volumes = [np.cumsum(rng.normal(size=(4, 32, 32)), axis=0) for _ in range(2)]
    again = np.random.default_rng(3)
    expected = 0.0
    for number, volume in enumerate(volumes):
        other = volumes[1 - number]
        expected += 1
        for place in range(1, 4):
            again.integers(1)  # the other volume is the only one there is
            unlike = np.mean([oracle(volume[place], other[again.integers(4)]) for _ in range(3)])
            own = oracle(volume[place], volume[place])
            most = max(oracle(volume[place], volume[earlier]) for earlier in range(place))
            expected += 1 - min(max((most - unlike) / (own - unlike), 0), 1)
    assert effective_slices(volumes, rng=np.random.default_rng(3)).value == pytest.approx(expected / 8, rel=1e-9)


def test_compression_is_that_of_gzip_and_tells_order(rng):
    volumes = [np.repeat(rng.integers(0, 256, (1, 24, 24)), 6, axis=0).astype(np.uint8) for _ in range(10)]
    slices = np.concatenate(volumes)
    again = np.random.default_rng(5)
    sizes = [len(gzip.compress(slices[again.permutation(60)].tobytes())) for _ in range(2)]
    expected = np.mean(sizes) / len(gzip.compress(slices.tobytes()))
    assert compression_ratio(volumes, rng=np.random.default_rng(5), shuffles=2) == pytest.approx(expected, rel=1e-3)
    noise = [rng.integers(0, 256, (6, 24, 24)).astype(np.uint8) for _ in range(10)]
    assert compression_ratio(noise, rng=rng) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("volumes", "message"),
    [
        ([np.zeros((2, 4, 4), np.uint8)], "there is 1 volume; at least 2"),
        ([np.zeros((4, 4), np.uint8)] * 2, r"volume 0 has shape \(4, 4\)"),
        ([np.zeros((2, 4, 4))] * 2, "volume 0 holds float64"),
        (
            [np.zeros((2, 4, 4), np.uint8), np.zeros((2, 5, 4), np.uint8)],
            r"\(4, 4\) in volume 0 and \(5, 4\) in volume 1",
        ),
    ],
)
def test_other_volumes_are_refused(volumes, message, rng):
    with pytest.raises(ValueError, match=message):
        compression_ratio(volumes, rng=rng)


def test_a_slice_of_one_grey_and_images_of_two_sizes_are_refused(rng):
    volumes = [rng.normal(size=(2, 8, 8)) for _ in range(2)]
    volumes[1][1] = 3
    with pytest.raises(ValueError, match="slice 1 of volume 1 is of one grey"):
        effective_slices(volumes, rng=rng)
    with pytest.raises(ValueError, match=r"shapes \(2,\) and \(3,\)"):
        mutual_information([1, 2], [1, 2, 3])
