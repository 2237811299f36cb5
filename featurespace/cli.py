"""The command line: parse, call one job, print."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from featurespace.errors import FeaturespaceError
from featurespace.options import ANALYZE

app = typer.Typer(
    name="featurespace",
    help="What changed between two vision checkpoints, with an interval and n on every number.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _option(name: str, *flags: str) -> Any:
    return typer.Option(*flags, help=ANALYZE[name].help)


Models = Annotated[
    list[str] | None,
    typer.Argument(
        help="Model specs: [LABEL=]ARCH@FILE, ARCH:pretrained, ARCH@random, a FILE that featurespace wrote, "
        "hf-hub:OWNER/NAME, local-dir:DIR, torchvision/NAME[@FILE], or a table of features (.npz, .csv, .parquet).",
        show_default=False,
    ),
]
Data = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        help="LABEL=PATH of a folder of images, an .npz file, or a .csv or .parquet manifest; may be given several times.",
        show_default=False,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only where the report is, and errors.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        from featurespace import __version__

        typer.echo(f"featurespace {__version__}")
        raise typer.Exit


@app.command()
def analyze(
    models: Models = None,
    data: Data = None,
    out: Annotated[Path | None, typer.Option("--out", help="The run directory.", show_default=False)] = None,
    into: Annotated[
        Path | None, typer.Option("--into", help="A run to add models or data sets to; computes only what is new.")
    ] = None,
    layers: Annotated[str | None, _option("layers")] = None,
    pool: Annotated[str | None, _option("pool")] = None,
    only: Annotated[str | None, _option("only")] = None,
    limit: Annotated[int | None, _option("limit")] = None,
    image_size: Annotated[int | None, _option("image_size")] = None,
    batch_size: Annotated[int | None, _option("batch_size")] = None,
    precision: Annotated[str | None, _option("precision")] = None,
    device: Annotated[str | None, _option("device")] = None,
    threads: Annotated[int | None, _option("threads")] = None,
    seed: Annotated[int | None, _option("seed")] = None,
    on_bad_image: Annotated[str | None, _option("on_bad_image")] = None,
    control: Annotated[bool | None, _option("control", "--control/--no-control")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file with options; flags override it.")] = None,
    save_config: Annotated[Path | None, typer.Option(help="Write the resolved configuration to this file.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what the run will cost, and write nothing.")] = False,
    quiet: Quiet = False,
    json_output: Json = False,
) -> None:
    """Compare checkpoints on images: similarity, probes, embedding, domain gap, figures and a report."""
    from featurespace import files
    from featurespace.analyze import analyze as job
    from featurespace.analyze import resolve
    from featurespace.config import read_config, to_yaml
    from featurespace.progress import Progress, RichProgress

    given = {
        "layers": layers, "pool": pool, "only": only, "limit": limit, "image_size": image_size, "batch_size": batch_size,
        "precision": precision, "device": device, "threads": threads, "seed": seed, "on_bad_image": on_bad_image,
        "control": control,
    }  # fmt: skip
    options = {
        **(read_config(config) if config else {}),
        **{name: value for name, value in given.items() if value is not None},
    }
    options |= {name: tuple(value) for name, value in (("models", models), ("data", data)) if value}
    for name, example in (("models", "resnet50@checkpoint.pth"), ("data", "--data xray=images/")):
        if not options.get(name) and not into:
            raise FeaturespaceError(f"no {name} given; name them on the command line, e.g. {example}, or in --config")
    options |= {"out": out, "into": into}
    if save_config:
        try:
            files.write_text(save_config, to_yaml(resolve(**options)[0]))
        except OSError as error:
            raise FeaturespaceError(f"--save-config {save_config} cannot be written ({error.strerror})") from error
    if dry_run:
        _print_plan(options, json_output=json_output, quiet=quiet)
        return
    run = job(**options, progress=Progress() if quiet else RichProgress())
    _print_run(run, json_output=json_output, quiet=quiet)


@app.command()
def inspect(
    target: Annotated[str, typer.Argument(help="A checkpoint file or a model spec.", show_default=False)],
    other: Annotated[
        str | None, typer.Argument(help="A second checkpoint file: tell what differs.", show_default=False)
    ] = None,
    json_output: Json = False,
) -> None:
    """Tell what a checkpoint or model is: its layers, and what of the file matches."""
    from featurespace.inspection import inspect_target

    values, text = inspect_target(target, other)
    if json_output:
        import json

        typer.echo(json.dumps(values, indent=2, default=str))
        return
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 240  # a pipe or a file: names stay whole
    console.print(text)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="The run directory.")] = Path("runs/demo"),
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Run the main job on weights and images that come with installed packages; a few minutes on two cores."""
    from featurespace.demo import demo as job
    from featurespace.progress import Progress, RichProgress

    run = job(out, seed=seed, progress=Progress() if quiet else RichProgress())
    _print_run(run, json_output=False, quiet=quiet)


@app.command()
def report(
    directory: Annotated[Path, typer.Argument(help="A run directory.", show_default=False)],
) -> None:
    """Write the report of a run again, from its tables and figures."""
    from featurespace.report.write import write_report
    from featurespace.run import load

    run = load(directory)
    write_report(run)
    typer.echo(run.report)


@app.command()
def figures(
    directory: Annotated[Path, typer.Argument(help="A run directory.", show_default=False)],
) -> None:
    """Draw the figures of a run again, from its tables."""
    from featurespace.analyze import draw_figures
    from featurespace.run import load

    run = load(directory)
    for name in draw_figures(run):
        typer.echo(run.figure_path(name))


@app.command()
def verify(
    directory: Annotated[Path, typer.Argument(help="A run directory.", show_default=False)],
) -> None:
    """Read everything a run holds and compare the features with their hashes."""
    from featurespace.run import load

    for name in load(directory).verify():
        typer.echo(f"ok {name}")


def _print_plan(options: dict[str, Any], *, json_output: bool, quiet: bool) -> None:
    from dataclasses import asdict

    from featurespace.analyze import plan_analysis
    from featurespace.plan import in_bytes
    from featurespace.progress import Progress, RichProgress

    plan = plan_analysis(**options, progress=Progress() if quiet or json_output else RichProgress())
    if json_output:
        import json

        typer.echo(json.dumps(asdict(plan), indent=2))
        return
    for name, count in plan.images.items():
        typer.echo(f"data {name}: {count:,} images")
    for model in plan.models:
        speed = f"{model.images_per_second:,.0f} images/s"
        typer.echo(f"model {model.label}: {model.layers} layers, {model.width:,} values an image, {speed}")
    typer.echo(f"features: {in_bytes(plan.disk_bytes)} on disk ({in_bytes(plan.free_bytes)} free)")
    typer.echo(f"statistics: {in_bytes(plan.memory_bytes)} of memory for the layers of one data set")
    typer.echo(f"forward passes: about {plan.seconds:,.0f} s; statistics and figures come on top")


def _print_run(run: Any, *, json_output: bool, quiet: bool) -> None:
    if json_output:
        import json

        typer.echo(json.dumps({"report": str(run.report), **run.summary}, indent=2))
        return
    if not quiet:
        for finding in run.summary["findings"]:
            typer.echo(f"- {finding['sentence']}")
    typer.echo(f"Report: {run.report.resolve()}")


def _write_bug_report(error: Exception) -> str:
    """Write what a bug report needs into the temporary folder, and return what to tell the user."""
    import json
    import os
    import tempfile
    import traceback

    from featurespace.provenance import command_line, installed_versions, machine

    facts = {"command": command_line(), "versions": installed_versions(), "machine": machine()}
    handle, path = tempfile.mkstemp(prefix="featurespace-bug-", suffix=".txt")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(json.dumps(facts, indent=2) + "\n\n" + "".join(traceback.format_exception(error)))
    return f"this is a bug of featurespace ({type(error).__name__}: {error}); please report it with the file {path}"


def main() -> None:
    """Run the command line; exit code 2 for what the user can repair, 1 for a bug of ours, 130 for Ctrl-C."""
    try:
        app()
    except FeaturespaceError as error:
        from rich.console import Console
        from rich.markup import escape

        Console(stderr=True, highlight=False, soft_wrap=True).print(f"[red]error:[/red] {escape(str(error))}")
        sys.exit(2)
    except Exception as error:
        typer.echo(f"error: {_write_bug_report(error)}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command goes on where it stopped", err=True)
        sys.exit(130)
