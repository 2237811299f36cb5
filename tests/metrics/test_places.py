"""Tensors on a GPU are worked on there: the same code, here forced on tensors of the CPU, and on CUDA where there is one."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from featurespace.metrics import (
    StreamingCKA,
    cka,
    cka_jackknife,
    cka_matrices,
    energy_distance,
    energy_jackknife,
    energy_permutation,
    frechet_distance,
    frechet_distance_corrected,
    frechet_distance_infinity,
    kid,
    kid_jackknife,
    kid_permutation,
    mmd2,
    mmd2_jackknife,
    mmd2_permutation,
    pairs,
    places,
    prepare_cka,
)
from featurespace.metrics import hsic as hsic_room
from featurespace.metrics import mmd as mmd_room
from featurespace.metrics.arrays import as_features, as_placed, as_placed_pair


@pytest.fixture
def forced(monkeypatch):
    """Treat tensors of the CPU as those of a GPU."""
    monkeypatch.setattr(places, "DEVICES", ("cpu",))


def pair(n, d1, d2, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d1)) * np.arange(1, d1 + 1) + 3
    return X, X[:, :1] + rng.standard_normal((n, d2))


def tensors(*arrays):
    return tuple(torch.from_numpy(np.array(Z)) for Z in arrays)


def groups_of(n):
    return np.sort(np.arange(n) ** 2 % 13 % 7)[::-1]


SHAPES = [(40, 3, 5), (30, 60, 4), (25, 40, 50), (300, 4, 6)]


def test_features_stay_where_they_are(forced):
    X = torch.ones(3, 2, dtype=torch.bfloat16, requires_grad=True)
    found = as_placed(X)
    assert isinstance(found, torch.Tensor) and found.dtype == torch.float64 and not found.requires_grad
    assert isinstance(as_features(X), np.ndarray)
    assert isinstance(as_placed(np.ones((3, 2))), np.ndarray)


def test_features_on_the_cpu_go_to_numpy():
    assert isinstance(as_placed(torch.ones(3, 2)), np.ndarray)
    assert "mps" not in places.DEVICES  # no float64 there


def test_features_of_two_places_go_to_numpy(forced):
    found = as_placed_pair(torch.ones(3, 2), np.ones((3, 2)))
    assert all(isinstance(each, np.ndarray) for each in found)


@pytest.mark.parametrize(
    "X, message",
    [
        (torch.ones(3), r"X has shape \(3,\)"),
        (torch.ones(0, 2), r"X has shape \(0, 2\)"),
        (torch.ones(3, 2, dtype=torch.complex64), "X has dtype complex64"),
        (torch.tensor([[1.0, 2], [float("nan"), 3]]), r"the first in row 1, column 0 \(nan\)"),
    ],
)
def test_bad_tensors_are_named(forced, X, message):
    with pytest.raises(ValueError, match=message):
        as_placed(X)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "options", [{}, {"kernel": "rbf"}, {"debiased": False}, {"debiased": False, "kernel": "rbf"}, {"groups": True}]
)
def test_cka_of_tensors(forced, shape, options):
    X, Y = pair(*shape)
    if "groups" in options:
        options = {"groups": groups_of(len(X))}
    value = cka(*tensors(X, Y), **options)
    assert type(value) is float and value == pytest.approx(cka(X, Y, **options), abs=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("grouped, between", [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("kernels", [False, True, None])
def test_cka_jackknife_of_tensors(forced, monkeypatch, shape, grouped, between, kernels):
    if kernels is not None and max(shape[1:]) <= shape[0]:
        monkeypatch.setattr(hsic_room, "kernels_are_cheaper", lambda first, second: kernels)
    X, Y = pair(*shape)
    options = {"groups": groups_of(len(X)) if grouped else None, "between_groups": between}
    found, expected = cka_jackknife(*tensors(X, Y), **options), cka_jackknife(X, Y, **options)
    assert type(found.value) is float and found.value == pytest.approx(expected.value, abs=1e-12)
    np.testing.assert_allclose(found.leave_one_out, expected.leave_one_out, rtol=0, atol=1e-12)
    assert (found.ci_low, found.ci_high) == pytest.approx((expected.ci_low, expected.ci_high), abs=1e-11)


def test_maps_and_extreme_scales_of_tensors(forced):
    X, Y = pair(20, 48, 3)
    maps = X.reshape(20, 4, 4, 3)
    expected = cka(X, Y)
    assert cka(torch.from_numpy(maps), torch.from_numpy(maps)) == pytest.approx(1, abs=1e-12)
    for exponent in (-1060, -600, 600, 1000):
        assert cka(*tensors(np.ldexp(X, exponent), Y)) == pytest.approx(
            expected, abs=1e-11 if exponent > -1000 else 1e-3
        )


def test_all_pairs_of_layers_of_tensors(forced):
    layers = [pair(60, d, d + 1, seed=d)[0] for d in (3, 9, 70)]
    constant = np.r_[np.ones((59, 2)), np.zeros((1, 2))]
    models = [layers, [layers[1] ** 2, constant]]
    found, expected = (
        dict(cka_matrices([[prepare_cka(make(Z)) for Z in model] for model in models]))
        for make in (torch.from_numpy, np.asarray)
    )
    assert found.keys() == expected.keys()
    for key, rows in expected.items():
        for ours, theirs in zip(sum(found[key], []), sum(rows, []), strict=True):
            assert (ours is None) == (theirs is None)
            if ours is not None:
                assert ours.value == pytest.approx(theirs.value, abs=1e-12)
                np.testing.assert_allclose(ours.leave_one_out, theirs.leave_one_out, rtol=0, atol=1e-12)


def test_layers_of_two_devices_are_named():
    A, B = (prepare_cka(np.eye(5)[:, :3]) for _ in range(2))
    B.X = torch.from_numpy(B.X).to("meta")
    with pytest.raises(ValueError, match="the layers lie on cpu and meta; prepare all from features on one device"):
        next(cka_matrices([[A], [B]]))


@pytest.mark.parametrize("grouped", [False, True])
def test_streaming_cka_of_tensors(forced, grouped):
    X, Y = pair(300, 4, 6)
    found = []
    for make in (torch.from_numpy, np.asarray):
        stream = StreamingCKA(blocks=6)
        for rows in np.array_split(np.arange(300), 12):
            stream.update([[make(X[rows])], [make(Y[rows])]], groups=rows // 10 if grouped else None)
        found.append(dict(stream.matrices())[0, 1][0][0])
    assert found[0].value == pytest.approx(found[1].value, abs=1e-12)
    np.testing.assert_allclose(found[0].leave_one_out, found[1].leave_one_out, rtol=0, atol=1e-12)


def test_chunks_of_two_devices_are_named():
    stream = StreamingCKA()
    X, _ = pair(10, 3, 3)
    stream.update([[X]])
    stream._device = "cuda:0"
    with pytest.raises(ValueError, match="a chunk lies on cpu and the chunks before on cuda:0"):
        stream.update([[X]])


def changes():
    return {
        "float32": lambda Z: Z.float(),
        "bfloat16": lambda Z: Z.bfloat16(),
        "float16": lambda Z: Z.half(),
        "int": lambda Z: Z.int(),
        "grad": lambda Z: Z.clone().requires_grad_(),
        "transposed": lambda Z: Z.T.contiguous().T,
        "strided": lambda Z: torch.stack([Z, Z], dim=2)[:, :, 0],
        "float32 with offset": lambda Z: (Z * 64).round().div(64).add(1000).float(),
    }


@pytest.mark.parametrize("kind", changes())
def test_kinds_of_tensors(forced, kind):
    given = [changes()[kind](Z) for Z in tensors(*pair(30, 5, 4))]
    kept = [Z.detach().clone() for Z in given]
    arrays = [Z.detach().double().numpy() for Z in given]
    assert cka(*given) == pytest.approx(cka(*arrays), abs=1e-12)
    found, expected = cka_jackknife(*given), cka_jackknife(*arrays)
    assert found.value == pytest.approx(expected.value, abs=1e-12)
    assert all(torch.equal(Z, before) for Z, before in zip(given, kept))  # the input is untouched


def test_arrays_import_no_torch():
    code = (
        "import sys, numpy as np; from featurespace.metrics import METRICS; "
        "rng = np.random.default_rng(0); X, Y = rng.standard_normal((2, 60, 7)) + 1\n"
        "for name, facts in METRICS.items():\n"
        "    facts.function(X) if facts.kind == 'single' else facts.function(X, Y)\n"
        "    assert 'torch' not in sys.modules, name"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


GAPS = {
    "frechet_distance": frechet_distance,
    "mmd2": mmd2,
    "kid": kid,
    "energy_distance": energy_distance,
    "energy_distance_unbiased": lambda X, Y: energy_distance(X, Y, unbiased=True),
}


def samples(n, m, d, seed=1):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), rng.standard_normal((m, d)) * np.linspace(0.5, 2, d) + 0.3


@pytest.mark.parametrize("name", GAPS)
@pytest.mark.parametrize("size", [(30, 21, 4), (9, 12, 40)])
def test_gaps_of_tensors(forced, name, size):
    X, Y = samples(*size)
    for change in (lambda Z: Z, lambda Z: np.repeat(Z, 3, axis=0), lambda Z: np.float32(Z + 1000)):
        arrays = change(X), change(Y)
        value = GAPS[name](*tensors(*arrays))
        assert type(value) is float and value == pytest.approx(GAPS[name](*arrays), rel=1e-12, abs=1e-12)


def test_mmd_in_blocks_of_tensors(forced, monkeypatch):
    monkeypatch.setattr(mmd_room, "WHOLE", 10)
    monkeypatch.setattr(pairs, "CELLS", 100)
    X, Y = samples(30, 21, 4)
    assert mmd2(*tensors(X, Y)) == pytest.approx(mmd2(X, Y), abs=1e-12)
    assert mmd2(*tensors(X, Y), sigma=1.5) == pytest.approx(mmd2(X, Y, sigma=1.5), abs=1e-12)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("test", [mmd2_permutation, kid_permutation, energy_permutation])
def test_permutations_of_tensors(forced, test, grouped):
    X, Y = samples(40, 30, 5)
    groups = {"groups_x": np.arange(40)[::-1] // 4, "groups_y": np.arange(30) // 4} if grouped else {}
    found, expected = (
        test(*arrays, rng=np.random.default_rng(0), permutations=99, **groups) for arrays in (tensors(X, Y), (X, Y))
    )
    np.testing.assert_allclose(found.null, expected.null, rtol=1e-11, atol=1e-12)
    assert found.p_value == expected.p_value
    assert (found.value, found.se) == pytest.approx((expected.value, expected.se), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("jackknife", [mmd2_jackknife, kid_jackknife, energy_jackknife])
def test_gap_jackknives_of_tensors(forced, jackknife, grouped):
    X, Y = samples(40, 30, 5)
    groups = {"groups_x": np.arange(40)[::-1] // 4, "groups_y": np.arange(30) // 4} if grouped else {}
    found, expected = (jackknife(*arrays, **groups) for arrays in (tensors(X, Y), (X, Y)))
    assert found.value == pytest.approx(expected.value, rel=1e-12, abs=1e-12)
    np.testing.assert_allclose(found.leave_one_out, expected.leave_one_out, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [(90, 70, 4), (25, 31, 40)])
def test_frechet_intervals_of_tensors(forced, size):
    X, Y = samples(*size)
    for function in (frechet_distance_corrected, frechet_distance_infinity):
        found, expected = (function(*arrays, rng=np.random.default_rng(0)) for arrays in (tensors(X, Y), (X, Y)))
        assert type(found.value) is float and found.value == pytest.approx(expected.value, rel=1e-11)
    found, expected = (
        frechet_distance_corrected(*arrays, rng=np.random.default_rng(0), groups_x=np.arange(len(X)) // 3)
        for arrays in (tensors(X, Y), (X, Y))
    )
    np.testing.assert_allclose(found.leave_one_out, expected.leave_one_out, rtol=1e-11)


def test_bad_samples_are_named(forced):
    with pytest.raises(ValueError, match="two samples share one feature space"):
        mmd2(torch.ones(5, 2), torch.ones(5, 3))
    with pytest.raises(ValueError, match="the median distance of the pooled sample is 0"):
        mmd2(torch.ones(5, 2), torch.ones(5, 2))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("shape", SHAPES)
def test_cka_on_cuda(shape):
    X, Y = pair(*shape)
    on_gpu = [Z.cuda() for Z in tensors(X, Y)]
    assert prepare_cka(on_gpu[0]).X.device.type == "cuda"
    for options in ({}, {"kernel": "rbf"}, {"debiased": False}, {"groups": groups_of(len(X))}):
        assert cka(*on_gpu, **options) == pytest.approx(cka(X, Y, **options), abs=1e-11)
    found, expected = cka_jackknife(*on_gpu), cka_jackknife(X, Y)
    np.testing.assert_allclose(found.leave_one_out, expected.leave_one_out, rtol=0, atol=1e-10)
    assert cka(on_gpu[0], Y) == pytest.approx(cka(X, Y), abs=1e-11)  # of two places: on the CPU


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", GAPS)
def test_gaps_on_cuda(name):
    X, Y = samples(400, 300, 20)
    assert GAPS[name](*(Z.cuda() for Z in tensors(X, Y))) == pytest.approx(GAPS[name](X, Y), rel=1e-11, abs=1e-12)
