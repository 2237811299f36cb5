"""Several processes at one job, started by ``torchrun``: who they are, and what they tell each other.

Without torchrun there is one process, and every function here does nothing; torch is imported only where there are several.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from featurespace.errors import FeaturespaceError

if TYPE_CHECKING:
    import numpy as np

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


def share() -> str:
    """Return what to add to a number of images that is this process's and not all."""
    return f" (process {rank() + 1} of {size()})" if size() > 1 else ""


@contextmanager
def processes() -> Iterator[None]:
    """Find the other processes, and part from them at the end; around everything else here."""
    if size() == 1:
        yield
        return
    import torch.distributed as dist

    with _others():
        dist.init_process_group("gloo", timeout=WAIT)
    yield
    dist.destroy_process_group()  # after an error the launcher ends the others; waiting for them would take for ever


@contextmanager
def _others() -> Iterator[None]:
    """Around what waits for the other processes: one that is gone ends this one too, and is no fault of the program."""
    try:
        yield
    except RuntimeError as error:
        reason = next(iter(str(error).splitlines()), "")
        raise FeaturespaceError(
            f"process {rank() + 1} of {size()} has lost the others ({reason}): one was ended, its machine or the network failed, "
            "or its memory ran out; what it said stands above, or in its machine's log. What is finished is kept: give the "
            "same command again to go on"
        ) from error


def total(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the sums of the processes' arrays, the same on every process; the arrays themselves may be overwritten."""
    if size() == 1:
        return list(arrays)
    import numpy as np
    import torch
    import torch.distributed as dist

    sums = []
    for each in arrays:
        tensor = torch.from_numpy(np.ascontiguousarray(each))
        with _others():
            dist.all_reduce(tensor)
        sums.append(tensor.numpy())
    return sums


def told(value: T) -> T:
    """Return the first process's value, on every process."""
    if size() == 1:
        return value
    import torch.distributed as dist

    box = [value]
    with _others():
        dist.broadcast_object_list(box, src=0)
    return box[0]


def together(make: Callable[[], T]) -> T:
    """Return what each process makes; where one of them fails in a way that the user can mend, all end, and one tells it."""
    if size() == 1:
        return make()
    value: Any = None
    problem = None
    try:
        value = make()
    except FeaturespaceError as error:
        problem = error
    first = next((each for each in gathered(problem and str(problem)) if each is not None), None)
    if first is None:
        return value
    if rank() == 0:
        raise problem or FeaturespaceError(first)
    raise Elsewhere(first)


def gathered(value: T) -> list[T]:
    """Return the values of all processes, in the order of their ranks."""
    if size() == 1:
        return [value]
    import torch.distributed as dist

    values: list[Any] = [None] * size()
    with _others():
        dist.all_gather_object(values, value)
    return values


def shares(rows: int, batch_size: int) -> list[int]:
    """Return where each process's rows begin, and where the last one's end: whole batches each."""
    batches = -(-rows // batch_size)
    return [min(rows, batch_size * (batches * each // size())) for each in range(size() + 1)]
