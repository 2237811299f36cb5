"""Results of statistics that a run has made already: one file each, found by all that they were made from."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from featurespace import files

ROOMS = ("metrics", "stats", "tables")
LIBRARIES = ("numpy", "scipy", "scikit-learn", "umap-learn", "numba", "pynndescent")
SEAL_BYTES = 32


class Result(NamedTuple):
    """What a statistic gave: rows of a table, and arrays that other statistics need of it."""

    rows: list[dict]
    arrays: dict[str, np.ndarray]


class Memo:
    """Remembers results in a folder, so that an interrupted or extended run computes only what is new.

    A result is found by the content of the features and the options it was made from and by the code that made it;
    anything else there is made anew. Without a folder nothing is remembered.
    """

    def __init__(self, folder: Path | None = None):
        self.folder = folder
        self.used: set[Path] = set()
        self.made = 0
        self.recalled = 0

    def recall(self, kind: str, key: dict[str, Any], make: Callable[[], Result]) -> Result:
        """Return the result for a key, from the folder where it is there, and remember it otherwise."""
        known = self.find(kind, key)
        if known is not None:
            return known
        return self.keep(kind, key, make())

    def find(self, kind: str, key: dict[str, Any]) -> Result | None:
        """Return the remembered result, or None; a damaged file is as none."""
        file = self._file(kind, key)
        if file is None or not file.is_file():
            return None
        content = file.read_bytes()
        if not content.startswith(_seal(file, content[SEAL_BYTES:])):
            return None
        with np.load(io.BytesIO(content[SEAL_BYTES:]), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        rows = json.loads(str(arrays.pop("rows")))
        self.used.add(file)
        self.recalled += 1
        return Result(rows, arrays)

    def keep(self, kind: str, key: dict[str, Any], result: Result) -> Result:
        """Remember a result and return it."""
        self.made += 1
        file = self._file(kind, key)
        if file is not None:
            buffer = io.BytesIO()
            np.savez(buffer, rows=np.array(json.dumps(result.rows, default=_plain)), **result.arrays)  # type: ignore[arg-type]
            content = buffer.getvalue()
            files.write_atomic(file, lambda path: path.write_bytes(_seal(file, content) + content), wait=False)
            self.used.add(file)
        return result

    def damaged(self) -> Path | None:
        """Return the first remembered result that is not what was written, None where all are."""
        for file in sorted(self.folder.glob("*.result")) if self.folder else ():
            content = file.read_bytes()
            if not content.startswith(_seal(file, content[SEAL_BYTES:])) or len(content) < SEAL_BYTES:
                return file
        return None

    def forget_unused(self, kinds: set[str]) -> None:
        """Delete results of these kinds that nobody asked for since this object was made."""
        for file in self.folder.glob("*.result") if self.folder else ():
            if file.name.split("-")[0] in kinds and file not in self.used:
                with files.writing(file):
                    file.unlink()

    def _file(self, kind: str, key: dict[str, Any]) -> Path | None:
        if self.folder is None:
            return None
        return self.folder / f"{kind}-{files.hash_value({'code': _code(), **key})}.result"


def _seal(file: Path, content: bytes) -> bytes:
    """Return what the file begins with: a hash of its name and content, so that none stands for another."""
    return hashlib.sha256(file.name.encode() + content).digest()


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)


@cache
def _code() -> str:
    """Return a hash of everything that makes a number here: our source, and the versions of the libraries."""
    root = Path(__file__).parents[1]
    sources = sorted(file for name in ROOMS for file in (root / name).glob("*.py"))
    return files.hash_value([[files.hash_file(file) for file in sources], [version(name) for name in LIBRARIES]])
