"""What finetuning changed: one analysis of each start with all that was finetuned from it for a task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from featurespace import files
from featurespace.models.specs import parse_model_spec
from featurespace.studies.cells import Cell
from featurespace.studies.gathering import task_of
from featurespace.studies.settings import StudyConfig
from featurespace.studies.starts import data_label
from featurespace.tables.freezing import METRIC, freezing_rows, freezing_table
from featurespace.training.settings import FinetuneConfig

START = "start"


class Change(NamedTuple):
    """An analysis of a start and the networks finetuned from it for a task.

    Parameters
    ----------
    pretraining, task : their names
    models : the cells by the labels that they have as models
    options : of `featurespace analyze`
    tables : what it found; empty before
    """

    pretraining: str
    task: str
    models: dict[str, Cell]
    options: dict[str, Any]
    tables: Mapping[str, pd.DataFrame] = {}


def planned_changes(config: StudyConfig, cells: Sequence[Cell], starts: Mapping[str, str]) -> list[Change]:
    """Return the analyses of each start with what was finetuned from it, task by task; seeds of one setting are an arm.

    Linear evaluation leaves the features as they are, so that its checkpoints take no part. Random weights follow the seed, so
    that of a random start those runs take part that have the seed of the analysis.
    """
    wanted = dict(config.analyze or {})
    tasks, pretrainings = wanted.pop("tasks", None), wanted.pop("pretrainings", None)
    found = []
    for pretraining, task, of in _grouped(cells):
        if (tasks and task not in tasks) or (pretrainings and pretraining not in pretrainings):
            continue
        start = parse_model_spec(starts[pretraining], bare=True)
        if start.source == "random":
            of = [cell for cell in of if cell.config.seed == wanted.get("seed", 0)]
        models = {_label(cell): cell for cell in of}
        if models:
            specs = [f"{START}={start.text.removeprefix(start.label + '=')}"]
            options = {
                "models": [*specs, *(f"{label}={cell.checkpoint}" for label, cell in models.items())],
                "data": [f"{data_label(of[0])}={of[0].config.data.partition('=')[2]}"], "control": False,  # type: ignore[union-attr]
                "out": config.out / "analyses" / files.safe_name(task) / files.safe_name(pretraining),
            }  # fmt: skip
            size = of[0].config.image_size
            found.append(
                Change(
                    pretraining, task, models, options | _arms(models) | ({"image_size": size} if size else {}) | wanted
                )
            )
    return found


def _arms(models: Mapping[str, Cell]) -> dict[str, list[str]]:
    arms: dict[str, list[str]] = {}
    for label, cell in models.items():
        arms.setdefault(label.removesuffix(f"seed{cell.config.seed}").strip("-") or "full", []).append(label)
    several = [f"{name}={','.join(members)}" for name, members in arms.items() if len(members) > 1]
    return {"arms": several} if len(several) > 1 else {}


def start_cka(changes: Sequence[Change]) -> pd.DataFrame:
    """Return, as a score of each start, the mean CKA of its last layer with that of the networks finetuned from it."""
    rows = []
    for change in changes:
        table = change.tables.get("similarity")
        if table is None:
            continue
        layers = change.tables["layers"]
        last = layers[layers["model"] == START].sort_values("depth")["layer"].iloc[-1]
        of = table[(table["metric"] == METRIC) & (table["layer_a"] == last) & (table["layer_b"] == last)]
        of = of[(of["model_a"] == START) & of["model_b"].isin(change.models)]
        tasks = of["model_b"].map(lambda label, change=change: task_of(change.models[label]))
        rows += [
            {"task": task, "pretraining": change.pretraining, "score": "CKA to the start", "value": each.mean()}
            for task, each in of.groupby(tasks)["value"]
        ]
    return pd.DataFrame(rows, columns=["task", "pretraining", "score", "value"])


def freezing(changes: Sequence[Change]) -> pd.DataFrame:
    """Return the table ``freezing`` of the plain finetunings, whole data and no layer held."""
    rows = []
    for change in changes:
        plain = {label: str(cell.config.seed) for label, cell in change.models.items() if task_of(cell) == change.task}
        if {"similarity", "probe", "differences"} <= set(change.tables):
            rows += freezing_rows(change.task, change.pretraining, START, plain, change.tables)
    return freezing_table(rows)


def frozen_results(runs: pd.DataFrame, cells: Sequence[Cell], metric: str) -> pd.DataFrame:
    """Return task, pretraining, layer and the results of the runs that held a layer, beside those that held none."""
    held = {(cell.task, str(cell.config.pretraining), task_of(cell)): cell.config.freeze for cell in cells
            if isinstance(cell.config, FinetuneConfig) and cell.config.freeze}  # fmt: skip
    rows = []
    of_metric = runs[runs["metric"] == metric].drop_duplicates(["pretraining", "task", "run"])
    values = {key: each["value"].tolist() for key, each in of_metric.groupby(["task", "pretraining"])}
    for (task, pretraining, name), layer in held.items():
        rows.append({"task": task, "pretraining": pretraining, "layer": layer, "held": values.get((name, pretraining), []),
                     "full": values.get((task, pretraining), [])})  # fmt: skip
    return pd.DataFrame(rows, columns=["task", "pretraining", "layer", "held", "full"])


def _grouped(cells: Sequence[Cell]) -> Iterator[tuple[str, str, list[Cell]]]:
    found: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        if isinstance(cell.config, FinetuneConfig) and cell.config.mode != "linear":
            found.setdefault((str(cell.config.pretraining), cell.task), []).append(cell)
    for (pretraining, task), of in found.items():
        yield pretraining, task, of


def _label(cell: Cell) -> str:
    name = cell.name.removeprefix(f"{cell.config.pretraining}-{cell.task}-")  # type: ignore[union-attr]
    return files.safe_name(name.replace("%", "pct"))
