"""The command `featurespace leakage`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from featurespace import arguments


def leakage(
    data: Annotated[
        list[str],
        typer.Argument(help="LABEL=PATH of each data set; of one with splits, these are compared.", show_default=False),
    ],
    out: Annotated[Path | None, arguments.path_option("--out", help="Directory for the tables as CSV.")] = None,
    config: arguments.ConfigFile = None,
    quiet: arguments.Quiet = False,
    json_output: arguments.Json = False,
) -> None:
    """Tell what data sets or splits share: patients, studies, images that are identical or look alike."""
    import json

    from featurespace.overlap import leakage as job
    from featurespace.tables.leakage import leakage_sentences

    tables = job(data, out, progress=arguments.make_progress(quiet=quiet or json_output))
    if json_output:
        typer.echo(
            json.dumps({name: json.loads(table.to_json(orient="records")) for name, table in tables.items()}, indent=2)
        )
        return
    for sentence, _ in leakage_sentences(tables["leakage"]):
        typer.echo(sentence)
