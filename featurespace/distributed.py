"""Several processes at one job, started by ``torchrun``: who they are, and what they tell each other.

Without torchrun there is one process, and every function here does nothing; torch is imported only where there are several.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np

from featurespace.errors import FeaturespaceError

T = TypeVar("T")
WAIT = timedelta(days=2)  # for the first process, which makes the tables alone


class Elsewhere(FeaturespaceError):
    """Another process has told what is wrong."""


def size() -> int:
    """Return how many processes work at this job."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def rank() -> int:
    """Return which of them this is; 0 is the one that writes tables and talks."""
    return int(os.environ["RANK"]) if size() > 1 else 0


def local_rank() -> int:
    """Return which of the processes of its machine this is: the number of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0")) if size() > 1 else 0


def begin() -> None:
    """Find the other processes; once, before anything else here."""
    if size() > 1:
        import torch.distributed as dist

        if not dist.is_initialized():
            dist.init_process_group("gloo", timeout=WAIT)


def end() -> None:
    """Part from the other processes."""
    if size() > 1:
        import torch.distributed as dist

        if dist.is_initialized():
            dist.destroy_process_group()


def total(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the sums of the processes' arrays, in the order of their ranks on every process."""
    if size() == 1:
        return list(arrays)
    import torch
    import torch.distributed as dist

    sums = []
    for each in arrays:
        tensor = torch.from_numpy(np.ascontiguousarray(each))
        dist.all_reduce(tensor)
        sums.append(tensor.numpy())
    return sums


def told(value: T) -> T:
    """Return the first process's value, on every process."""
    if size() == 1:
        return value
    import torch.distributed as dist

    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def together(make: Callable[[], T]) -> T:
    """Return what each process makes; where one of them fails in a way that the user can mend, all end, and one tells it."""
    if size() == 1:
        return make()
    import torch.distributed as dist

    value: Any = None
    problem = None
    try:
        value = make()
    except FeaturespaceError as error:
        problem = error
    problems: list[str | None] = [None] * size()
    dist.all_gather_object(problems, None if problem is None else str(problem))
    first = next((each for each in problems if each is not None), None)
    if first is None:
        return value
    if rank() == 0:
        raise problem or FeaturespaceError(first)
    raise Elsewhere(first)
