"""How much of its filters a network keeps, and how much they differ among themselves: from the weights, without images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from featurespace import files
from featurespace.metrics.filters import PreparedFilters, prepare_filters, reuse_estimate
from featurespace.metrics.weights import uniqueness_estimate
from featurespace.progress import Progress, shortened
from featurespace.stats.arms import joined, sample_parts
from featurespace.stats.estimate import Estimate
from featurespace.stats.resampling import jackknife_variance
from featurespace.tables.memo import Memo, Result
from featurespace.tables.schema import WEIGHTS, interval_columns, validate

if TYPE_CHECKING:
    from featurespace.models.load import Model

REUSE, UNIQUENESS = "feature_reuse", "feature_uniqueness"
METRICS = {REUSE: False, f"{REUSE}_debiased": True, UNIQUENESS: False, f"{UNIQUENESS}_debiased": True}
"""Whether each metric is debiased."""
MOST_ROWS = 5120
"""Rows (out x h x w) of a layer beyond which it is left out, and said: a kernel of so many has 210 MB."""

Key = tuple[str, str, str, str]  # metric, model_a, model_b, layer
Found = dict[Key, tuple[Estimate, float]]  # value with interval, and standard deviation


def weights_table(
    models: Sequence[Model],
    *,
    controls: Mapping[str, str] | None = None,
    arms: Mapping[str, Sequence[str]] | None = None,
    memo: Memo | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Return feature reuse of every two models in each layer that they share, and feature uniqueness of each model's layers.

    Layers are convolutions and linear layers of one name and shape, with at most 5120 rows (out x h x w); larger ones are
    named in a message. Models are compared with each other, and each with its untrained control, which says what the measure
    is for weights that have nothing in common. Intervals are a jackknife over filters.

    Parameters
    ----------
    models : the networks, controls among them
    controls : label of a model -> label of its control
    arms : name of a way of training -> labels of its models; means over the models of an arm are rows of their own
    memo : where results are remembered; by default nowhere
    progress : where to tell what is left out

    Returns
    -------
    DataFrame
        Rows of uniqueness have the same model twice. ``n`` counts rows of a layer, ``n_groups`` filters (of uniqueness: a split).
        ``sd`` is that over the pairs of splits for the uniqueness of a model, over the pairs of runs for means (``runs`` of them
        more than 1), both with ddof 0, and missing else.
    """
    memo, progress = memo or Memo(), progress or Progress()
    controls = controls or {}
    weights = _shared_layers(models, progress)
    problems: dict[str, list[str]] = {}
    found: Found = {}
    with progress.bar("weights", len(weights), "layers") as advance:
        for (layer, _), of_model in weights.items():
            pairs = [*combinations([each for each in of_model if each not in controls.values()], 2)]
            pairs += [(model, control) for model, control in controls.items() if {model, control} <= set(of_model)]
            for key, make, content in _jobs(layer, of_model, pairs):
                try:
                    found[key] = _recalled(memo, key[0], content, make)
                except ValueError as error:
                    problems.setdefault(f"no {key[0]} of {{}}: {error}", []).append(f"{key[1]} {layer}")
            advance(1)
    for reason, places in problems.items():
        progress.say(reason.replace("{}", shortened(places), 1))
    rows = [_row(key, estimate, sd, 1) for key, (estimate, sd) in found.items()]
    rows += _arm_rows(found, [model.label for model in models], arms or {})
    order = {name: place for place, name in enumerate(METRICS)}
    pairs_seen = {
        pair: place for place, pair in enumerate(dict.fromkeys((row["model_a"], row["model_b"]) for row in rows))
    }
    rows.sort(
        key=lambda row: (order[row["metric"]], pairs_seen[row["model_a"], row["model_b"]])
    )  # layers stay in order
    return validate(rows, WEIGHTS)


def kernel_bytes(models: Sequence[Model]) -> int:
    """Return what the kernels of the largest layer compared take at once: two a network, and three products."""
    from featurespace.models.weights import layer_weights

    rows = (W.numel() // W.shape[1] for model in models for W in layer_weights(model.network).values())
    return 8 * max((each for each in rows if each <= MOST_ROWS), default=0) ** 2 * (2 * len(models) + 3)


def _shared_layers(
    models: Sequence[Model], progress: Progress
) -> dict[tuple[str, tuple[int, ...]], dict[str, np.ndarray]]:
    """Return the weights of each layer (name and shape), by label of the models that have it."""
    from featurespace.models.weights import layer_weights

    found: dict[tuple[str, tuple[int, ...]], dict[str, np.ndarray]] = {}
    large: dict[str, int] = {}
    for model in models:
        for layer, tensor in layer_weights(model.network).items():
            shape = tuple(tensor.shape)
            rows = math.prod(shape) // shape[1]
            if rows > MOST_ROWS:
                large[layer] = rows
            else:
                array = tensor.float().cpu().numpy()
                found.setdefault((layer, shape), {})[model.label] = array
    if large:
        progress.say(
            f"weights of {len(large)} layers with more than {MOST_ROWS:,} rows (out x h x w) are not compared: "
            f"{shortened([f'{layer} ({rows:,})' for layer, rows in large.items()])}"
        )
    return found


def _jobs(
    layer: str, of_model: dict[str, np.ndarray], pairs: list[tuple[str, str]]
) -> Iterator[tuple[Key, Callable[[], tuple[Estimate, float]], list[str]]]:
    """Yield the key, the function and what it depends on of every value of a layer; each network's kernel is made once."""
    content = {label: files.hash_array(W) for label, W in of_model.items()}

    @cache
    def prepared(label: str) -> PreparedFilters:
        return prepare_filters(of_model[label])

    for metric, debiased in METRICS.items():
        if metric.startswith(REUSE):
            for a, b in pairs:
                yield (metric, a, b, layer), partial(_reuse, prepared, a, b, debiased), [content[a], content[b]]
        else:
            for label, W in of_model.items():
                yield (metric, label, label, layer), partial(_uniqueness, W, debiased), [content[label]]


def _uniqueness(W: np.ndarray, debiased: bool) -> tuple[Estimate, float]:
    estimate, of_pairs = uniqueness_estimate(W, debiased=debiased)
    return estimate, float(of_pairs.std())


def _reuse(prepared: Callable[[str], PreparedFilters], a: str, b: str, debiased: bool) -> tuple[Estimate, float]:
    return reuse_estimate(prepared(a), prepared(b), debiased=debiased), math.nan


def _recalled(
    memo: Memo, metric: str, content: list[str], make: Callable[[], tuple[Estimate, float]]
) -> tuple[Estimate, float]:
    def result() -> Result:
        found, sd = make()
        arrays = {} if found.leave_one_out is None else {"leave_outs": found.leave_one_out}
        return Result([{"n": found.n, "se": found.se, "sd": sd, **interval_columns(found)}], arrays)

    kept = memo.recall("weights", {"metric": metric, "content": content}, result)
    row = dict(kept.rows[0])
    sd = row.pop("sd")
    return Estimate(**row, leave_one_out=kept.arrays.get("leave_outs")), sd


def _row(key: Key, found: Estimate, sd: float, runs: int) -> dict:
    names = dict(zip(("metric", "model_a", "model_b", "layer"), key, strict=True))
    return {**names, "n": found.n, "se": found.se, "sd": sd, "runs": runs, **interval_columns(found), "unit": "filter"}


def _arm_rows(found: Found, models: list[str], arms: Mapping[str, Sequence[str]]) -> list[dict]:
    """Return the means over the runs of an arm: with each model outside the arms, with each other arm, and by itself."""
    alone = [each for each in models if not any(each in members for members in arms.values())]
    sides = {**{each: [each] for each in alone}, **{name: list(members) for name, members in arms.items()}}
    rows = []
    for metric, layer in dict.fromkeys((key[0], key[3]) for key in found):
        if metric.startswith(UNIQUENESS):
            pairs = [(name, name, [(each, each) for each in members]) for name, members in sides.items()]
        else:
            pairs = [
                (a, b, [(i, j) for i in sides[a] for j in sides[b]]) for a, b in combinations(sides, 2)
            ]  # fmt: skip
        for a, b, runs in pairs:
            keys = [(metric, i, j, layer) if (metric, i, j, layer) in found else (metric, j, i, layer) for i, j in runs]
            if len(runs) > 1 and all(key in found for key in keys):
                values = {run: found[key][0] for run, key in zip(runs, keys)}
                sd = float(np.std([each.value for each in values.values()]))
                rows.append(_row((metric, a, b, layer), _mean(values), sd, len(runs)))
    return rows


def _mean(values: Mapping[tuple[str, str], Estimate]) -> Estimate:
    """Return the mean over runs; filters and the runs of each side are separate sources of variation."""
    first = next(iter(values.values()))
    value = float(np.mean([each.value for each in values.values()]))
    like = replace(first, value=value, leave_one_out=None)
    bare = next((each.interval for each in values.values() if each.interval.startswith("none: ")), "")
    if bare:
        return joined(like, [], reason=bare.removeprefix("none: "))[0]
    leave_out = np.mean(np.array([each.leave_one_out for each in values.values()]), axis=0)
    parts, counts = sample_parts(value, leave_out, None), []
    for side in (0, 1) if any(a != b for a, b in values) else (0,):
        members = list(dict.fromkeys(run[side] for run in values))
        if len(members) > 1:
            without = [np.mean([each.value for run, each in values.items() if run[side] != out]) for out in members]
            parts.append((jackknife_variance(value, np.array(without), np.ones(len(members)))[1], len(members) - 1.0))
            counts.append(str(len(members)))
    estimate = joined(like, parts, seeds="")[0]
    if estimate.interval.startswith("none"):
        return estimate
    return replace(estimate, interval=f"jackknife over filters, and {' and '.join(counts)} runs")
