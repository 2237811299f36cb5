"""The command line of training: parse, call one job, print."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from featurespace import arguments
from featurespace.errors import counted

app = typer.Typer(help="Make checkpoints: pretrain or finetune a network.", no_args_is_help=True)

File = Annotated[
    Path, typer.Argument(help="A YAML file.", show_default=False, parser=arguments.a_path, metavar="CONFIG")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="KEY=VALUE instead of what the file says; several times.", show_default=False),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only tell sizes, steps, memory and the whole configuration.")]


@app.command()
def pretrain(
    config: File, changes: Set = None, trust: arguments.Trust = False, dry_run: DryRun = False,
    quiet: arguments.Quiet = False, verbose: arguments.Verbose = False, json_output: arguments.Json = False,
) -> None:  # fmt: skip
    """Pretrain a network on images by a method such as SimCLR, and write its checkpoint."""
    from featurespace.training.pretrain import plan_pretraining
    from featurespace.training.pretrain import pretrain as train
    from featurespace.training.settings import PretrainConfig

    progress = arguments.make_progress(quiet=quiet or json_output, verbose=verbose)
    job = partial(plan_pretraining if dry_run else train, trust=trust, progress=progress)
    _do(job, PretrainConfig, config, changes, json_output=json_output)


@app.command()
def finetune(
    config: File, changes: Set = None, trust: arguments.Trust = False, dry_run: DryRun = False,
    quiet: arguments.Quiet = False, verbose: arguments.Verbose = False, json_output: arguments.Json = False,
) -> None:  # fmt: skip
    """Finetune a network for a task, test it once, and write its checkpoint and its rows of the runs table."""
    from featurespace.training.finetune import finetune as train
    from featurespace.training.finetune import plan_finetuning
    from featurespace.training.settings import FinetuneConfig

    progress = arguments.make_progress(quiet=quiet or json_output, verbose=verbose)
    job = partial(plan_finetuning if dry_run else train, trust=trust, progress=progress)
    _do(job, FinetuneConfig, config, changes, json_output=json_output)


def _do(job: Callable[[Any], Any], schema: Any, config: Path, changes: list[str] | None, *, json_output: bool) -> None:
    """Call a job with the configuration of a file, and print the checkpoint it wrote or the plan it made."""
    import json
    from dataclasses import asdict

    from featurespace.yaml_files import checked, to_yaml, with_changes

    settings = checked(schema, with_changes(config, schema, changes or ()))
    result = job(settings)
    if isinstance(result, Path):
        typer.echo(json.dumps({"checkpoint": str(result)}) if json_output else result)
        return
    if json_output:
        typer.echo(json.dumps({"config": settings.model_dump(mode="json"), **asdict(result)}, indent=2))
        return
    from featurespace.plan import in_bytes

    typer.echo(to_yaml(settings))
    typer.echo(
        f"{counted(result.images, 'image')}, {counted(result.epochs, 'epoch')} of {counted(result.steps, 'step')}; "
        f"{counted(result.parameters, 'parameter')}; about {result.seconds / 60:,.1f} minutes of training by a timed step, "
        "without reading and testing images"
    )
    typer.echo(f"decoded images: {in_bytes(result.decoded_bytes)}, kept: {result.kept}")
    typer.echo(
        f"memory of a device: {in_bytes(result.weights_bytes)} for weights, gradients and optimizer, "
        f"{in_bytes(result.activations_bytes)} for activations"
    )
