"""Metrics: arrays in, a number or a small dataclass out; names load on first use."""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "CKAInfluence": "influence",
    "ClassifierTest": "two_sample",
    "FrechetExtrapolation": "frechet",
    "GapInfluence": "gap_influence",
    "KernelTest": "kernel_test",
    "METRICS": "registry",
    "MMDTest": "mmd",
    "MetricFacts": "registry",
    "PRDC": "manifold",
    "PreparedCKA": "prepared",
    "Probe": "probe",
    "SpectrumFit": "spectrum",
    "StreamingCKA": "streaming",
    "cca": "canonical",
    "cka": "similarity",
    "cka_difference": "cka_tests",
    "cka_estimate": "alignment",
    "cka_influence": "influence",
    "cka_jackknife": "alignment",
    "cka_matrices": "alignment",
    "cka_null_sd": "cka_tests",
    "cka_permutation": "cka_tests",
    "cka_units": "units",
    "classifier_two_sample_test": "two_sample",
    "conformal_p_values": "gap_influence",
    "coral_distance": "distribution",
    "cosine_neighbours": "neighbours",
    "distance_correlation": "dependence",
    "distance_correlation_jackknife": "dependence",
    "effective_rank": "spectrum",
    "energy_distance": "distribution",
    "energy_jackknife": "kernel_jackknife",
    "energy_permutation": "kernel_permutation",
    "exact_neighbours": "embedding",
    "frechet_difference": "gap_difference",
    "frechet_distance": "frechet",
    "frechet_distance_corrected": "frechet_jackknife",
    "frechet_distance_infinity": "frechet",
    "kid": "distribution",
    "kid_jackknife": "kernel_jackknife",
    "kid_permutation": "kernel_permutation",
    "knn_jaccard": "neighbours",
    "knn_jaccard_from_neighbours": "neighbours",
    "knn_probe": "probe",
    "linear_predictivity": "predictivity",
    "linear_probe": "probe",
    "mmd2": "mmd",
    "mmd2_difference": "gap_difference",
    "mmd2_influence": "gap_influence",
    "mmd2_jackknife": "kernel_jackknife",
    "mmd2_permutation": "mmd",
    "mutual_knn": "neighbours",
    "mutual_knn_from_neighbours": "neighbours",
    "mutual_knn_jackknife": "neighbours",
    "participation_ratio": "spectrum",
    "participation_ratio_jackknife": "participation",
    "pca_embedding": "embedding",
    "prdc": "manifold",
    "prepare_cka": "prepared",
    "probe_scores": "scores",
    "procrustes_distance": "shape",
    "procrustes_jackknife": "shape",
    "proxy_a_distance": "two_sample",
    "pwcca": "canonical",
    "rsa": "dissimilarity",
    "rsa_jackknife": "dissimilarity",
    "shape_angle": "shape",
    "similarity_matrices": "matrices",
    "sliced_wasserstein": "distribution",
    "spectrum_decay": "spectrum",
    "spectrum_fit": "spectrum",
    "svcca": "canonical",
    "trustworthiness": "embedding",
    "umap_embedding": "embedding",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
