import numpy as np
import pytest

from featurespace.metrics import StreamingCKA, cka, cka_matrices, prepare_cka


def layers(rng, n=90):
    X = rng.standard_normal((n, 6)) * np.arange(1, 7) + 3
    Y = np.c_[X[:, :3], rng.standard_normal((n, 5))]
    return [[X, np.maximum(X, 2)], [Y, Y[:, 2:] ** 2, rng.standard_normal((n, 20))]]


def streamed(models, sizes, groups=None, **options):
    stream, start = StreamingCKA(**options), 0
    for size in sizes:
        rows = slice(start, start + size)
        stream.update([[X[rows] for X in each] for each in models], groups=None if groups is None else groups[rows])
        start += size
    return stream


@pytest.mark.parametrize("sizes", [[90], [1, 4, 80, 5], [10] * 9])
@pytest.mark.parametrize("offset", [0, 1e4])
def test_the_value_is_that_of_all_samples_at_once(rng, sizes, offset):
    models = [[X + offset for X in each] for each in layers(rng)]
    whole = dict(cka_matrices([[prepare_cka(X) for X in each] for each in models]))
    found = dict(streamed(models, sizes).matrices())
    assert list(found) == list(whole)
    for pair, estimates in found.items():
        for mine, theirs in zip(sum(estimates, []), sum(whole[pair], [])):
            assert mine.value == pytest.approx(theirs.value, abs=1e-12 if offset == 0 else 1e-9)
    assert found[0, 0][1][1].value == 1


@pytest.mark.parametrize("grouped", [False, True])
def test_leave_outs_are_those_of_deleted_blocks(rng, grouped):
    models = layers(rng)
    groups = np.array([f"patient {i % 17}" for i in range(90)]) if grouped else None
    stream = streamed(models, [10] * 9, groups, blocks=6)
    found = dict(stream.matrices([(0, 1)]))[0, 1][1][2]
    if grouped:
        from zlib import crc32

        block = np.array([crc32(name.encode()) % 6 for name in groups])
        assert found.interval.endswith("blocks of groups") and found.unit == "group"
    else:
        block = np.repeat(np.r_[0:6, 0:3], 10)  # each chunk to the block with the fewest samples
        assert found.interval == "jackknife over 6 blocks"
    for each, value in zip(np.unique(block), found.leave_one_out, strict=True):
        kept = [[X[block != each] for X in layer] for layer in models]
        expected = dict(cka_matrices([[prepare_cka(X) for X in each] for each in kept]))[0, 1][1][2].value
        assert value == pytest.approx(expected, abs=1e-11)


def test_the_interval_covers(rng):
    def draw(n):
        shared = rng.standard_normal((n, 4))
        return [[np.c_[shared, rng.standard_normal((n, 4))]], [np.c_[shared, rng.standard_normal((n, 6))]]]

    truth = dict(streamed(draw(200_000), [50_000] * 4).matrices())[0, 1][0][0].value
    assert truth == pytest.approx(4 / np.sqrt(8 * 10), abs=0.01)  # |S_xy|^2 / (|S_xx| |S_yy|)
    found = [dict(streamed(draw(200), [10] * 20).matrices([(0, 1)]))[0, 1][0][0] for _ in range(300)]
    covered = np.mean([each.ci_low <= truth <= each.ci_high for each in found])
    assert 0.912 < covered < 0.985  # 3 standard errors of 300 repeats


@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_extreme_scales_and_constant_layers(rng, scale):
    models = layers(rng)
    expected = dict(streamed(models, [30] * 3).matrices())[0, 1][0][0].value
    models[0][0] = models[0][0] * scale
    models[1][1] = np.full((90, 2), 0.1)
    found = dict(streamed(models, [30] * 3).matrices())[0, 1]
    assert found[0][0].value == pytest.approx(expected, abs=1e-12)
    assert found[0][1] is None
    assert found[0][0].interval == "none: 3 blocks, at least 5 needed: give smaller chunks"


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda X: StreamingCKA(blocks=4), "blocks is 4; a jackknife over blocks needs at least 5"),
        (lambda X: StreamingCKA().update([[X], [X[:-1]]]), r"have \[19, 20\] rows"),
        (lambda X: streamed([[X]], [10]).update([[X[:, :2]]]), r"widths \(\(2,\),\), without groups; .* \(\(3,\),\)"),
        (lambda X: streamed([[X]], [10]).update([[X]], groups=np.zeros(20)), "with groups; the chunks before"),
        (lambda X: StreamingCKA().update([[X]], groups=[1]), r"groups has shape \(1,\)"),
        (lambda X: StreamingCKA().update([[X], [X * np.inf]]), "layer 0 of model 1 has .* not finite"),
        (lambda X: list(streamed([[X]], [3]).matrices()), "3 samples were given; debiased CKA is defined from 4"),
    ],
)
def test_errors_name_the_reason(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(rng.standard_normal((20, 3)))


@pytest.mark.parametrize("offset", [0.0, 0.3])
@pytest.mark.parametrize("block", [0, 2, 5])
def test_features_that_move_in_one_block_alone_have_no_interval(rng, block, offset):
    for _ in range(8):
        X, Y = np.full((60, 2), offset), rng.standard_normal((60, 3))
        X[10 * block : 10 * block + 10] = Y[:10, :2]
        found = dict(streamed([[X], [Y]], [10] * 6).matrices())[0, 1][0][0]
        assert found.value == pytest.approx(cka(X, Y), abs=1e-12)
        assert found.interval == "none: features are constant when one block is left out"


@pytest.mark.parametrize("n", [1000, 5000])
def test_one_image_apart_from_many_equal_ones_is_no_feature(rng, n):
    X, Y = np.zeros((n, 1)), rng.standard_normal((n, 3))
    X[3] = 1.3
    assert dict(streamed([[X], [Y]], [n // 20] * 20).matrices())[0, 1] == [[None]]
    with pytest.raises(ValueError, match="X is constant but for at most one sample"):
        cka(X, Y)
