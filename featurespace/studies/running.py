"""Cells are run one after another or in processes, children after their parents."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from featurespace.errors import FeaturespaceError
from featurespace.locking import Taken
from featurespace.progress import Progress
from featurespace.studies import ledger
from featurespace.studies.cells import Cell


class LogProgress(Progress):
    """Progress that writes what is said into a cell's log."""

    def __init__(self, file: Path):
        super().__init__()
        self.file = file

    def say(self, message: str) -> None:
        """Write a message as a line."""
        super().say(message)
        with open(self.file, "a", encoding="utf-8") as log:
            log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())} {message}\n")

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Write how long a stage took."""
        with super().stage(name):
            yield
        self.say(f"{name}: {self.seconds[name]:.1f} s")


def run_cell(cell: Cell, threads: int | None = None) -> ledger.State:
    """Train a cell in this process, unless it is finished; what goes wrong is written down, and returned as its state."""
    from featurespace.training.finetune import finetune
    from featurespace.training.pretrain import pretrain

    found = ledger.state(cell, verify=True)
    if found.word in (ledger.FINISHED, ledger.BROKEN):
        return found
    if found.word == ledger.DAMAGED:
        ledger.clear(cell)
    cell.folder.mkdir(parents=True, exist_ok=True)
    config: Any = cell.config if threads is None else cell.config.model_copy(update={"threads": threads})
    start = time.perf_counter()
    try:
        (pretrain if cell.kind == "pretrain" else finetune)(config, progress=LogProgress(cell.folder / ledger.LOG))
    except Taken:
        return ledger.State(ledger.TAKEN)
    except Exception as error:
        ledger.fail(cell, error)
    else:
        ledger.finish(cell, time.perf_counter() - start)
    return ledger.state(cell)


class Pool(Protocol):
    """Where cells are trained beside each other."""

    def submit(self, function: Callable[..., Any], cell: Cell, threads: int | None, /) -> Future[ledger.State]: ...  # noqa: D102


def processes(jobs: int) -> ProcessPoolExecutor:
    """Return a pool of that many processes on this machine."""
    return ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))


def run_cells(
    cells: Sequence[Cell],
    *,
    pool: Pool | None = None,
    threads: int | None = None,
    told: Callable[[Cell, ledger.State], object],
) -> dict[str, ledger.State]:
    """Run cells, each when its parent is finished, and return their states; children of a failed one wait.

    Parameters
    ----------
    cells : parents before their children
    pool : where they are trained; None is this process, one after another
    threads : of each training; by default the cores there are
    told : called with each cell and its state when it has one
    """
    states: dict[str, ledger.State] = {}
    names = {cell.name for cell in cells}

    def ready(cell: Cell) -> bool:
        return cell.parent not in names or states.get(cell.parent or "", ledger.State("")).word == ledger.FINISHED

    def note(cell: Cell, found: ledger.State) -> None:
        states[cell.name] = found
        told(cell, found)

    if pool is None:
        for cell in cells:
            if ready(cell):
                note(cell, run_cell(cell, threads))
        return states
    waiting, running = list(cells), {}
    while True:
        for cell in [each for each in waiting if ready(each)]:
            waiting.remove(cell)
            running[pool.submit(run_cell, cell, threads)] = cell
        if not running:
            return states
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            cell = running.pop(future)
            note(cell, _result(future, cell))


def _result(future: Future[ledger.State], cell: Cell) -> ledger.State:
    """Return the state of a cell whose process ended, by itself or killed."""
    try:
        return future.result()
    except BrokenProcessPool as error:  # the process was killed, for memory say
        raise FeaturespaceError(
            f"the process of {cell.name} ended without a word; it may have been out of memory: use "
            "fewer --jobs or a smaller batch_size, and run the same command again"
        ) from error
