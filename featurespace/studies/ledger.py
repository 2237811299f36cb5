"""What became of each cell: told by files in its folder, so that any process or machine can ask."""

from __future__ import annotations

import shutil
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from featurespace import files
from featurespace.studies.cells import Cell

DONE, FAILED, LOG = "done.json", "failed.json", "log.txt"
KEPT = (".csv", ".json", ".safetensors", ".yaml")
FINISHED, STARTED, WAITING, BROKEN, DAMAGED = "finished", "started", "waiting", "failed", "damaged"
TAKEN = "taken"  # another process trains it now


class State(NamedTuple):
    """What became of a cell.

    Parameters
    ----------
    word : finished, started (by a process that works on it or was killed), waiting, failed, damaged: what it wrote is not
        what is there; of a cell that was to be run also taken: another process trains it
    seconds : what it took; None where it is not finished
    reason : why it failed, or which file is damaged
    epochs : finished so far
    """

    word: str
    seconds: float | None = None
    reason: str = ""
    epochs: int = 0


def state(cell: Cell, *, verify: bool = False) -> State:
    """Return what became of a cell; with ``verify`` every file of a finished one is read and compared with its hash."""
    done = _read(cell.folder / DONE)
    if done:
        for name, digest in done["sha256"].items():
            file = cell.folder / name
            if not file.is_file() or (verify and files.hash_file(file) != digest):
                return State(DAMAGED, reason=f"{name} is not what was written")
        return State(FINISHED, seconds=done["seconds"], epochs=cell.config.epochs)
    failed = _read(cell.folder / FAILED)
    if failed:
        return State(BROKEN, reason=failed["reason"])
    return State(STARTED if (cell.training / "config.yaml").exists() else WAITING, epochs=_epochs(cell))


def _epochs(cell: Cell) -> int:
    try:
        with open(cell.training / "curves.csv", encoding="utf-8") as curves:
            return max(sum(1 for _ in curves) - 1, 0)
    except OSError:
        return 0


def finish(cell: Cell, seconds: float) -> None:
    """Say that a cell is finished, with the hashes of what it wrote."""
    written = sorted(path for path in cell.training.iterdir() if path.suffix in KEPT and not path.name.startswith("."))
    hashes = {path.relative_to(cell.folder).as_posix(): files.hash_file(path) for path in written}
    files.write_json(cell.folder / DONE, {"key": cell.key, "seconds": round(seconds, 2), "sha256": hashes})


def fail(cell: Cell, error: BaseException) -> None:
    """Say that a cell failed, and write why into its log."""
    with open(cell.folder / LOG, "a", encoding="utf-8") as log:
        log.write("".join(traceback.format_exception(error)))
    files.write_json(cell.folder / FAILED, {"reason": f"{type(error).__name__}: {error}"})


def reset(cell: Cell) -> None:
    """Forget that a cell failed or finished, so that it is run again; what its training saved stays."""
    for name in (DONE, FAILED):
        with suppress(FileNotFoundError):
            (cell.folder / name).unlink()


def clear(cell: Cell) -> None:
    """Delete what a cell wrote, of which something is not as it was written."""
    reset(cell)
    shutil.rmtree(cell.training, ignore_errors=True)


def _read(file: Path) -> dict[str, Any]:
    try:
        return files.read_json(file)
    except (OSError, ValueError):
        return {}
