"""The command line's arguments that several commands share, made from the table of options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from featurespace import distributed
from featurespace.errors import FeaturespaceError
from featurespace.options import ANALYZE


def completed(choices: Sequence[str]) -> Callable[[str], list[str]]:
    """Return what completes an option in a shell: one of the choices, or another one after a comma."""

    def complete(incomplete: str) -> list[str]:
        begun, comma, word = incomplete.rpartition(",")
        return [f"{begun}{comma}{each}" for each in choices if each.startswith(word)]

    return complete


def _option(name: str, *flags: str) -> Any:
    choices = ANALYZE[name].choices
    return typer.Option(*flags, help=ANALYZE[name].help, autocompletion=completed(choices) if choices else None)


def a_path(text: str) -> Path:
    """Return a path as it was written, a leading ~ expanded; an empty one (an unset variable, say) is refused."""
    if not str(text).strip():
        raise FeaturespaceError("a directory or file on the command line is empty; write . for the one you are in")
    return Path(text).expanduser()


def path_option(flag: str, *, help: str, metavar: str = "DIR") -> Any:
    """Return an option that is a path."""
    return typer.Option(flag, help=help, show_default=False, parser=a_path, metavar=metavar)


Models = Annotated[
    list[str] | None,
    typer.Argument(
        help="Model specs: [LABEL=]ARCH@FILE, ARCH:pretrained, ARCH@random, a FILE that featurespace wrote, "
        "hf-hub:OWNER/NAME, local-dir:DIR, torchvision/NAME, torchvision/NAME@FILE, or a table of features (.npz, .csv, .parquet).",
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
Out = Annotated[Path | None, path_option("--out", help="The run directory.")]
Into = Annotated[
    Path | None, path_option("--into", help="A run to add models or data sets to; only what is new is computed.")
]
Directory = Annotated[Path, typer.Argument(help="A run directory.", show_default=False, parser=a_path, metavar="DIR")]
Layers = Annotated[str | None, _option("layers")]
Pool = Annotated[str | None, _option("pool")]
Only = Annotated[str | None, _option("only")]
Measures = Annotated[str | None, _option("measures")]
Distances = Annotated[str | None, _option("distances")]
Properties = Annotated[str | None, _option("properties")]
Store = Annotated[bool | None, _option("store", "--store/--no-store")]
Limit = Annotated[int | None, _option("limit")]
ImageSize = Annotated[int | None, _option("image_size")]
BatchSize = Annotated[int | None, _option("batch_size")]
Precision = Annotated[str | None, _option("precision")]
Device = Annotated[str | None, _option("device")]
Threads = Annotated[int | None, _option("threads")]
Seed = Annotated[int | None, _option("seed")]
OnBadImage = Annotated[str | None, _option("on_bad_image")]
Arms = Annotated[list[str] | None, _option("arms")]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Run the code in checkpoints that cannot be read without it: only for files whose author you know.",
    ),
]
Steps = Annotated[str | None, _option("steps")]
Columns = Annotated[str | None, _option("columns")]
Pictures = Annotated[bool | None, _option("pictures", "--pictures/--no-pictures")]
Control = Annotated[bool | None, _option("control", "--control/--no-control")]
Config = Annotated[Path | None, typer.Option(help="YAML file with options; flags override it.")]
UNCONFIGURED = (
    "config",
    "trust",
    "quiet",
    "verbose",
    "json_output",
)  # they are about one call, and no part of what is done


def _take_from_file(context: typer.Context, file: Path | None) -> None:
    """Make the values of a YAML file the defaults of a command."""
    if file is None:
        return
    from featurespace.yaml_files import read_checked

    names, schema = _schema(context)
    context.default_map = {names[key]: value for key, value in read_checked(file, schema).items()}


def _schema(context: typer.Context) -> tuple[dict[str, str], Any]:
    """Return the parameters of a command by their keys in a file, and its schema: each option is written once."""
    from inspect import unwrap
    from typing import get_args, get_origin, get_type_hints

    from pydantic import BeforeValidator, ConfigDict, Field, create_model

    hints = get_type_hints(unwrap(context.command.callback)) if context.command.callback else {}
    names: dict[str, str] = {}
    fields: dict[str, Any] = {}
    for parameter in context.command.params:
        name = str(parameter.name)
        if name not in hints or name in UNCONFIGURED:
            continue
        kinds = (hints[name], *get_args(hints[name]))
        kind = str if Path in kinds else hints[name]
        if any(get_origin(each) is list for each in kinds):  # one text is a list of one
            kind = Annotated[kind, BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]
        key = max(parameter.opts, key=len).lstrip("-").replace("-", "_")
        names[key] = name
        fields[key] = (kind, Field(default=None, description=getattr(parameter, "help", None)))
    return names, create_model("Options", __config__=ConfigDict(extra="forbid", strict=True), **fields)


ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="YAML file with the same options, and arguments by their names; flags override it.",
        metavar="FILE",
        show_default=False,
        is_eager=True,
        expose_value=False,
        callback=_take_from_file,
    ),
]
SaveConfig = Annotated[
    Path | None, path_option("--save-config", help="Write the resolved configuration to this file.", metavar="FILE")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Tell what the run will cost, and write nothing.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the result, and errors.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Tell also what is used again, and what from.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def collect(given: dict[str, Any], config: Path | None, *, needed: tuple[str, ...]) -> dict[str, Any]:
    """Return the options of a configuration file, with those given on the command line over them.

    Raises
    ------
    FeaturespaceError
        the file cannot be read, or one of the ``needed`` (models, data) is given nowhere
    """
    from featurespace.config import AnalyzeConfig, read_config
    from featurespace.yaml_files import read_checked

    if config:
        read_checked(config, AnalyzeConfig)
    options = {
        **(read_config(config) if config else {}),
        **{name: value for name, value in given.items() if value not in (None, [])},
    }
    for name, example in (("models", "resnet50@checkpoint.pth"), ("data", "--data xray=images/")):
        if name in needed and not options.get(name):
            raise FeaturespaceError(f"no {name} given; name them on the command line, e.g. {example}, or in --config")
    return options


def refuse_foreign_file(path: Path) -> None:
    """Raise FeaturespaceError where a configuration would be written over a file that is none."""
    from featurespace.config import read_config

    if path.exists():
        try:
            read_config(path)
        except FeaturespaceError as error:
            raise FeaturespaceError(
                f"--save-config {path} is there already and no configuration of ours; choose another file"
            ) from error


def make_progress(*, quiet: bool, verbose: bool = False) -> Any:
    """Return what a job tells its progress to."""
    from featurespace.progress import Progress, RichProgress

    return Progress() if quiet or distributed.rank() else RichProgress(verbose=verbose)
