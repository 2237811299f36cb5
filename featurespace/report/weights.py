"""Sentences and tables on the weights: which filters a training kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from featurespace.plots.many import MANY
from featurespace.report.numbers import number, with_interval

REUSE, UNIQUENESS = "feature_reuse", "feature_uniqueness"
COLUMNS = {
    REUSE: "feature reuse", f"{REUSE}_debiased": "debiased", UNIQUENESS: "feature uniqueness",
    f"{UNIQUENESS}_debiased": "debiased",
}  # fmt: skip


def weights_sentences(table: pd.DataFrame, told: list[tuple[str, str]]) -> Iterator[tuple[str, bool]]:
    """Yield a sentence on the layers of each told pair of models whose filters are least and most alike, and whether they differ.

    Reuse is debiased here, since the published measure has another value for unrelated weights in each shape of layer.
    """
    rows = table[(table["metric"] == f"{REUSE}_debiased") & (table["runs"] == 1)]
    for a, b in told:
        pair = rows[(rows["model_a"] == a) & (rows["model_b"] == b)]
        if not len(pair):
            continue
        least, most = pair.loc[pair["value"].idxmin()], pair.loc[pair["value"].idxmax()]
        if least["value"] >= 1 - 1e-9:
            yield f"The filters of {a} and {b} are the same in all {len(pair)} layers compared.", False
            continue
        shown = bool(most["ci_low"] > least["ci_high"])
        values = (
            f"debiased feature reuse runs from {with_interval(least)} in {least['layer']} to {with_interval(most)} in "
            f"{most['layer']} over {len(pair)} layers; intervals are over the filters of a layer"
        )
        lead = (
            f"The filters of {a} and {b} are least alike in {least['layer']}"
            if shown
            else f"No difference between layers is shown in how alike the filters of {a} and {b} are"
        )
        yield f"{lead}: {values}.", shown


def weights_tables(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield reuse of each pair of models and uniqueness of each model, by layer."""
    for metric, kind in ((REUSE, "Feature reuse"), (UNIQUENESS, "Feature uniqueness")):
        both = [metric, f"{metric}_debiased"]
        of_metric = table[table["metric"].isin(both)]
        if (of_metric[["model_a", "model_b"]].stack().nunique()) > MANY:
            yield from _by_layer(of_metric[of_metric["runs"] == 1], kind, both)
            continue
        for (a, b, runs), rows in of_metric.groupby(["model_a", "model_b", "runs"], sort=False):
            cells = {(row["metric"], row["layer"]): with_interval(row) for _, row in rows.iterrows()}
            spread = rows[rows["metric"] == metric].set_index("layer")["sd"]
            whose = a if a == b else f"{a} and {b}"
            of = f", mean of {runs} pairs of runs" if runs > 1 else ""
            has_spread = spread.notna().any()
            yield {
                "title": f"{kind} of {whose}{of} (95 % intervals over filters)",
                "columns": ["layer", *(COLUMNS[each] for each in both), *(["sd"] if has_spread else [])],
                "rows": [[layer, *(cells.get((each, layer), "") for each in both),
                          *([_cell(spread.get(layer))] if has_spread else [])] for layer in dict.fromkeys(rows["layer"])],
            }  # fmt: skip


def _by_layer(rows: pd.DataFrame, kind: str, metrics: list[str]) -> Iterator[dict[str, Any]]:
    """Yield, of many models, a table a measure with a row a model; of pairs, those with the first."""
    first, layers = rows["model_a"].iloc[0], list(dict.fromkeys(rows["layer"]))
    between = bool((rows["model_a"] != rows["model_b"]).any())
    rows = rows[rows["model_a"] == first] if between else rows
    for metric in metrics:
        own = rows[rows["metric"] == metric]
        cells = {(row["model_b"], row["layer"]): with_interval(row) for _, row in own.iterrows()}
        end = f" of {first} and each other model" if between else ""
        yield {
            "title": f"{kind}{end}, {'debiased' if metric.endswith('_debiased') else 'as published'} (95 % intervals over filters)",
            "columns": ["model", *layers],
            "rows": [[model, *(cells.get((model, layer), "") for layer in layers)] for model in dict.fromkeys(own["model_b"])],
        }  # fmt: skip


def _cell(value: float | None) -> str:
    return "" if value is None or pd.isna(value) else number(value)
