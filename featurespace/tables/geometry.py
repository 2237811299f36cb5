"""Properties of one layer by itself: how many directions it uses, how it spreads the images, how classes separate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from featurespace import seeding
from featurespace.metrics.activity import constant_units, dead_units
from featurespace.metrics.hypersphere import anisotropy_jackknife, uniformity_jackknife
from featurespace.metrics.intrinsic import intrinsic_dimension, intrinsic_dimension_mle
from featurespace.metrics.participation import participation_ratio_corrected, participation_ratio_jackknife
from featurespace.metrics.separation import fisher_ratio, silhouette
from featurespace.metrics.spectrum import effective_rank, spectrum_decay
from featurespace.metrics.transferability import h_score, log_me
from featurespace.options import DEFAULT_PROPERTIES
from featurespace.progress import Progress, shortened
from featurespace.stats.blocks import block_jackknife
from featurespace.stats.estimate import Estimate
from featurespace.stats.paired import paired_jackknife
from featurespace.stats.resampling import resampling_units
from featurespace.tables.arms import arm_rows
from featurespace.tables.memo import Result
from featurespace.tables.sampling import sampled
from featurespace.tables.schema import GEOMETRY, interval_columns, validate
from featurespace.tables.stores import Stores, compared_layers

Property = Callable[..., Estimate]  # f(X, labels, groups, rng)


def _closed(jackknife: Callable[..., Estimate]) -> Property:
    return lambda X, labels, groups, rng: jackknife(X, groups=groups)


def _by_blocks(statistic: Callable[..., float]) -> Property:
    return lambda X, labels, groups, rng: block_jackknife(statistic, [X], groups=groups, rng=rng)


def _by_nearest_groups(statistic: Callable[..., float]) -> Property:
    """Hand the groups on, so that the nearest samples are not slices of the same patient."""

    def found(X: np.ndarray, labels: Any, groups: np.ndarray | None, rng: np.random.Generator) -> Estimate:
        if groups is None:
            return block_jackknife(statistic, [X], rng=rng)
        codes = resampling_units(groups, len(X))[0]
        return block_jackknife(lambda Z, of: statistic(Z, groups=of), [X, codes], groups=groups, rng=rng)

    return found


def _mle(X: np.ndarray, groups: np.ndarray | None = None) -> float:
    """Take 20 neighbours, or half of what there is: each group gives one."""
    count = len(X) if groups is None else len(np.unique(groups))
    return intrinsic_dimension_mle(X, k=min(20, max(3, count // 2)), groups=groups)


def _of_classes(statistic: Callable[..., float]) -> Property:
    """Take the labelled images alone."""

    def found(X: np.ndarray, labels: np.ndarray, groups: np.ndarray | None, rng: np.random.Generator) -> Estimate:
        if labels is None:
            raise ValueError("the images have no labels")
        rows = labels != ""
        of = None if groups is None else groups[rows]
        return block_jackknife(statistic, [X[rows], labels[rows]], groups=of, rng=rng)

    return found


def _counted(statistic: Callable[..., float]) -> Property:
    """Count channels of this layer: the images are not a sample of them, so there is no interval."""

    def found(X: np.ndarray, labels: Any, groups: np.ndarray | None, rng: np.random.Generator) -> Estimate:
        _, unit, count = resampling_units(groups, len(X))
        return Estimate.without_interval(
            statistic(X), n=len(X), unit=unit, n_groups=count, reason="a count of channels over these images"
        )

    return found


PROPERTIES: dict[str, Property] = {
    "participation_ratio_debiased": _closed(participation_ratio_jackknife),
    "anisotropy": _closed(anisotropy_jackknife),
    "uniformity": _closed(uniformity_jackknife),
    "effective_rank": _by_blocks(effective_rank),
    "spectrum_decay": _by_blocks(spectrum_decay),
    "intrinsic_dimension": _by_nearest_groups(intrinsic_dimension),
    "intrinsic_dimension_mle": _by_nearest_groups(_mle),
    "participation_ratio_corrected": _closed(participation_ratio_corrected),
    "silhouette": _of_classes(silhouette),
    "fisher_ratio": _of_classes(fisher_ratio),
    "log_me": _of_classes(log_me),
    "h_score": _of_classes(h_score),
    "h_score_shrunk": _of_classes(partial(h_score, shrinkage=True)),
    "dead_units": _counted(dead_units),
    "constant_units": _counted(constant_units),
}
"""Each property with its interval; the docstrings in `featurespace.metrics` say what it covers."""
BY_SIZE = {"anisotropy", "uniformity"}
"""Means over pairs of samples, in which a group counts by its size; in the others groups or blocks count alike."""


def geometry_tables(
    stores: Stores, *, seed: int, properties: Sequence[str] = DEFAULT_PROPERTIES, progress: Progress | None = None
) -> tuple[pd.DataFrame, list[dict]]:
    """Return the properties of every layer, and the rows of paired tests that two models differ in them.

    Pairs within a group are left out where a property is a mean over pairs; blocks are the same for all models and
    layers of a data set.
    """
    progress = progress or Progress()
    stores = sampled(stores, "geometry", seed=seed)
    rows: list[dict] = []
    estimates: dict[tuple[str, str, str, str], Estimate] = {}
    failures: dict[str, list[str]] = {}
    jobs = [
        (name, model, layer, data)
        for data in stores.data for model in stores.models for layer in stores.layers(model) for name in properties
    ]  # fmt: skip
    with progress.bar("geometry", len(jobs), "values") as advance:
        for name, model, layer, data in jobs:
            made_from = {**stores.content(model, data, [layer]), "property": name, "seed": seed}
            try:
                result = stores.memo.recall(
                    "geometry", made_from, partial(_row, stores, name, model, layer, data, seed)
                )
            except ValueError as error:
                failures.setdefault(f"no {name} on {data!r} for {{}}: {str(error).removeprefix('X ')}", []).append(
                    f"{model} {layer}"
                )
            else:
                rows += [{"metric": name, "model": model, "layer": layer, "data": data, **row} for row in result.rows]
                estimates[name, model, layer, data] = Estimate(
                    **result.rows[0], leave_one_out=result.arrays.get("leave_outs")
                )
            advance(1)
    for reason, places in failures.items():
        progress.say(reason.replace("{}", shortened(places), 1))
    return validate(rows, GEOMETRY), _differences(stores, properties, estimates)


def _row(stores: Stores, name: str, model: str, layer: str, data: str, seed: int) -> Result:
    labels, groups = (stores.column(data, column) for column in ("label", "group"))
    X = np.asarray(stores.features(model, data, layer))
    found = PROPERTIES[name](X, labels, groups, seeding.child(seed, "blocks", name, data))
    arrays = {} if found.leave_one_out is None else {"leave_outs": found.leave_one_out}
    return Result([{"n": found.n, "se": found.se, **interval_columns(found)}], arrays)


def _differences(
    stores: Stores, properties: Sequence[str], estimates: dict[tuple[str, str, str, str], Estimate]
) -> list[dict]:
    """Return, layer by layer, a later model less an earlier one, a model less its own control, and a later arm less an earlier."""
    rows: list[dict] = []
    for data in stores.data:
        groups = stores.column(data, "group")
        for name in properties:
            for first, second in compared_layers(stores):
                pair = [estimates.get((name, *each, data)) for each in (first, second)]
                if pair[0] is None or pair[1] is None or pair[0].leave_one_out is None:
                    continue
                rows.append(_difference(name, data, first, second, pair[0], pair[1], groups))
            means = {
                (model, layer): each for (of, model, layer, on), each in estimates.items() if (of, on) == (name, data)
            }
            rows += arm_rows(stores, data, means, _sizes(name, groups), of=("geometry", name))
    return rows


def _sizes(name: str, groups: np.ndarray | None) -> np.ndarray | None:
    """Return the sizes of groups where they count by size."""
    if name not in BY_SIZE or groups is None:
        return None
    return np.bincount(resampling_units(groups, len(groups))[0])


def _difference(
    name: str, data: str, first: tuple[str, str], second: tuple[str, str], a: Estimate, b: Estimate,
    groups: np.ndarray | None,
) -> dict:  # fmt: skip
    difference, p_value = paired_jackknife(a, b, sizes=_sizes(name, groups))
    layer = first[1] if first[1] == second[1] else f"{first[1]} / {second[1]}"
    return {
        "analysis": "geometry", "metric": name, "data": data, "layer": layer, "a": first[0], "b": second[0],
        "p_value": p_value, "n": a.n, "value_a": a.value, "value_b": b.value, **interval_columns(difference),
    }  # fmt: skip
