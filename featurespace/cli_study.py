"""The command `featurespace study`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from featurespace import arguments
from featurespace.errors import FeaturespaceError, counted

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
    retry: Annotated[bool, typer.Option("--retry", help="Run failed cells again.")] = False,
    listed: Annotated[
        bool, typer.Option("--list", help="Print a command a cell, parents first, and run nothing; for job arrays.")
    ] = False,
    status: Annotated[bool, typer.Option("--status", help="Print what became of each cell, and run nothing.")] = False,
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

        cells = chosen_cells(make_cells(settings), only or ())
        found = [(cell, ledger.state(cell)) for cell in cells]
        if listed:
            extra = [word for each in changes or () for word in ("--set", each)]
            for cell in cells:
                typer.echo(shlex.join(["featurespace", "study", str(config), "--only", cell.name, *extra]))
        elif status:
            _print_states(found, json_output=json_output)
        else:
            _print_cost(found, jobs)
        return
    out = job(
        settings, only=only or (), jobs=jobs, retry=retry, progress=arguments.make_progress(quiet=quiet or json_output)
    )
    typer.echo(out)


def _print_states(found: list[Any], *, json_output: bool) -> None:
    import json

    if json_output:
        rows = [{"cell": cell.name, "folder": str(cell.folder), **state._asdict()} for cell, state in found]
        typer.echo(json.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("cell", "state", "seconds", "why")
    for cell, state in found:
        table.add_row(cell.name, state.word, "" if state.seconds is None else f"{state.seconds:,.0f}", state.reason)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 240
    console.print(table)


def _print_cost(found: list[Any], jobs: int) -> None:
    """Tell how many cells are left, and their time by that of finished cells of the same kind and size."""
    from featurespace.studies import ledger
    from featurespace.studies.cost import seconds_left

    left = [cell for cell, state in found if state.word != ledger.FINISHED]
    typer.echo(f"{counted(len(found), 'cell')}, {len(found) - len(left):,} finished")
    seconds, unknown = seconds_left(found)
    if seconds:
        typer.echo(
            f"about {seconds / jobs / 60:,.1f} minutes left for {counted(len(left) - unknown, 'cell')} with --jobs {jobs}"
        )
    if unknown:
        typer.echo(f"not known: the time of {counted(unknown, 'cell')} that no finished one is like")
