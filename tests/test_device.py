import ctypes
from pathlib import Path

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from featurespace import device
from featurespace.errors import FeaturespaceError


def blas_threads():
    return {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}


def test_linear_algebra_keeps_to_the_threads_and_is_set_free_again():
    np.eye(3) @ np.eye(3)
    before = blas_threads()
    with device.limited_threads(1):
        assert blas_threads() == {1}
    assert blas_threads() >= before


@pytest.mark.parametrize(
    ("count", "variable", "expected"), [(3, "7", 3), (None, "1", 1), (None, "", "cores"), (None, "x", "cores")]
)
def test_threads_are_those_asked_for_or_the_cores_there_are(monkeypatch, count, variable, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    monkeypatch.setattr(device, "available_cores", lambda: 2)
    before = torch.get_num_threads()
    try:
        assert device.set_threads(count) == torch.get_num_threads() == (2 if expected == "cores" else expected)
    finally:
        torch.set_num_threads(before)


def test_cores_are_those_of_the_process():
    import os

    assert 1 <= device.available_cores() <= len(os.sched_getaffinity(0))


def test_an_unknown_device_names_the_known_ones():
    with pytest.raises(FeaturespaceError, match="auto, cpu, cuda, cuda:0 or mps"):
        device.resolve_device("tpu")


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine has an Apple GPU")
def test_an_apple_gpu_that_is_not_there_is_said():
    with pytest.raises(FeaturespaceError, match="no Apple GPU"):
        device.resolve_device("mps")


def test_a_gpu_that_is_not_there_is_said_with_how_many_there_are():
    with pytest.raises(
        FeaturespaceError, match=r"device 'cuda:99': this machine has \d+ CUDA devices; use auto or cpu"
    ):
        device.resolve_device("cuda:99")


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library has no mallopt")
def test_freed_memory_is_kept_within_and_given_back_at_the_end():
    resource = pytest.importorskip("resource")

    def faults(size=1 << 27):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(size, dtype=torch.uint8)  # NumPy asks for large pages
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1])

    pages, before = (1 << 27) // resource.getpagesize(), resident()
    assert faults() > pages / 2 and faults() > pages / 2  # from the system each time
    with device.kept_memory():
        faults()
        with device.kept_memory():
            assert faults() < pages / 10
        assert faults() < pages / 10  # not given back while one is left that keeps it
        assert resident() > before + pages / 2
    assert resident() < before + pages / 2 and faults() > pages / 2
