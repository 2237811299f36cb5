"""What a job tells while it runs: stages, a bar with speed and time left, and messages, all on stderr."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from featurespace.errors import visible


def shortened(names: list[str], *, shown: int = 4) -> str:
    """Return names in one line; of a long list the first few and how many more there are."""
    rest = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + rest


class Progress:
    """Silent progress: keeps the time of every stage and the messages; `RichProgress` also shows them.

    Attributes
    ----------
    seconds : time per stage, in the order the stages ended
    messages : everything said, for the report
    started : the time in UTC
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.messages: list[str] = []
        self.started = datetime.now(UTC).isoformat(timespec="seconds")

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage; times of one name add up."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    @contextmanager
    def bar(self, description: str, total: int | None, unit: str) -> Iterator[Any]:
        """Yield a function that is called with the number of units just done; None is a total nobody knows."""
        yield lambda count: None

    def say(self, message: str) -> None:
        """Tell the user something that is also worth keeping; the same thing is told once."""
        message = visible(message)
        if message not in self.messages:
            self.messages.append(message)

    def tell(self, message: str) -> None:
        """Tell the user something that is not worth keeping: it concerns this process and no result."""

    def detail(self, message: str) -> None:
        """Tell what only somebody who asked for details wants to know; it is not kept."""


class RichProgress(Progress):
    """Progress on stderr through rich; without a terminal a line a stage."""

    def __init__(self, *, verbose: bool = False) -> None:
        super().__init__()
        self.verbose = verbose
        from rich.console import Console

        self.console = Console(stderr=True, highlight=False)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage and say when it ends."""
        start = time.perf_counter()
        with super().stage(name):
            yield
        self.console.print(f"[green]✓[/green] {name} [dim]{time.perf_counter() - start:.1f} s[/dim]")

    @contextmanager
    def bar(self, description: str, total: int | None, unit: str) -> Iterator[Any]:
        """Show a bar with units a second and the time left."""
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (
            TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"), TimeRemainingColumn(),
        )  # fmt: skip
        start, done = time.perf_counter(), 0
        if not self.console.is_terminal:  # a log: one line at the end instead of a bar

            def count(units: int) -> None:
                nonlocal done
                done += units

            yield count
            if total == 0:
                return
            rate = done / max(time.perf_counter() - start, 1e-9)
            self.console.print(f"  {description}: {done:,} {unit}, {rate:,.0f} {unit}/s", soft_wrap=True, markup=False)
            return
        with Bar(*columns, console=self.console, transient=True) as bar:
            task = bar.add_task(description, total=total, rate="")

            def advance(count: int) -> None:
                nonlocal done
                done += count
                rate = done / max(time.perf_counter() - start, 1e-9)
                bar.update(task, advance=count, rate=f"{rate:,.0f} {unit}/s")

            yield advance

    def say(self, message: str) -> None:
        """Print a message and keep it."""
        if visible(message) not in self.messages:
            super().say(message)
            self.tell(message)

    def tell(self, message: str) -> None:
        """Print a message."""
        from rich.text import Text

        self.console.print(Text.assemble(("•", "yellow"), f" {visible(message)}"), soft_wrap=True)

    def detail(self, message: str) -> None:
        """Print a message where details were asked for."""
        from rich.text import Text

        if self.verbose:
            self.console.print(Text(f"  {visible(message)}", style="dim"), soft_wrap=True)
