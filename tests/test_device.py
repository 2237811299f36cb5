import os
import subprocess
import sys
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


def test_torch_takes_large_pages_where_linux_has_them():
    enabled = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not enabled.exists() or "[never]" in enabled.read_text():
        pytest.skip("this system has no large pages")
    code = """
import featurespace, resource, torch
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(1 << 27, dtype=torch.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)"""
    environment = {name: value for name, value in os.environ.items() if name != "THP_MEM_ALLOC_ENABLE"}
    faults = [int(subprocess.check_output([sys.executable, "-c", code], env=environment | more))
              for more in ({}, {"THP_MEM_ALLOC_ENABLE": "0"})]  # fmt: skip
    assert faults[0] < (1 << 27) / 4096 / 4, faults
    assert faults[1] > 2 * faults[0] or "[always]" in enabled.read_text(), faults  # what the user has set stays
