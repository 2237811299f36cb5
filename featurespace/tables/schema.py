"""The columns of every table, and the key that names a row."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

# Columns that say how an interval was made; they follow the contract columns.
INTERVAL = {"interval": "string", "level": "float64", "unit": "string", "n_groups": "Int64"}


@dataclass(frozen=True)
class Schema:
    """Columns (name -> dtype) in order, and which of them name a row."""

    name: str
    columns: dict[str, str]
    key: tuple[str, ...]


SIMILARITY = Schema(
    "similarity",
    {
        "metric": "string", "model_a": "string", "model_b": "string", "layer_a": "string", "layer_b": "string",
        "data": "string", "value": "float64", "ci_low": "float64", "ci_high": "float64", "n": "int64",
        "se": "float64", **INTERVAL,
    },
    ("metric", "model_a", "model_b", "layer_a", "layer_b", "data"),
)  # fmt: skip

PROBE = Schema(
    "probe",
    {
        "probe": "string", "model": "string", "layer": "string", "data": "string", "metric": "string",
        "value": "float64", "ci_low": "float64", "ci_high": "float64", "n_train": "int64", "n_test": "int64",
        "hyperparameter": "string", "n_classes": "int64", "chance": "float64", **INTERVAL,
    },
    ("probe", "model", "layer", "data", "metric"),
)  # fmt: skip

PROBE_BY_CLASS = Schema(
    "probe_by_class",
    {
        "probe": "string", "model": "string", "layer": "string", "data": "string", "label": "string", "metric": "string",
        "value": "float64", "ci_low": "float64", "ci_high": "float64", "n": "int64", **INTERVAL,
    },
    ("probe", "model", "layer", "data", "label", "metric"),
)  # fmt: skip

FEW_SHOT = Schema(
    "few_shot",
    {
        "probe": "string", "model": "string", "layer": "string", "data": "string", "shots": "int64", "metric": "string",
        "value": "float64", "ci_low": "float64", "ci_high": "float64", "n_train": "float64", "n_test": "int64",
        "repeats": "int64", **INTERVAL,
    },
    ("probe", "model", "layer", "data", "shots", "metric"),
)  # fmt: skip

PROBE_CONTROL = Schema(
    "probe_control",
    {
        "probe": "string", "model": "string", "layer": "string", "data": "string", "metric": "string", "value": "float64",
        "ci_low": "float64", "ci_high": "float64", "p_value": "float64", "accuracy": "float64", "shuffled": "float64",
        "permutations": "int64", "n_train": "int64", "n_test": "int64", **INTERVAL,
    },
    ("probe", "model", "layer", "data", "metric"),
)  # fmt: skip

DOMAIN_GAP = Schema(
    "domain_gap",
    {
        "metric": "string", "model": "string", "layer": "string", "data_a": "string", "data_b": "string",
        "value": "float64", "ci_low": "float64", "ci_high": "float64", "p_value": "float64", "n_a": "int64",
        "n_b": "int64", "p_holm": "float64", "p_max": "float64", **INTERVAL,
    },
    ("metric", "model", "layer", "data_a", "data_b"),
)  # fmt: skip

DOMAIN_GAP_BY_CLASS = Schema(
    "domain_gap_by_class",
    {
        "metric": "string", "model": "string", "layer": "string", "data_a": "string", "data_b": "string",
        "label": "string", "value": "float64", "ci_low": "float64", "ci_high": "float64", "n_a": "int64", "n_b": "int64",
        **INTERVAL,
    },
    ("metric", "model", "layer", "data_a", "data_b", "label"),
)  # fmt: skip

GAP_INFLUENCE = Schema(
    "gap_influence",
    {
        "metric": "string", "model": "string", "layer": "string", "data_a": "string", "data_b": "string",
        "data": "string", "name": "string", "label": "string", "group": "string", "path": "string", "change": "float64",
        "witness": "float64", "p_outside": "float64", "p_outside_bh": "float64",
    },
    ("metric", "model", "layer", "data_a", "data_b", "data", "name"),
)  # fmt: skip

GEOMETRY = Schema(
    "geometry",
    {
        "metric": "string", "model": "string", "layer": "string", "data": "string", "value": "float64",
        "ci_low": "float64", "ci_high": "float64", "n": "int64", "se": "float64", **INTERVAL,
    },
    ("metric", "model", "layer", "data"),
)  # fmt: skip

EMBEDDING = Schema(
    "embedding",
    {
        "method": "string", "model": "string", "layer": "string", "data": "string", "sample": "string",
        "label": "string", "x": "float64", "y": "float64",
    },
    ("method", "model", "layer", "data", "sample"),
)  # fmt: skip

EMBEDDING_QUALITY = Schema(
    "embedding_quality",
    {
        "method": "string", "model": "string", "layer": "string", "data": "string", "metric": "string",
        "value": "float64", "n": "int64", "hyperparameter": "string",
    },
    ("method", "model", "layer", "data", "metric"),
)  # fmt: skip

DIFFERENCES = Schema(
    "differences",
    {
        "analysis": "string", "metric": "string", "data": "string", "layer": "string", "a": "string", "b": "string",
        "value": "float64", "ci_low": "float64", "ci_high": "float64", "p_value": "float64", "p_holm": "float64",
        "n": "int64", "value_a": "float64", "value_b": "float64", **INTERVAL,
    },
    ("analysis", "metric", "data", "layer", "a", "b"),
)  # fmt: skip

ARMS = Schema(
    "arms",
    {
        "analysis": "string", "metric": "string", "data": "string", "layer": "string", "arm_a": "string", "arm_b": "string",
        "kind": "string", "value": "float64", "ci_low": "float64", "ci_high": "float64", "p_value": "float64",
        "p_holm": "float64", "p_least": "float64", "value_a": "float64", "value_b": "float64", "seeds_a": "int64",
        "seeds_b": "int64", "n": "int64", **INTERVAL,
    },
    ("analysis", "metric", "data", "layer", "arm_a", "arm_b", "kind"),
)  # fmt: skip

WEIGHTS = Schema(
    "weights",
    {
        "metric": "string", "model_a": "string", "model_b": "string", "layer": "string", "value": "float64",
        "ci_low": "float64", "ci_high": "float64", "n": "int64", "se": "float64", "sd": "float64", "runs": "int64",
        **INTERVAL,
    },
    ("metric", "model_a", "model_b", "layer", "runs"),
)  # fmt: skip

AGREEMENT = Schema(
    "agreement",
    {
        "task": "string", "label": "string", "set": "string", "n_models": "int64", "count": "int64", "n": "int64",
        "value": "float64", "error": "float64", "ci_low": "float64", "ci_high": "float64", "expected": "float64",
        "p_value": "float64", "p_holm": "float64", **INTERVAL,
    },
    ("task", "label", "set"),
)  # fmt: skip

ERROR_CONSISTENCY = Schema(
    "error_consistency",
    {
        "task": "string", "label": "string", "a": "string", "b": "string", "value": "float64", "ci_low": "float64",
        "ci_high": "float64", "n": "int64", "se": "float64", **INTERVAL,
    },
    ("task", "label", "a", "b"),
)  # fmt: skip

_PAIR = {
    "metric": "string", "model_a": "string", "model_b": "string", "layer_a": "string", "layer_b": "string", "data": "string",
}  # fmt: skip

SCALE = Schema(
    "scale",
    {
        **_PAIR, "value": "float64", "null_mean": "float64", "null_sd": "float64", "control": "float64",
        "ceiling_a": "float64", "ceiling_b": "float64", "seeds": "float64", "n": "int64",
    },
    tuple(_PAIR),
)  # fmt: skip

CONVERGENCE = Schema(
    "convergence",
    {
        **_PAIR,
        "part": "float64",
        "value": "float64",
        "ci_low": "float64",
        "ci_high": "float64",
        "n": "int64",
        **INTERVAL,
    },
    (*_PAIR, "part"),
)

INFLUENCE = Schema(
    "influence",
    {
        **_PAIR, "unit": "string", "rank": "int64", "name": "string", "label": "string", "group": "string",
        "path": "string", "change": "float64", "value": "float64", "value_without": "float64", "n": "int64",
    },
    (*_PAIR, "unit", "rank"),
)  # fmt: skip

INFLUENCE_SUMMARY = Schema(
    "influence_summary",
    {
        **_PAIR, "unit": "string", "value": "float64", "n": "int64", "n_units": "int64", "top_units": "int64",
        "top_share": "float64", "value_without_top": "float64",
    },
    (*_PAIR, "unit"),
)  # fmt: skip

VERDICTS = Schema(
    "verdicts",
    {
        "verdict": "string", "analysis": "string", "data": "string", "model_a": "string", "model_b": "string",
        "layer": "string", "metric": "string", "value": "float64", "limit": "float64", "n": "Int64", "n_needed": "Int64",
        "unit": "string",
    },
    ("verdict", "analysis", "data", "model_a", "model_b", "layer", "metric"),
)  # fmt: skip

LAYERS = Schema(
    "layers",
    {
        "model": "string",
        "layer": "string",
        "depth": "int64",
        "width": "int64",
        "role": "string",
        "control": "string",
        "arm": "string",
    },  # fmt: skip
    ("model", "layer"),
)

MATCH = Schema(
    "match",
    {
        "model": "string", "status": "string", "tensor": "string", "source": "string", "target": "string",
        "source_shape": "string", "target_shape": "string",
    },
    ("model", "status", "tensor"),
)  # fmt: skip

SCHEMAS = {
    schema.name: schema for schema in (
        SIMILARITY, PROBE, PROBE_BY_CLASS, FEW_SHOT, PROBE_CONTROL, DOMAIN_GAP, DOMAIN_GAP_BY_CLASS, GAP_INFLUENCE, GEOMETRY,
        EMBEDDING, EMBEDDING_QUALITY, DIFFERENCES, ARMS, WEIGHTS, AGREEMENT, ERROR_CONSISTENCY, SCALE, CONVERGENCE, INFLUENCE,
        INFLUENCE_SUMMARY, VERDICTS, LAYERS, MATCH,
    )
}  # fmt: skip


def validate(rows: pd.DataFrame | list[dict], schema: Schema) -> pd.DataFrame:
    """Return the table with the schema's columns and types; further columns follow in their order.

    Raises
    ------
    ValueError
        a column is missing, a key is missing or doubled, a type does not fit
    """
    table = pd.DataFrame(rows) if not isinstance(rows, pd.DataFrame) else rows
    if table.empty:
        table = pd.DataFrame(columns=list(schema.columns))
    missing = [column for column in schema.columns if column not in table.columns]
    if missing:
        raise ValueError(f"table {schema.name!r} lacks the columns {missing}")
    further = [column for column in table.columns if column not in schema.columns]
    table = table[[*schema.columns, *further]].astype(schema.columns)
    if table[list(schema.key)].isna().any().any():
        raise ValueError(f"table {schema.name!r}: a key column ({', '.join(schema.key)}) holds a missing value")
    doubled = table.duplicated(list(schema.key))
    if doubled.any():
        first = table.loc[doubled, list(schema.key)].iloc[0].to_dict()
        raise ValueError(f"table {schema.name!r}: {int(doubled.sum())} rows repeat a key, the first is {first}")
    return table.reset_index(drop=True)


def interval_columns(estimate) -> dict:
    """Return the interval columns of an `Estimate` as a part of a row."""
    return {
        "value": estimate.value, "ci_low": estimate.ci_low, "ci_high": estimate.ci_high, "interval": estimate.interval,
        "level": estimate.level, "unit": estimate.unit, "n_groups": estimate.n_groups,
    }  # fmt: skip
