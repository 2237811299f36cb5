"""The command `featurespace study`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from featurespace import arguments
from featurespace.errors import FeaturespaceError, counted

REFRESHED = 2.0  # seconds between two looks of --status

File = Annotated[
    Path, typer.Argument(help="A YAML file.", show_default=False, parser=arguments.a_path, metavar="CONFIG")
]


def study(
    config: File,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Pattern of cells to run, with their parents; several times.", show_default=False),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes at once.")] = 1,
    on: Annotated[
        str | None,
        typer.Option("--on", metavar="ray[=ADDRESS]", help="Train on a Ray cluster.", show_default=False),
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Run failed cells again.")] = False,
    listed: Annotated[
        bool, typer.Option("--list", help="Print a command a cell, parents first, and run nothing; for job arrays.")
    ] = False,
    status: Annotated[
        bool,
        typer.Option(
            "--status", help="Print what became of each cell and the time left; on a terminal until none is trained."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print how many cells there are to run, and the time left.")
    ] = False,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE instead of what the file says; several times.", show_default=False),
    ] = None,
    quiet: arguments.Quiet = False,
    json_output: arguments.Json = False,
) -> None:
    """Run a grid of pretrainings, tasks, fractions, modes, noise and seeds; the same command again goes on."""
    from featurespace.studying import chosen_cells, read_study
    from featurespace.studying import study as job

    if sum((listed, status, dry_run)) > 1:
        raise FeaturespaceError("--list, --status and --dry-run answer different questions; give one of them")
    settings = read_study(config, changes or ())
    if listed or status or dry_run:
        from featurespace.studies import ledger
        from featurespace.studies.cells import make_cells

        every = make_cells(settings)
        cells = chosen_cells(every, only or ())
        if listed:
            extra = [word for each in changes or () for word in ("--set", each)]
            for cell in cells:
                typer.echo(shlex.join(["featurespace", "study", str(config), "--only", cell.name, *extra]))
        elif status:
            _print_states(cells, json_output=json_output)
        else:
            _print_cost(
                [(cell, ledger.state(cell)) for cell in cells],
                every,
                jobs,
                arguments.make_progress(quiet=quiet or json_output),
            )
        return
    out = job(
        settings, only=only or (), jobs=jobs, on=on, retry=retry,
        progress=arguments.make_progress(quiet=quiet or json_output),
    )  # fmt: skip
    typer.echo(out)


def _print_states(cells: list[Any], *, json_output: bool) -> None:
    """Print what became of each cell; on a terminal, again and again while one is trained."""
    import json
    import time

    from rich.console import Console
    from rich.live import Live

    from featurespace.studies import ledger

    found = [(cell, ledger.state(cell)) for cell in cells]
    if json_output:
        rows = [{"cell": cell.name, "folder": str(cell.folder), **state._asdict()} for cell, state in found]
        typer.echo(json.dumps(rows, indent=2))
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 240
        console.print(_states(found))
        return
    with Live(_states(found), console=console, auto_refresh=False, vertical_overflow="visible") as live:
        while any(state.word == ledger.STARTED for _, state in found):  # Ctrl-C ends it
            time.sleep(REFRESHED)
            found = [(cell, ledger.state(cell)) for cell in cells]
            live.update(_states(found), refresh=True)


def _states(found: list[Any]) -> Any:
    """Return a table of what became of each cell, and below it the time left, as far as it is known."""
    from rich.console import Group
    from rich.table import Table

    from featurespace.studies.cost import seconds_left

    seconds, unlike = seconds_left(found)
    left = sum(state.word != "finished" for _, state in found) - len(unlike)
    line = f"{counted(len(found) - left - len(unlike), 'cell')} of {len(found)} finished" + (
        f"; about {seconds / 60:,.1f} minutes left for {counted(left, 'cell')}, one after another" if left else ""
    )
    table = Table("cell", "state", "seconds", "epochs", "why")
    for cell, state in found:
        took = "" if state.seconds is None else f"{state.seconds:,.0f}"
        table.add_row(cell.name, state.word, took, f"{state.epochs} of {cell.config.epochs}", state.reason)
    return Group(table, line)


def _print_cost(found: list[Any], cells: list[Any], jobs: int, progress: Any) -> None:
    """Tell how many cells are left, and their time: by that of finished cells of the same kind, else by a timed step."""
    from featurespace.studies import ledger
    from featurespace.studies.cost import seconds_left, timed_seconds

    left = [cell for cell, state in found if state.word != ledger.FINISHED]
    typer.echo(f"{counted(len(found), 'cell')}, {len(found) - len(left):,} finished")
    seconds, unlike = seconds_left(found)
    if len(left) > len(unlike):
        typer.echo(
            f"about {seconds / jobs / 60:,.1f} minutes for {counted(len(left) - len(unlike), 'cell')} by the finished ones"
        )
    if unlike:
        seconds = timed_seconds(unlike, cells, progress)
        typer.echo(
            f"about {seconds / jobs / 60:,.1f} minutes of training for {counted(len(unlike), 'cell')} by a timed step of each "
            "kind, without reading and testing images"
        )
