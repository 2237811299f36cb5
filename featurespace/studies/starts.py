"""What is measured on the features of each start of a study, before it is finetuned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from featurespace import files
from featurespace.run import Run
from featurespace.studies.cells import Cell
from featurespace.studies.gathering import task_of
from featurespace.studies.settings import StudyConfig
from featurespace.training.settings import FinetuneConfig

PROPERTIES = ("log_me", "h_score")
PROBES = {"linear": "linear probe", "knn": "kNN probe"}


def scored_tasks(cells: Sequence[Cell]) -> dict[str, str]:
    """Return the data specs, labelled by the task, of the tasks whose images have one label each."""
    found: dict[str, str] = {}
    for cell in cells:
        config = cell.config
        if isinstance(config, FinetuneConfig) and config.task == "multiclass":
            found.setdefault(_label(cell), f"{_label(cell)}={config.data.partition('=')[2]}")
    return found


def start_models(config: StudyConfig, cells: Sequence[Cell]) -> list[str]:
    """Return a model spec for each pretraining that a cell starts from, labelled by its name."""
    by_name = {cell.name: cell for cell in cells}
    found: dict[str, str] = {}
    for cell in cells:
        if isinstance(cell.config, FinetuneConfig):
            name = files.safe_name(str(cell.config.pretraining))
            parent = by_name.get(cell.parent or "")
            found[name] = f"{name}={parent.checkpoint}" if parent else cell.config.model
    return list(found.values())


def start_options(config: StudyConfig) -> dict[str, Any]:
    """Return the options of `analyze` over the starts."""
    size = config.defaults.get("image_size")
    return {"only": "probe,geometry", "properties": PROPERTIES, "control": False} | (
        {"image_size": size} if size else {}
    )


def start_scores(run: Run, cells: Sequence[Cell]) -> pd.DataFrame:
    """Return task, pretraining, score and value of each start's last layer, for each way a task was trained."""
    probe, geometry = run.tables["probe"], run.tables["geometry"]
    layers = run.tables["layers"].sort_values("depth").groupby("model", sort=False)["layer"].last()
    rows = []
    for cell in cells:
        if not isinstance(cell.config, FinetuneConfig) or cell.config.task != "multiclass":
            continue
        model = files.safe_name(str(cell.config.pretraining))
        key = {"task": task_of(cell), "pretraining": str(cell.config.pretraining)}
        for table, column, names in ((probe, "probe", PROBES), (geometry, "metric", dict(zip(PROPERTIES, PROPERTIES)))):
            of = table[(table["model"] == model) & (table["layer"] == layers[model]) & (table["data"] == _label(cell))]
            of = of[of["metric"] == "accuracy"] if column == "probe" else of
            rows += [
                key | {"score": names[row[column]], "value": row["value"]}
                for _, row in of.iterrows()
                if row[column] in names
            ]
    return pd.DataFrame(rows).drop_duplicates(["task", "pretraining", "score"], ignore_index=True)


def _label(cell: Cell) -> str:
    """Return the task's name without what was trained how, as a label of data."""
    return files.safe_name(cell.task)
