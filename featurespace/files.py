"""Small files: written whole or not at all, and hashed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from featurespace.errors import FeaturespaceError

GOES_ON = "then the same command goes on where it stopped"
NEXT_STEPS = {
    errno.ENOSPC: f"the disk is full: make space on it, {GOES_ON}",
    errno.EDQUOT: f"your quota on that disk is used up: delete something there, {GOES_ON}",
    errno.EROFS: "choose another --out or file name, on a disk that can be written",
    errno.EACCES: "choose another --out or file name where you may write, or change the rights of this one",
    errno.ENAMETOOLONG: "choose another --out or file name that is shorter",
}
PARTIAL = re.compile(r"\..*\.(\d+)\.partial(\.\w+)?")


def write_atomic(path: str | Path, write: Callable[[Path], object], *, wait: bool = True) -> Path:
    """Call ``write`` with a temporary name beside ``path``, then rename; a reader never sees half a file.

    The temporary name keeps the suffix, because savers such as matplotlib's choose the format by it. Without ``wait`` the
    content may not be on the disk yet, and half of it may survive a power cut: for what bears a seal and is made again.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(temporary)
            if wait:
                sync(temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    return path


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turn a full disk, a missing right and the like into an error that says what, where and what to do."""
    try:
        yield
    except OSError as error:
        step = NEXT_STEPS.get(error.errno or 0, "choose another --out or file name")
        raise FeaturespaceError(f"{path} cannot be written ({error.strerror or error}); {step}") from error


def sync(path: Path) -> None:
    """Wait until the content of a file is on the disk."""
    with open(path, "r+b") as handle:
        os.fsync(handle.fileno())


def remove_partial(folder: Path) -> None:
    """Delete the temporary files that killed processes left in ``folder``; those of a living one stay."""
    import psutil

    for file in folder.glob(".*.partial*"):
        name = PARTIAL.fullmatch(file.name)
        if name and (int(name[1]) == os.getpid() or not psutil.pid_exists(int(name[1]))):
            file.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> Path:
    """Write UTF-8 text atomically; what of a file's name is no UTF-8 is escaped."""
    return write_atomic(path, lambda file: file.write_text(text, encoding="utf-8", errors="backslashreplace"))


def write_json(path: str | Path, value: Any) -> Path:
    """Write JSON atomically; NaN and infinity are refused, because JSON has neither."""
    return write_text(path, json.dumps(value, indent=2, allow_nan=False, default=str) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def hash_file(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def hash_value(value: Any) -> str:
    """Return the SHA-256 of a JSON-like value, the same for the same content in any key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def hash_array(array: Any) -> str:
    """Return the SHA-256 of an array's shape, type and values."""
    digest = hashlib.sha256(f"{array.shape} {array.dtype}".encode())
    digest.update(array.tobytes())
    return digest.hexdigest()


def safe_name(name: str) -> str:
    """Return ``name`` as a file name that every system takes; different names stay different.

    Letters, digits, dot, dash and underscore are kept; anything else becomes an underscore, and a short
    hash of the original is added where something was replaced or cut off.
    """
    safe = re.sub(r"[^\w.\-]", "_", name, flags=re.ASCII).lstrip(".-") or "_"
    return (
        safe if safe == name and len(safe) <= 100 else f"{safe[:100]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    )
