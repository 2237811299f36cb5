"""The command line: parse, call one job, print."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from featurespace import arguments, cli_compare, cli_inspect, cli_leakage, cli_study, cli_train, distributed, memory
from featurespace.errors import FeaturespaceError, counted

app = typer.Typer(
    name="featurespace",
    help="What changed between two vision checkpoints, with an interval and n on every number.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


app.add_typer(cli_train.app, name="train")
app.command()(cli_compare.compare)
app.command()(cli_leakage.leakage)
app.command()(cli_study.study)
app.command()(cli_inspect.inspect)


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
    models: arguments.Models = None, data: arguments.Data = None, out: arguments.Out = None,
    into: arguments.Into = None, layers: arguments.Layers = None, pool: arguments.Pool = None,
    only: arguments.Only = None, limit: arguments.Limit = None, image_size: arguments.ImageSize = None,
    batch_size: arguments.BatchSize = None, precision: arguments.Precision = None, device: arguments.Device = None,
    threads: arguments.Threads = None, seed: arguments.Seed = None, on_bad_image: arguments.OnBadImage = None,
    measures: arguments.Measures = None, distances: arguments.Distances = None,
    properties: arguments.Properties = None, arms: arguments.Arms = None,
    steps: arguments.Steps = None, columns: arguments.Columns = None, pictures: arguments.Pictures = None,
    control: arguments.Control = None, store: arguments.Store = None, config: arguments.Config = None,
    save_config: arguments.SaveConfig = None,
    trust: arguments.Trust = False, dry_run: arguments.DryRun = False, quiet: arguments.Quiet = False,
    verbose: arguments.Verbose = False, json_output: arguments.Json = False,
) -> None:  # fmt: skip
    """Compare checkpoints on images: similarity, probes, domain gap, geometry, embedding, figures and a report."""
    from featurespace import files
    from featurespace.analyze import analyze as job
    from featurespace.analyze import resolve
    from featurespace.yaml_files import to_yaml

    given = {
        "models": models, "data": data, "layers": layers, "pool": pool, "only": only, "limit": limit,
        "image_size": image_size, "batch_size": batch_size, "precision": precision, "device": device,
        "threads": threads, "seed": seed, "on_bad_image": on_bad_image, "measures": measures,
        "distances": distances, "properties": properties, "arms": arms, "steps": steps, "columns": columns,
        "pictures": pictures, "control": control, "store": store,
    }  # fmt: skip
    options = arguments.collect(given, config, needed=() if into else ("models", "data"))
    options |= {"out": out, "into": into}
    if save_config:
        arguments.refuse_foreign_file(save_config)
        files.write_text(save_config, to_yaml(resolve(**options)[0]))
    options["trust"] = trust  # no option of a configuration
    if dry_run:
        if distributed.rank() == 0:
            _print_plan(options, json_output=json_output, quiet=quiet)
        return
    run = job(**options, progress=arguments.make_progress(quiet=quiet, verbose=verbose))
    _print_run(run, json_output=json_output, quiet=quiet)


@app.command()
def extract(
    out: Annotated[Path, arguments.path_option("--out", help="The run directory.")],
    models: arguments.Models = None, data: arguments.Data = None, layers: arguments.Layers = None,
    pool: arguments.Pool = None, limit: arguments.Limit = None, image_size: arguments.ImageSize = None,
    batch_size: arguments.BatchSize = None, precision: arguments.Precision = None, device: arguments.Device = None,
    threads: arguments.Threads = None, seed: arguments.Seed = None, on_bad_image: arguments.OnBadImage = None,
    columns: arguments.Columns = None, control: arguments.Control = None, config: arguments.Config = None,
    trust: arguments.Trust = False,
    quiet: arguments.Quiet = False, verbose: arguments.Verbose = False, json_output: arguments.Json = False,
) -> None:  # fmt: skip
    """Write the features of models on data sets, without the analysis; `analyze` goes on from there."""
    from featurespace.extraction import extract as job

    given = {
        "models": models, "data": data, "layers": layers, "pool": pool, "limit": limit, "image_size": image_size,
        "batch_size": batch_size, "precision": precision, "device": device, "threads": threads, "seed": seed,
        "on_bad_image": on_bad_image, "columns": columns, "control": control,
    }  # fmt: skip
    options = arguments.collect(given, config, needed=("models", "data"))
    run = job(**options, out=out, trust=trust, progress=arguments.make_progress(quiet=quiet, verbose=verbose))
    if distributed.rank():
        return
    facts = [
        {"path": str(store.path), "model": store.manifest["model"], "data": store.manifest["data"],
         "images": store.rows_done, "layers": {layer: store[layer].shape[1] for layer in store}}
        for store in run.stores()
    ]  # fmt: skip
    if json_output:
        _print_json(facts)
        return
    for each in facts:
        layers_text = (
            f"{counted(len(each['layers']), 'layer')}, {counted(sum(each['layers'].values()), 'value')} an image"
        )
        typer.echo(f"{each['path']}: {counted(each['images'], 'image')}, {layers_text}")


@app.command()
def export(
    directory: arguments.Directory,
    form: Annotated[
        str,
        typer.Option(
            "--format", help="parquet, csv or hdf5.", autocompletion=arguments.completed(("parquet", "csv", "hdf5"))
        ),
    ] = "parquet",
    out: Annotated[
        Path | None, arguments.path_option("--out", help="Directory for the files; by default export/ in DIR.")
    ] = None,
    model: Annotated[list[str] | None, typer.Option("--model", help="Only this model; several times.")] = None,
    data: Annotated[list[str] | None, typer.Option("--data", help="Only this data set; several times.")] = None,
    layer: Annotated[list[str] | None, typer.Option("--layer", help="Only this layer; several times.")] = None,
    config: arguments.ConfigFile = None,
    quiet: arguments.Quiet = False,
) -> None:
    """Write the features of a run for other programs: one Parquet with vectors, CSV, or HDF5."""
    from featurespace.exporting import export as job

    chosen = {"models": model or (), "data": data or (), "layers": layer or ()}
    for file in job(directory, form=form, out=out, **chosen, progress=arguments.make_progress(quiet=quiet)):
        typer.echo(file)


@app.command()
def index(
    data: Annotated[
        str, typer.Argument(help="LABEL=PATH of a folder of images or volumes, or of a manifest.", show_default=False)
    ],
    out: Annotated[Path, arguments.path_option("--out", help="The manifest, .parquet or .csv.", metavar="FILE")],
    config: arguments.ConfigFile = None,
    quiet: arguments.Quiet = False,
) -> None:
    """Write a manifest of a data set, so that later commands need not walk its folders."""
    from featurespace.device import available_cores
    from featurespace.indexing import index as job

    typer.echo(job(data, out, processes=available_cores(), progress=arguments.make_progress(quiet=quiet)))


@app.command()
def demo(
    out: Annotated[Path, arguments.path_option("--out", help="The run directory.")] = Path("runs/demo"),
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    config: arguments.ConfigFile = None,
    quiet: arguments.Quiet = False,
) -> None:
    """Run the main job on weights and images that come with installed packages; a few minutes on two cores."""
    from featurespace.demo import demo as job

    run = job(out, seed=seed, progress=arguments.make_progress(quiet=quiet))
    _print_run(run, json_output=False, quiet=quiet)


@app.command()
def report(
    directory: arguments.Directory,
    config: arguments.ConfigFile = None,
) -> None:
    """Write the report of a run again, from its tables and figures."""
    from featurespace.report.write import write_report
    from featurespace.run import load

    run = load(directory)
    with run.locked():
        run.check_tables()
        write_report(run)
    typer.echo(run.report)


@app.command()
def figures(
    directory: arguments.Directory,
    config: arguments.ConfigFile = None,
) -> None:
    """Draw the figures of a run again, from its tables."""
    from featurespace.report.write import draw_figures
    from featurespace.run import load

    run = load(directory)
    with run.locked():
        run.check_tables()
        names = draw_figures(run)
    for name in names:
        typer.echo(run.figure_path(name))


@app.command()
def verify(
    directory: arguments.Directory,
    config: arguments.ConfigFile = None,
) -> None:
    """Read everything a run wrote and compare it with its hashes; the first file that differs is named."""
    from featurespace.run import load

    for name in load(directory).verify():
        typer.echo(f"ok {name}")


def _print_plan(options: dict[str, Any], *, json_output: bool, quiet: bool) -> None:
    from dataclasses import asdict

    from featurespace.analyze import plan_analysis
    from featurespace.plan import in_bytes

    plan = plan_analysis(**options, progress=arguments.make_progress(quiet=quiet or json_output))
    if json_output:
        _print_json(asdict(plan))
        return
    for name, count in plan.images.items():
        typer.echo(f"data {name}: {counted(count, 'image')}")
    for model in plan.models:
        speed = f"{model.images_per_second:,.0f} images/s"
        typer.echo(
            f"model {model.label}: {counted(model.layers, 'layer')}, {counted(model.width, 'value')} an image, {speed}"
        )
    typer.echo(f"features: {in_bytes(plan.disk_bytes)} on disk ({in_bytes(plan.free_bytes)} free)")
    typer.echo(
        f"statistics: {in_bytes(plan.memory_bytes)} of memory for the layers of one data set, or the weights of one layer"
    )
    typer.echo(f"forward passes: about {plan.seconds:,.0f} s; statistics and figures come on top")


def _print_run(run: Any, *, json_output: bool, quiet: bool) -> None:
    if distributed.rank():
        return
    if json_output:
        _print_json({"report": str(run.report), **run.summary})
        return
    if not quiet:
        from featurespace.report.findings import Finding, in_short

        found = [Finding(**each) for each in run.summary["findings"]]
        told = in_short(found)
        for finding in told:
            typer.echo(f"- {finding.sentence}")
        if len(told) < len(found):
            typer.echo(f"{counted(len(found) - len(told), 'more sentence')} in the report")
    typer.echo(f"Report: {run.report.resolve()}")


def _print_json(value: Any) -> None:
    import json

    typer.echo(json.dumps(value, indent=2, default=str))


def main() -> None:
    """Run the command line; exit code 2 for what the user can repair, 1 for a bug of ours, 130 for Ctrl-C, 143 for SIGTERM."""
    from featurespace.interrupts import ends_on_signals

    with ends_on_signals():
        try:
            app()
        except distributed.Elsewhere:
            sys.exit(2)
        except FeaturespaceError as error:
            from rich.console import Console
            from rich.text import Text

            Console(stderr=True, highlight=False, soft_wrap=True).print(Text.assemble(("error:", "red"), f" {error}"))
            sys.exit(2)
        except Exception as error:
            if memory.out_of_memory(error):  # there may be none left to import rich
                sys.stderr.write(f"error: {memory.told(error)}\n")
                sys.exit(2)
            from featurespace.bug_reports import write_bug_report

            typer.echo(f"error: {write_bug_report(error)}", err=True)
            sys.exit(1)
