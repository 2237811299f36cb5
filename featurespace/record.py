"""What a run wrote: the hash of every file, from which features, in how many parts, and whether that is all."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from featurespace import files

NAME = "hashes.json"
STORES = "features/*/*/manifest.json"  # each holds the hashes of its rows
EMPTY: dict[str, Any] = {"finished": False, "features": None, "parts": [], "sha256": {}}


class Record:
    """The file ``hashes.json`` of a run directory: read when asked, written after every file of the run."""

    def __init__(self, folder: Path):
        self.folder = folder

    def read(self) -> dict[str, Any]:
        """Return ``finished``, ``features``, ``parts`` and ``sha256`` (name -> hash); what cannot be read is empty."""
        try:
            return EMPTY | files.read_json(self.folder / NAME)
        except (OSError, ValueError, TypeError):
            return EMPTY

    def change(self, **values: Any) -> None:
        """Write the record with some values changed."""
        files.write_json(self.folder / NAME, self.read() | values)

    def add(self, *names: str) -> None:
        """Note the hashes of files that were just written."""
        hashes = {name: files.hash_file(self.folder / name) for name in names}
        self.change(sha256=self.read()["sha256"] | hashes)

    def without(self, starts: Iterable[str]) -> dict[str, str]:
        """Return the hashes of the files whose names do not start so."""
        return {name: digest for name, digest in self.read()["sha256"].items() if not name.startswith(tuple(starts))}

    def holds(self, *names: str) -> bool:
        """Whether the files are there and as they were written."""
        hashes, paths = self.read()["sha256"], [self.folder / name for name in names]
        return all(path.is_file() and files.hash_file(path) == hashes.get(name) for name, path in zip(names, paths))

    def begin(self, started: str, last: Iterable[str]) -> None:
        """Say that a process works on the run, which is unfinished until `finish`; files named ``last`` are to come."""
        record = self.read()
        parts = [] if record["finished"] else record["parts"]
        if parts:
            parts = [*parts[:-1], {**parts[-1], "ended": max(parts[-1]["started"], self._last_write())}]
        self.change(finished=False, parts=[*parts, {"started": started, "ended": None}], sha256=self.without(last))

    def parts(self, ended: str) -> list[dict[str, str]]:
        """Return when each process that worked on the run started and ended; the time is that of the last one."""
        return [{**part, "ended": part["ended"] or ended} for part in self.read()["parts"]]

    def finish(self) -> None:
        """Say that everything is there."""
        self.add(*(manifest.relative_to(self.folder).as_posix() for manifest in sorted(self.folder.glob(STORES))))
        self.change(finished=True)

    def _last_write(self) -> str:
        # Not the configuration, which this process wrote just now.
        names = [name for name in self.read()["sha256"] if name != "config.yaml"]
        files_written = [*(self.folder / name for name in names), *self.folder.glob(STORES)]
        times = [file.stat().st_mtime for file in files_written if file.exists()]
        return datetime.fromtimestamp(max(times, default=0.0), UTC).isoformat(timespec="seconds")
