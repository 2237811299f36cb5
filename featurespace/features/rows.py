"""Rows of features in ``.npy`` files that are written in place.

They are written with plain writes and not through a memory map, where a full disk would be a crash without a message.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from featurespace import files

CHUNK_BYTES = 1 << 22
CANNOT_RESERVE = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def header_of(rows: int, width: int) -> bytes:
    """Return the start of an .npy file; NumPy leaves room in it, so that its length does not depend on ``rows``."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": (rows, width)})
    return buffer.getvalue()


def reserve(file: Path, header: bytes, size: int) -> None:
    """Make the file as long as it will be, with its blocks, so that a full disk is told before the forward pass."""
    with files.writing(file):
        file.touch()
    with files.writing(file), open(file, "r+b") as handle:
        handle.write(header)
        try:
            os.posix_fallocate(handle.fileno(), 0, len(header) + size)
        except (AttributeError, OSError) as error:  # macOS and Windows; file systems that reserve nothing
            if isinstance(error, OSError) and error.errno not in CANNOT_RESERVE:
                raise
            handle.truncate(len(header) + size)


def write_rows(file: Path, position: int, rows: np.ndarray) -> None:
    """Write rows where the one at this position begins."""
    with files.writing(file), open(file, "r+b") as handle:
        handle.seek(len(header_of(0, rows.shape[1])) + position * rows.shape[1] * rows.itemsize)
        handle.write(rows.data)


def cut(file: Path, header: bytes, size: int) -> None:
    """Write another header, and leave so many bytes of rows after it."""
    with files.writing(file), open(file, "r+b") as handle:
        handle.write(header)
        handle.truncate(len(header) + size)


def pieces(file: Path, width: int, start: int, stop: int) -> Iterator[bytes]:
    """Yield the bytes of rows of a file, whole rows at a time; raises ValueError where it is shorter."""
    at_once = max(1, CHUNK_BYTES // (4 * width))
    with open(file, "rb") as handle:
        handle.seek(len(header_of(0, width)) + 4 * width * start)
        for first in range(start, stop, at_once):
            size = 4 * width * (min(first + at_once, stop) - first)
            piece = handle.read(size)
            if len(piece) < size:
                raise ValueError(f"it is {size - len(piece)} bytes too short")
            yield piece


def digest_of(file: Path, width: int, start: int, stop: int) -> Any:
    """Return the running SHA-256 of rows of a file; raises ValueError where it is shorter."""
    digest = hashlib.sha256()
    for piece in pieces(file, width, start, stop):
        digest.update(piece)
    return digest
