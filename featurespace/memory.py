"""Memory that runs out, told apart from files that are damaged and from faults of the program."""

from __future__ import annotations

import errno
import mmap

SIGNS = (
    "DefaultCPUAllocator",
    "can't start new thread",
    "Cannot allocate memory",
    "failed to map segment",
    "bad allocation",
    "std::bad_alloc",
)
SPARE = 1 << 28
"""Bytes without which memory is short; a file that needs more than there is fails while they can be had."""


class Short(MemoryError):
    """Memory was short; says while doing what."""


def out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, says that memory of the machine or of a GPU ran out."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
            return True
        if any(sign in str(error) for sign in SIGNS) or gpu_is_full(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def gpu_is_full(error: BaseException) -> bool:
    """Whether an error says that a GPU has too little memory; known without importing torch."""
    return type(error).__name__ == "OutOfMemoryError" or "ALLOC_FAILED" in str(error)


def is_short() -> bool:
    """Whether not even `SPARE` bytes can be had."""
    try:
        mmap.mmap(-1, SPARE).close()  # nothing is written to it
    except OSError:
        return True
    return False


def pass_on(error: BaseException, what: str) -> None:
    """Raise `Short` where a file could not be read because memory is short: then the file is not at fault.

    Parameters
    ----------
    what : what was being done, e.g. ``"reading a.png"``
    """
    if isinstance(error, Short):  # said already, by who was called
        raise error
    if out_of_memory(error) and is_short():
        raise Short(f"{error} while {what}" if str(error) else what) from error


def told(error: BaseException) -> str:
    """Return what to tell the user of an error that `out_of_memory` knows."""
    first = next(iter(str(error).splitlines()), "")
    return (
        "out of memory"
        + (f" ({first})" if first else "")
        + "; what is finished is kept. The same command goes on from there, with "
        "more memory or with less to hold: a smaller --batch-size, fewer --layers or --threads (--dry-run tells what is needed)"
    )
