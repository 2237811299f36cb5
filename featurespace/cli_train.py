"""The command line of training: parse, call one job, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from featurespace import arguments

app = typer.Typer(help="Make checkpoints: pretrain or finetune a network.", no_args_is_help=True)

File = Annotated[
    Path, typer.Argument(help="A YAML file.", show_default=False, parser=arguments.a_path, metavar="CONFIG")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="KEY=VALUE instead of what the file says; several times.", show_default=False),
]


@app.command()
def pretrain(
    config: File, changes: Set = None, dry_run: arguments.DryRun = False, quiet: arguments.Quiet = False,
    verbose: arguments.Verbose = False, json_output: arguments.Json = False,
) -> None:  # fmt: skip
    """Pretrain a network on images by a method such as SimCLR, and write its checkpoint."""
    from dataclasses import asdict

    from featurespace.training.pretrain import plan_pretraining
    from featurespace.training.pretrain import pretrain as job
    from featurespace.training.settings import PretrainConfig
    from featurespace.yaml_files import checked, to_yaml, with_changes

    settings = checked(PretrainConfig, with_changes(config, PretrainConfig, changes or ()))
    progress = arguments.make_progress(quiet=quiet or json_output, verbose=verbose)
    if not dry_run:
        typer.echo(job(settings, progress=progress))
        return
    plan = plan_pretraining(settings, progress=progress)
    if json_output:
        import json

        typer.echo(json.dumps({"config": settings.model_dump(mode="json"), **asdict(plan)}, indent=2))
        return
    from featurespace.plan import in_bytes

    typer.echo(to_yaml(settings))
    typer.echo(f"{plan.images:,} images, {plan.epochs} epochs of {plan.steps:,} steps; {plan.parameters:,} parameters")
    typer.echo(f"decoded images: {in_bytes(plan.decoded_bytes)}, kept: {plan.kept}")
    typer.echo(
        f"memory of a device: {in_bytes(plan.weights_bytes)} for weights, gradients and optimizer, "
        f"{in_bytes(plan.activations_bytes)} for activations"
    )
