"""Estimates with intervals: resampling, permutation and comparison; names load on first use."""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "Estimate": "estimate",
    "PerClass": "classes",
    "arm_difference": "arms",
    "arm_similarity": "arm_pairs",
    "benjamini_hochberg": "comparison",
    "block_estimate": "two_samples",
    "block_jackknife": "blocks",
    "bootstrap_difference": "effects",
    "bootstrap_weights": "resampling",
    "detectable_difference": "power",
    "equivalence_test": "means",
    "hedges_g": "effects",
    "holm": "comparison",
    "jackknife_estimate": "resampling",
    "max_t": "permutation",
    "mean_interval": "means",
    "paired_jackknife": "paired",
    "paired_test": "means",
    "per_class": "classes",
    "percentile_estimate": "resampling",
    "permutation_p": "permutation",
    "permute_units": "permutation",
    "resampling_units": "resampling",
    "runs_needed": "power",
    "stratified_wilson_estimate": "proportions",
    "transformed_jackknife": "transformed",
    "two_sample_blocks": "two_samples",
    "two_sample_jackknife": "two_samples",
    "weighted_tau": "ranks",
    "weighted_tau_over_runs": "ranks",
    "weighted_tau_permutation": "ranks",
    "welch_interval": "means",
    "welch_power": "power",
    "welch_test": "means",
    "wilson_estimate": "proportions",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
