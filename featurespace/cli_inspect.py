"""The command line of `featurespace inspect`."""

from __future__ import annotations

from typing import Annotated

import typer

from featurespace import arguments


def inspect(
    target: Annotated[str, typer.Argument(help="A checkpoint file or a model spec.", show_default=False)],
    other: Annotated[
        str | None, typer.Argument(help="A second checkpoint file: tell what differs.", show_default=False)
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="LABEL=PATH",
            help="Tell whether BatchNorm statistics are those of these images.",
            show_default=False,
        ),
    ] = None,
    config: arguments.ConfigFile = None,
    trust: arguments.Trust = False,
    json_output: arguments.Json = False,
) -> None:
    """Tell what a checkpoint or model is: its layers, and what of the file matches."""
    from featurespace.inspection import inspect_target

    values, text = inspect_target(target, other, data=data, trust=trust)
    if json_output:
        import json

        typer.echo(json.dumps(values, indent=2, default=str))
        return
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 240  # a pipe or a file: names stay whole
    console.print(text)
