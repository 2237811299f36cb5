"""The command `featurespace compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from featurespace import arguments

FILE = {"metavar": "FILE", "show_default": False, "parser": arguments.a_path}


def compare(
    out: Annotated[Path, arguments.path_option("--out", help="The directory to write.")],
    runs: Annotated[
        list[Path] | None,
        typer.Argument(help="Runs tables (CSV or Parquet): experiment, pretraining, task, run, metric, value.", **FILE),
    ] = None,
    adjust: Annotated[
        Path | None,
        arguments.path_option("--adjust", help="YAML file of pretrainings moved to another size.", metavar="FILE"),
    ] = None,
    curves: Annotated[
        list[Path] | None,
        typer.Option(
            "--curves", help="Curves table (.., epoch, metric, value): time to convergence; several times.", **FILE
        ),
    ] = None,
    losses: Annotated[
        list[Path] | None,
        typer.Option(
            "--losses", help="Table of training losses (.., epoch, step, samples, loss); several times.", **FILE
        ),
    ] = None,
    predictions: Annotated[
        list[str] | None,
        typer.Option(
            "--predictions",
            help="LABEL=predictions.csv, or with --masks LABEL=FOLDER of predicted masks: who knows what; 2 to 6 times.",
            show_default=False,
        ),
    ] = None,
    masks: Annotated[Path | None, arguments.path_option("--masks", help="Folder of the true masks.")] = None,
    images: Annotated[
        Path | None,
        arguments.path_option("--images", help="Folder of their images, for pictures of who is right where."),
    ] = None,
    task: Annotated[str | None, typer.Option(help="What the predictions are of, for tables and titles.")] = None,
    by_class: Annotated[
        bool | None, typer.Option("--by-class", help="Compare with models that are independent within each class.")
    ] = None,
    family: Annotated[
        str | None,
        typer.Option(
            help="Tests that Holm's correction counts together: those of one experiment,task,metric, or all.",
            autocompletion=arguments.completed(("experiment", "task", "metric", "all")),
        ),
    ] = None,
    alpha: Annotated[float | None, typer.Option(help="Size of the tests; intervals have level 1 - alpha.")] = None,
    margin: Annotated[
        float | None, typer.Option(help="A difference below this, in percent, would not matter (equivalence).")
    ] = None,
    power: Annotated[float | None, typer.Option(help="Power by which the runs needed are counted.")] = None,
    std: Annotated[
        str | None,
        typer.Option(
            help="Standard deviations: population (ddof 0) or sample (ddof 1).",
            autocompletion=arguments.completed(("population", "sample")),
        ),
    ] = None,
    draws: Annotated[int | None, typer.Option(help="Draws of the bootstrap.")] = None,
    lower_is_better: Annotated[
        list[str] | None, typer.Option(help="Pattern of metrics whose smaller values are better; several times.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    config: arguments.Config = None,
    quiet: arguments.Quiet = False,
    json_output: arguments.Json = False,
) -> None:
    """Compare pretrainings by the results of their runs: tests, intervals, sizes of effects, figures and a report."""
    import json

    from featurespace.comparing import compare as job
    from featurespace.errors import FeaturespaceError
    from featurespace.results.settings import CompareConfig
    from featurespace.yaml_files import read_checked

    given: dict[str, Any] = {
        "runs": runs, "adjust": adjust, "curves": curves, "losses": losses, "predictions": predictions,
        "masks": masks, "images": images, "task": task, "by_class": by_class, "family": family, "alpha": alpha, "margin": margin,
        "power": power, "std": std, "draws": draws, "lower_is_better": lower_is_better, "seed": seed,
    }  # fmt: skip
    options = read_checked(config, CompareConfig) if config else {}
    options |= {name: value for name, value in given.items() if value not in (None, [])}
    if "runs" not in options:
        raise FeaturespaceError("no runs given; name runs tables (CSV or Parquet) on the command line or in --config")
    run = job(options.pop("runs"), out, progress=arguments.make_progress(quiet=quiet or json_output), **options)
    if json_output:
        typer.echo(json.dumps({"report": str(run.report), **run.summary}, indent=2))
        return
    if not quiet:
        for finding in run.summary["findings"]:
            typer.echo(f"- {finding['sentence']}")
    typer.echo(f"Report: {run.report.resolve()}")
