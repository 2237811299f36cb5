"""One process at a time in a directory."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from featurespace import files
from featurespace.errors import FeaturespaceError

CANNOT_LOCK = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


class Taken(FeaturespaceError):
    """Another process is working in a directory."""


@contextmanager
def locked(folder: Path, ours: Path) -> Iterator[None]:
    """Hold a directory for this process; a second one is told so. A killed process holds nothing.

    Parameters
    ----------
    ours : a file that says that the directory is ours; where it is not written, nothing stays behind
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock", timeout=0)
    with files.writing(folder):
        new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout as error:
            raise Taken(
                f"another process is working in {folder}; wait until it has finished, or choose another --out"
            ) from error
        except (OSError, NotImplementedError) as error:
            if isinstance(error, OSError) and error.errno not in CANNOT_LOCK:
                raise
            raise FeaturespaceError(
                f"the file system of {folder} cannot lock files ({error}), so a second process in it would not be "
                "noticed; choose an --out on another disk, and copy the run there afterwards"
            ) from error
    try:
        yield
    finally:
        refused = not ours.exists()
        try:
            if refused:  # nothing of ours stays in somebody's folder; while we hold it, nobody else's lock goes
                (folder / ".lock").unlink(missing_ok=True)
        finally:
            lock.release()
        if refused and new:
            with contextlib.suppress(OSError):
                folder.rmdir()
