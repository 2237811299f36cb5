"""Every option of `analyze` once: its default and its one-line description.

The YAML schema (`config.py`) and the command line (`cli.py`) are both made from this table, which needs no import, so
that ``--help`` answers at once.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Option(NamedTuple):
    """Default and description of an option, and the words that a shell completes it with."""

    default: Any
    help: str
    choices: tuple[str, ...] = ()


DEFAULT_MEASURES = ("procrustes_distance", "mutual_knn")
MEASURES = (
    *DEFAULT_MEASURES, "distance_correlation", "cka_rbf_debiased", "rsa", "cca", "svcca", "pwcca", "shape_angle", "knn_jaccard",
    "linear_predictivity",
)  # fmt: skip
DISTANCES = (
    "kid", "energy_distance", "sliced_wasserstein", "coral_distance", "precision", "recall", "density", "coverage",
    "proxy_a_distance", "frechet_distance_infinity",
)  # fmt: skip
DEFAULT_PROPERTIES = ("participation_ratio_debiased", "anisotropy", "uniformity")
PROPERTIES = (
    *DEFAULT_PROPERTIES, "effective_rank", "spectrum_decay", "intrinsic_dimension", "intrinsic_dimension_mle",
    "participation_ratio_corrected", "silhouette", "fisher_ratio", "log_me", "h_score", "h_score_shrunk",
    "dead_units", "constant_units",
)  # fmt: skip
DEFAULT_ANALYSES = ("similarity", "probe", "embedding", "gap", "geometry")
ANALYSES = (*DEFAULT_ANALYSES, "weights")

ANALYZE = {
    "layers": Option(
        "blocks",
        "Layers to compare, separated by commas: blocks, stages, module paths and globs, or depths such as 50%.",
        ("blocks", "stages"),
    ),
    "pool": Option(
        "avg", "How a layer's output becomes one vector an image: avg, cls or none (flattened).", ("avg", "cls", "none")
    ),
    "only": Option(
        None,
        "Analyses to make, separated by commas: "
        + ", ".join(ANALYSES)
        + "; or all. By default all but weights, which needs no "
        "images but seconds a layer.",
        (*ANALYSES, "all"),
    ),
    "measures": Option(
        DEFAULT_MEASURES,
        "Similarities of corresponding layers beside CKA, separated by commas: " + ", ".join(MEASURES) + "; or all.",
        (*MEASURES, "all"),
    ),
    "distances": Option(
        (),
        "Distances of two data sets beside MMD² and Fréchet, separated by commas: "
        + ", ".join(DISTANCES)
        + "; or all.",
        (*DISTANCES, "all"),
    ),
    "properties": Option(
        DEFAULT_PROPERTIES,
        "Properties of a layer by itself, separated by commas: " + ", ".join(PROPERTIES) + "; or all.",
        (*PROPERTIES, "all"),
    ),
    "store": Option(
        True,
        "Keep the features. Without, only CKA of all layers is computed, while the images go through all networks: no disk is "
        "needed, and sums of 160 D^2 bytes for D features in all layers.",
    ),
    "limit": Option(
        None, "Use at most this many images of each data set, stratified by label and drawn with the seed."
    ),
    "image_size": Option(None, "Height and width the images are scaled to; by default what each model was made for."),
    "batch_size": Option(64, "Images a batch."),
    "precision": Option(
        "fp32", "Precision of the forward pass: fp32 or bf16. Statistics are float64 either way.", ("fp32", "bf16")
    ),
    "device": Option(
        "auto",
        "auto, cpu, cuda, cuda:0, mps. On cuda also CKA, MMD² and Fréchet distances are computed, in float64; "
        "other statistics, and with mps all, on the CPU.",
        ("auto", "cpu", "cuda", "mps"),
    ),
    "threads": Option(
        None, "Threads of the forward pass; by default OMP_NUM_THREADS, or the cores this process may use."
    ),
    "seed": Option(0, "Seed of everything random."),
    "on_bad_image": Option(
        "skip", "An image that cannot be read is left out and named (skip), or ends the run (error).", ("skip", "error")
    ),
    "arms": Option(
        None, "NAME=LABEL,LABEL: models that were trained in one way with several seeds; may be given several times."
    ),
    "steps": Option(
        None,
        "Labels of models that are steps of one training, in their order, separated by commas: their way is drawn.",
    ),
    "columns": Option(
        (),
        "Columns of manifests to keep with the images, separated by commas, e.g. age,sex: the embedding is coloured by them.",
    ),
    "pictures": Option(
        True, "Show images: small ones behind the points of the embedding, and those that the first network sees."
    ),
    "control": Option(True, "Add an untrained copy of each architecture as the control."),
}
