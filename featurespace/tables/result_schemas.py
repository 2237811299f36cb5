"""The columns of the tables about finished trainings."""

from __future__ import annotations

from featurespace.tables.schema import INTERVAL, Schema

RUNS = Schema(
    "runs",
    {
        "experiment": "string", "pretraining": "string", "task": "string", "run": "string", "metric": "string",
        "value": "float64",
    },
    ("experiment", "pretraining", "task", "run", "metric"),
)  # fmt: skip

# Standard deviations are of the runs themselves (ddof 0) unless the configuration says 1; std_sample always has ddof 1.
RUNS_SUMMARY = Schema(
    "runs_summary",
    {
        "experiment": "string", "task": "string", "metric": "string", "pretraining": "string", "mean": "float64",
        "std": "float64", "n": "int64", "ci_low": "float64", "ci_high": "float64", "std_sample": "float64",
        "adjusted": "bool", **INTERVAL,
    },
    ("experiment", "task", "metric", "pretraining"),
)  # fmt: skip

# ci_low and ci_high belong to the effect size; the interval of the difference of the means has columns of its own.
COMPARISON = Schema(
    "comparison",
    {
        "experiment": "string", "task": "string", "metric": "string", "a": "string", "b": "string",
        "mean_a": "float64", "std_a": "float64", "n_a": "int64", "mean_b": "float64", "std_b": "float64", "n_b": "int64",
        "delta_percent": "float64", "p_value": "float64", "p_holm": "float64", "effect_size": "float64",
        "ci_low": "float64", "ci_high": "float64",
        "difference": "float64", "difference_low": "float64", "difference_high": "float64",
        "welch_low": "float64", "welch_high": "float64", "p_paired": "float64", "n_pairs": "int64",
        "p_equivalent": "float64", "p_equivalent_holm": "float64", "margin": "float64", "runs_needed": "float64",
        "detectable_percent": "float64", "power": "float64", "verdict": "string", "claim_lost": "bool", "higher_is_better": "bool",
        "family": "string", "n_family": "int64", "interval": "string", "level": "float64", "unit": "string", "note": "string",
    },
    ("experiment", "task", "metric", "a", "b"),
)  # fmt: skip

TIME_TO_CONVERGENCE = Schema(
    "time_to_convergence",
    {
        "experiment": "string", "pretraining": "string", "task": "string", "metric": "string", "epochs": "float64",
        "ci_low": "float64", "ci_high": "float64", "n": "int64", **INTERVAL,
    },
    ("experiment", "pretraining", "task", "metric"),
)  # fmt: skip

LOSS_CURVES = Schema(
    "loss_curves",
    {
        "experiment": "string", "pretraining": "string", "task": "string", "epoch": "float64", "samples": "float64",
        "loss": "float64", "std": "float64", "n": "int64",
    },
    ("experiment", "pretraining", "task", "epoch"),
)  # fmt: skip

PREDICTION = Schema(
    "prediction",
    {
        "experiment": "string", "task": "string", "metric": "string", "score": "string", "value": "float64",
        "ci_low": "float64", "ci_high": "float64", "n": "int64", "p_value": "float64", "p_holm": "float64",
        "verdict": "string", **INTERVAL,
    },
    ("experiment", "task", "metric", "score"),
)  # fmt: skip

FREEZING = Schema(
    "freezing",
    {
        "task": "string", "pretraining": "string", "run": "string", "layer": "string", "depth": "int64", "reuse": "float64",
        "reuse_low": "float64", "reuse_high": "float64", "gain": "float64", "gain_low": "float64", "gain_high": "float64",
        "p_holm": "float64", "n": "int64", "reused": "bool",
    },
    ("task", "pretraining", "run", "layer"),
)  # fmt: skip

SCHEMAS = {
    schema.name: schema
    for schema in (RUNS, RUNS_SUMMARY, COMPARISON, TIME_TO_CONVERGENCE, LOSS_CURVES, PREDICTION, FREEZING)
}
