"""Statistics on a device: forced here on the CPU, where the tensors of a run go through the same code as on CUDA."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from featurespace.device import statistics_device
from featurespace.memory import gpu_is_full
from featurespace.metrics import places
from featurespace.progress import Progress
from featurespace.tables import similarity as similarity_room
from featurespace.tables.gap import gap_tables
from featurespace.tables.memo import Memo
from featurespace.tables.similarity import similarity_tables
from featurespace.tables.stores import Stores


@pytest.fixture
def stores(small_run):
    tables = small_run.tables["layers"]
    models, data = tables["model"].unique()[:2], small_run.tables["similarity"]["data"].unique()
    return Stores({(model, each): small_run.features(model, each) for each in data for model in models})


@pytest.fixture
def on_device(stores, monkeypatch):
    monkeypatch.setattr(places, "DEVICES", ("cpu",))
    return replace(stores, device="cpu:0")


def test_tables_are_those_of_the_cpu(stores, on_device):
    assert isinstance(
        on_device.placed(stores.models[0], stores.data[0], stores.layers(stores.models[0])[0]), torch.Tensor
    )
    found, expected = (similarity_tables(each, seed=0)[0]["similarity"] for each in (on_device, stores))
    pd.testing.assert_frame_equal(found, expected, rtol=1e-9, atol=1e-12)
    found, expected = (gap_tables(each, seed=0, distances=("energy_distance",))[0] for each in (on_device, stores))
    for name in expected:
        pd.testing.assert_frame_equal(found[name], expected[name], rtol=1e-9, atol=1e-12)


def test_results_of_a_device_are_remembered_as_such(stores, on_device, tmp_path):
    for each in (stores, on_device, on_device):
        each.memo = Memo(tmp_path)
        similarity_tables(each, seed=0, measures=())
    assert on_device.memo.made == 0 and stores.place() == {} and on_device.place() == {"device": "cpu"}
    assert len(list(tmp_path.glob("cka-*"))) == 2 * len(list(_pairs(stores))) * len(stores.data)


def _pairs(stores):
    return ((a, b) for i, a in enumerate(stores.models) for b in stores.models[i:])


def test_too_little_memory_goes_on_on_the_cpu(stores, on_device, monkeypatch):
    asked = []

    def cka_matrices(models, pairs):
        asked.append(type(models[0][0].X))
        if asked[-1] is torch.Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(models, pairs)

    original = similarity_room.cka_matrices
    monkeypatch.setattr(similarity_room, "cka_matrices", cka_matrices)
    progress = Progress()
    found = similarity_tables(on_device, seed=0, progress=progress)[0]["similarity"]
    assert asked == [torch.Tensor, np.ndarray] * len(stores.data)
    assert any("cpu:0 has too little memory for some statistics" in each for each in progress.messages)
    pd.testing.assert_frame_equal(found, similarity_tables(stores, seed=0)[0]["similarity"])


def test_other_errors_of_a_device_are_raised(on_device):
    def fails(stores):
        raise RuntimeError("device-side assert")

    with pytest.raises(RuntimeError, match="device-side assert"):
        on_device.compute(fails, Progress())


def test_statistics_stay_on_the_cpu_where_there_is_no_float64():
    assert [statistics_device(name) for name in ("cuda:1", "cuda", "mps", "cpu")] == ["cuda:1", "cuda", "cpu", "cpu"]
    assert gpu_is_full(RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"))
    assert not gpu_is_full(RuntimeError("other"))


def test_provenance_tells_the_device(small_run):
    assert small_run.provenance["statistics_device"] == statistics_device(small_run.provenance["device"])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_tables_on_cuda(stores):
    found, expected = (
        similarity_tables(each, seed=0)[0]["similarity"] for each in (replace(stores, device="cuda"), stores)
    )
    pd.testing.assert_frame_equal(found, expected, rtol=1e-8, atol=1e-11)
