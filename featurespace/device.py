"""Devices, precision and threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from featurespace import distributed
from featurespace.errors import FeaturespaceError, did_you_mean

if TYPE_CHECKING:
    import torch


def resolve_device(name: str) -> torch.device:
    """Return the device for ``auto`` (CUDA, then Apple's MPS, then the CPU) or a name such as ``cuda:1``.

    Of several processes on a machine each takes a GPU of its own.
    """
    import torch

    if distributed.size() > 1 and name in ("auto", "cuda") and torch.cuda.is_available():
        return torch.device("cuda", distributed.local_rank())
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        close = did_you_mean(name, ("auto", "cpu", "cuda", "mps"))
        raise FeaturespaceError(f"device {name!r} is not known; write auto, cpu, cuda, cuda:0 or mps{close}") from error
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise FeaturespaceError(f"device {name!r}: this machine has no Apple GPU that torch can use; use auto or cpu")
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise FeaturespaceError(
            f"device {name!r}: this machine has {torch.cuda.device_count()} CUDA devices; use auto or cpu"
        )
    return device


def statistics_device(name: str) -> str:
    """Return where the statistics of features from this device are computed: on CUDA there, else on the CPU.

    They are sums in float64, which Apple's MPS does not have.
    """
    return name if name.startswith("cuda") else "cpu"


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """Return the context for a forward pass in ``fp32`` or ``bf16``."""
    import torch

    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()


def set_threads(count: int | None) -> int:
    """Use ``count`` threads in torch and return the number; by default ``OMP_NUM_THREADS``, or all cores there are.

    More threads than free cores slow small networks down a hundredfold, because every layer waits for the slowest.
    """
    import torch

    asked = os.environ.get("OMP_NUM_THREADS", "")
    threads = count or (int(asked) if asked.isdigit() and int(asked) > 0 else available_cores())
    torch.set_num_threads(threads)
    return threads


def available_cores() -> int:
    """Return the number of cores this process may use, by affinity and by the quota of its container."""
    from joblib import cpu_count

    return int(cpu_count())


@contextmanager
def limited_threads(count: int) -> Iterator[None]:
    """Let linear algebra outside torch (BLAS, OpenMP) use ``count`` threads inside the ``with`` block."""
    import scipy.linalg  # noqa: F401, it brings a BLAS of its own, which must be there to be limited
    from threadpoolctl import threadpool_limits

    with threadpool_limits(count):
        yield
