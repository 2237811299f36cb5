"""The cells of a study: what each trains, from which parents, and the folder that is its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from featurespace import files
from featurespace.errors import FeaturespaceError, unknown
from featurespace.models.specs import parse_model_spec
from featurespace.studies.settings import Design, StudyConfig
from featurespace.training.directory import CHECKPOINT
from featurespace.training.settings import FinetuneConfig, PretrainConfig
from featurespace.yaml_files import checked

NAMING = {"model", "experiment", "pretraining", "run"}  # words of a training that change no number
TRAINING = "training"
FACTORS = ("fraction", "mode", "noise", "freeze", "seed")
HASH = 8  # characters of it in a folder's name


@dataclass(frozen=True)
class Cell:
    """One training of a study.

    Parameters
    ----------
    name : what it is, readable, and unique in the study
    kind : ``"pretrain"`` or ``"finetune"``
    config : the training's configuration, its directory included
    key : hash of all that defines it: configuration, parents, and manifests
    parent : name of the cell whose checkpoint it starts from; None where it starts from no cell of the study
    task : name of the task that it is finetuned for
    experiments : names in the runs table; a cell of two parts of the grid is trained once
    """

    name: str
    kind: str
    config: PretrainConfig | FinetuneConfig
    key: str
    parent: str | None = None
    task: str = ""
    experiments: tuple[str, ...] = field(default=(), compare=False)

    @property
    def folder(self) -> Path:
        """Its folder: the training, its log, and what became of it."""
        return self.config.out.parent

    @property
    def training(self) -> Path:
        """Where it is trained."""
        return self.config.out

    @property
    def checkpoint(self) -> Path:
        """What it writes."""
        return self.training / CHECKPOINT


def make_cells(config: StudyConfig) -> list[Cell]:
    """Return the cells of a study, parents before their children, each once.

    Raises
    ------
    FeaturespaceError
        a name is not known, pretrainings are each other's parents, an option is out of range, or two cells have one name
    """
    cells: dict[str, Cell] = {}
    for name in _needed(config):
        cell = _pretraining(config, name, cells)
        if cell:
            cells[cell.name] = cell
    for design in config.grid:
        for name, task, *values in _combinations(config, design):
            cell = _finetuning(config, cells, (name, task), dict(zip(FACTORS, values)))
            held = cells.get(cell.name)
            if held and held.key != cell.key:
                raise FeaturespaceError(
                    f"two cells are called {cell.name!r} ({held.folder.name} and {cell.folder.name}); rename one"
                )
            experiments = (*(held.experiments if held else ()), design.experiment)
            cells[cell.name] = replace(cell, experiments=tuple(dict.fromkeys(experiments)))
    return list(cells.values())


def _needed(config: StudyConfig) -> list[str]:
    """Return the pretrainings that the grid needs and their parents, parents first."""
    names: list[str] = []
    for design in config.grid:
        for name in _chosen(design.pretraining, config.pretrainings, "pretraining"):
            chain: list[str] = []
            parent: str | None = name
            while parent is not None:
                if parent in chain:
                    circle = " <- ".join([*chain[chain.index(parent) :], parent])
                    raise FeaturespaceError(
                        f"pretrainings are each other's parents: {circle}; one must start from a checkpoint"
                    )
                chain.append(parent)
                parent = _parent(config, parent)
            names += [each for each in reversed(chain) if each not in names]
    return names


def _parent(config: StudyConfig, name: str) -> str | None:
    model = (config.pretrainings[name].train or {}).get("model")
    return model if model in config.pretrainings else None


def _chosen(names: tuple[str, ...], known: Mapping[str, Any], kind: str) -> list[str]:
    if names == ("all",):
        return list(known)
    for name in names:
        if name not in known:
            raise unknown(kind, name, [*known, "all"], where="the study")
    return list(names)


def _combinations(config: StudyConfig, design: Design) -> Iterator[tuple[Any, ...]]:
    """Return pretraining, task, and a value of each of FACTORS."""
    factors = (design.fraction, design.mode, design.noise, design.freeze)
    if design.star:
        base = tuple(each[0] for each in factors)
        varied = [
            (*base[:place], value, *base[place + 1 :]) for place, values in enumerate(factors) for value in values[1:]
        ]
        settings: list[tuple[Any, ...]] = [base, *varied]
    else:
        settings = list(product(*factors))
    names = _chosen(design.pretraining, config.pretrainings, "pretraining")
    tasks = _chosen(design.task, config.tasks, "task")
    for name, task, setting, seed in product(names, tasks, settings, design.seed):
        yield (name, task, *setting, seed)


def _pretraining(config: StudyConfig, name: str, cells: Mapping[str, Cell]) -> Cell | None:
    """Return the cell of a pretraining, or None where its checkpoint is there."""
    given = config.pretrainings[name]
    if given.train is None:
        assert given.model is not None  # the schema sees to it
        parse_model_spec(given.model, bare=True)
        return None
    parent = cells.get(_cell_of(_parent(config, name)))
    model = given.train.get("model") if parent is None else str(parent.checkpoint)
    if model in config.pretrainings:  # a checkpoint that is there
        model = config.pretrainings[str(model)].model
    values = config.of(PretrainConfig, given.train) | {"model": model, "out": config.out}
    trained = checked(PretrainConfig, {key: value for key, value in values.items() if value is not None})
    return _cell(config, _cell_of(name), "pretrain", trained, parent)


def _finetuning(
    config: StudyConfig, cells: Mapping[str, Cell], names: tuple[str, str], setting: dict[str, Any]
) -> Cell:
    pretraining, task = names
    parent = cells.get(_cell_of(pretraining))
    start = str(parent.checkpoint) if parent else _bare(str(config.pretrainings[pretraining].model))
    values = config.of(FinetuneConfig, config.tasks[task]) | setting
    values |= {"model": f"{files.safe_name(pretraining)}={start}", "pretraining": pretraining, "out": config.out}
    trained = checked(FinetuneConfig, values)
    return replace(_cell(config, _name(names, trained), "finetune", trained, parent), task=task)


def _name(names: tuple[str, str], config: FinetuneConfig) -> str:
    parts = [*names]
    if config.fraction != 1:
        parts.append(f"{100 * config.fraction:g}%")
    if config.mode != "full":
        parts.append(config.mode)
    if config.noise:
        parts.append(f"{config.noise.kind}{config.noise.sigma:g}-{config.noise.at}")
    if config.freeze:
        parts.append(f"freeze-{config.freeze}")
    return "-".join([*parts, f"seed{config.seed}"])


def _bare(spec: str) -> str:
    """Return a model spec without its label."""
    label = parse_model_spec(spec, bare=True).label
    return spec.removeprefix(f"{label}=")


def _content(spec: str) -> str:
    """Return what a model spec stands for: the hash of its file, where there is one."""
    found = parse_model_spec(spec, bare=True)
    weights = files.hash_file(found.path) if found.path and found.path.is_file() else ""
    return f"{_bare(spec)} {weights}" if not weights else f"{found.arch} {weights}"


def _cell_of(pretraining: str | None) -> str:
    return f"pretrain-{pretraining}"


def _cell(
    study: StudyConfig, name: str, kind: str, config: PretrainConfig | FinetuneConfig, parent: Cell | None
) -> Cell:
    """Return the cell with its key and folder; a manifest counts by its content."""
    defining = {key: value for key, value in config.identity().items() if key not in NAMING}
    specs = config.data if isinstance(config.data, tuple) else (config.data,)
    manifests = [Path(spec.partition("=")[2]).expanduser() for spec in specs]
    key = files.hash_value({
        "kind": kind, "config": defining, "model": parent.key if parent else _content(config.model),
        "manifests": [files.hash_file(each) if each.is_file() else None for each in manifests],
    })  # fmt: skip
    folder = study.out / "cells" / f"{files.safe_name(name.replace('%', 'pct'))}-{key[:HASH]}"
    return Cell(name, kind, config.model_copy(update={"out": folder / TRAINING}), key, parent.name if parent else None)
