"""What is measured on the features of each start of a study, before it is finetuned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import softmax
from torch import Tensor

from featurespace import files
from featurespace.metrics.transferability import h_score, leep, log_me
from featurespace.models.layers import POOLED
from featurespace.models.load import load_model
from featurespace.models.specs import parse_model_spec
from featurespace.run import Run
from featurespace.studies.cells import Cell
from featurespace.studies.gathering import task_of
from featurespace.studies.settings import StudyConfig
from featurespace.training.settings import FinetuneConfig

# A plain H-score says nothing of fewer images than features.
TRANSFERABILITY: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "log_me": log_me, "h_score (shrunk)": partial(h_score, shrinkage=True),
}  # fmt: skip
PROBES = {"linear": "linear probe", "knn": "kNN probe"}


def scored_data(config: StudyConfig, cells: Sequence[Cell]) -> dict[str, str]:
    """Return the label of each data set that starts are measured on, by its path.

    Those are the tasks whose images have one label each, by their names, and the images that the starts have seen.
    """
    found: dict[str, str] = {}
    for cell in cells:
        if isinstance(cell.config, FinetuneConfig) and cell.config.task == "multiclass":
            found.setdefault(cell.config.data.partition("=")[2], data_label(cell))
    seen = [path for paths in pretraining_data(config).values() for path in paths] if found else []
    for path in dict.fromkeys(seen):
        found.setdefault(path, f"seen-{len(found)}")
    return found


def start_models(cells: Sequence[Cell]) -> dict[str, str]:
    """Return a model spec for each pretraining that a cell starts from, labelled by its name."""
    by_name = {cell.name: cell for cell in cells}
    found: dict[str, str] = {}
    for cell in cells:
        if isinstance(cell.config, FinetuneConfig):
            name = str(cell.config.pretraining)
            parent = by_name.get(cell.parent or "")
            found[name] = f"{files.safe_name(name)}={parent.checkpoint}" if parent else cell.config.model
    return found


def start_options(config: StudyConfig) -> dict[str, Any]:
    """Return the options of `analyze` over the starts, of which the last layer counts."""
    size = config.defaults.get("image_size")
    return {"only": "probe,gap", "control": False, "layers": POOLED} | ({"image_size": size} if size else {})


def pretraining_data(config: StudyConfig) -> dict[str, list[str]]:
    """Return the paths of the images that each pretraining has seen, those of its parents included; given ones as given."""
    found = {}
    for name in config.pretrainings:
        paths: list[str] = []
        parent: str | None = name
        while parent in config.pretrainings:
            given = config.pretrainings[str(parent)]
            data = (given.train or {}).get("data", given.data)
            paths += [each.partition("=")[2] for each in ([data] if isinstance(data, str) else data)]
            parent = (given.train or {}).get("model")
        found[name] = list(dict.fromkeys(paths))
    return found


def start_scores(run: Run, config: StudyConfig, cells: Sequence[Cell]) -> pd.DataFrame:
    """Return task, pretraining, score and value of each start's last layer in the analysis of the starts.

    Each way a task was trained has its rows. Where a score has no value, ``reason`` tells why.
    """
    data, starts, seen = scored_data(config, cells), start_models(cells), pretraining_data(config)
    own: dict[tuple[str, str], list[dict[str, Any]]] = {}
    rows = []
    for cell in cells:
        if not isinstance(cell.config, FinetuneConfig) or cell.config.task != "multiclass":
            continue
        pretraining, label = str(cell.config.pretraining), data[cell.config.data.partition("=")[2]]
        model = files.safe_name(pretraining)
        if (model, label) not in own:
            close = _closeness(run, model, label, [data[each] for each in seen[pretraining]])
            values = {**_probe_scores(run, model, label), "closeness to its images (-MMD²)": close,
                      "leep": _leep(run, starts[pretraining], label)}  # fmt: skip
            known = [{"score": score, "value": value} for score, value in values.items() if value is not None]
            own[model, label] = known + _transferability(run, model, label)
        rows += [{"task": task_of(cell), "pretraining": pretraining, **each} for each in own[model, label]]
    return pd.DataFrame(rows).drop_duplicates(["task", "pretraining", "score"], ignore_index=True)


def _probe_scores(run: Run, model: str, data: str) -> dict[str, float | None]:
    of = run.tables["probe"]
    of = of[(of["model"] == model) & (of["layer"] == _last_layer(run, model)) & (of["data"] == data)]
    of = of[(of["metric"] == "accuracy") & of["probe"].isin(PROBES)]
    return {PROBES[probe]: float(value) for probe, value in zip(of["probe"], of["value"])}


def _transferability(run: Run, model: str, data: str) -> list[dict[str, Any]]:
    store = run.features(model, data)
    labels = store.samples["label"].fillna("").to_numpy(str)
    X = np.asarray(store[_last_layer(run, model)])[labels != ""]
    found = []
    for score, measure in TRANSFERABILITY.items():
        try:
            found.append({"score": score, "value": measure(X, labels[labels != ""])})
        except ValueError as error:
            found.append({"score": score, "value": np.nan, "reason": str(error).removeprefix("X ")})
    return found


def _closeness(run: Run, model: str, data: str, seen: Sequence[str]) -> float | None:
    """Return minus the least MMD² between a task's images and those that a start has seen; 0 where they are the same."""
    if data in seen:
        return 0.0
    if not seen:
        return None
    gap = run.tables["domain_gap"]
    of = gap[(gap["metric"] == "mmd2") & (gap["model"] == model) & (gap["layer"] == _last_layer(run, model))]
    pairs = of[((of["data_a"] == data) & of["data_b"].isin(seen)) | ((of["data_b"] == data) & of["data_a"].isin(seen))]
    return -float(pairs["value"].min()) if len(pairs) else None


def _leep(run: Run, start: str, data: str) -> float | None:
    """Return LEEP where the start's checkpoint has a linear classifier of its pooled features."""
    spec = parse_model_spec(start, bare=True)
    store = run.features(spec.label, data)
    weight, bias = _linear(load_model(spec).head)
    if weight is None or POOLED not in store or store[POOLED].shape[1] != weight.shape[1]:
        return None
    labels = store.samples["label"].fillna("").to_numpy(str)
    rows = labels != ""
    scores = np.asarray(store[POOLED][rows], dtype=float) @ weight.T + bias
    return leep(softmax(scores, axis=1), labels[rows])


def _linear(head: Mapping[str, Tensor]) -> tuple[np.ndarray | None, np.ndarray | float]:
    matrices = [(name, value) for name, value in head.items() if value.ndim == 2 and len(value) > 1]
    if len(matrices) != 1:
        return None, 0.0
    name, weight = matrices[0]
    bias = head.get(name.removesuffix("weight") + "bias")
    return weight.double().numpy(), 0.0 if bias is None else bias.double().numpy()


def _last_layer(run: Run, model: str) -> str:
    layers = run.tables["layers"]
    return str(layers[layers["model"] == model].sort_values("depth")["layer"].iloc[-1])


def data_label(cell: Cell) -> str:
    """Return the task's name without what was trained how, as a label of data."""
    return files.safe_name(cell.task)
