"""A caption for every figure: what it shows, what its bands are, and of how many images or runs it is made."""

from __future__ import annotations

import pandas as pd

from featurespace.plots.many import is_many, part_of, shown_models
from featurespace.plots.style import controls

# By how a figure's name begins.
TITLES = {
    "inputs_": "Images as the first network sees them.",
    "few_shot": "Accuracy from few labelled images: mean of 20 draws, whose interval counts training and test images as chance.",
    "participation_ratio": "Directions that the variance of each layer spreads over.",
    "anisotropy": "Mean cosine between two images in each layer.",
    "uniformity": "Uniformity of each layer (lower is more even).",
    "effective_rank": "Effective rank of each layer.",
    "spectrum_decay": "Decay of the spectrum of each layer.",
    "intrinsic_dimension": "Intrinsic dimension of each layer.",
    "silhouette": "Silhouette of the classes in each layer.",
    "fisher_ratio": "Variance between classes over that within, in each layer.",
    "log_me": "LogME of each layer: the evidence for a linear model of the classes.",
    "h_score_shrunk": "H-score of each layer with a shrunk covariance: variance between the classes of whitened features.",
    "h_score": "H-score of each layer: variance between the classes of whitened features.",
    "feature_reuse": "Feature reuse by layer: as published, and debiased.",
    "feature_uniqueness": "Feature uniqueness by layer: as published, and debiased.",
    "dead_units": "Share of channels that are never active.",
    "constant_units": "Share of channels that never change.",
    "cka_convergence": "CKA at n/8, n/4, n/2 and all n images (whole groups where there are groups).",
    "cka_by_layer": "Similarity of corresponding layers by depth.",
    "trajectory": "Similarity of each layer over the steps of a training, to itself in the first step and in the last.",
    "cka_heatmap": "Similarity of every pair of layers, within and between models.",
    "probe_by_depth": "Test accuracy of a linear probe by depth.",
    "domain_gap_by_depth": "Distance between the data sets by depth (MMD²).",
    "frechet_by_depth": "Distance between the data sets by depth (Fréchet, corrected).",
    "aligned_umap": "UMAP of all data sets together, aligned over the models.",
    "umap_": "UMAP of the last layer.",
    "pca_": "PCA of the last layer.",
    "pairwise": "Difference of row and column in percent, and Welch's p, not corrected; a star stays significant after Holm's "
    "correction. Blue: the row is better.",
    "scores": "Mean and standard deviation of the runs; points are runs.",
    "time_to_convergence": "Epochs to convergence, mean and 95 % interval over runs.",
    "who_knows_what": "Share of samples that each exact set of models gets right, on a logarithmic scale.",
    "overlays": "The images on which the models are least of one mind; foreground pixels coloured by who is right.",
    "loss_curves": "Training loss, mean over runs.",
}
# Of many models: figures with a panel a model and the table that has all of them, and those with a row a model.
PANELS = {"cka_heatmap": "similarity", "aligned_umap": "aligned_embedding", "umap_": "embedding", "pca_": "embedding"}
ROWS = ("cka_by_layer", "few_shot", "feature_reuse", "feature_uniqueness")
UNBANDED = (
    "cka_heatmap",
    "pairwise",
    "scores",
    "loss_curves",
    "who_knows_what",
)  # no bands, or other ones than intervals


def title_of(name: str) -> str:
    """Return what a figure shows, in a sentence."""
    return next(text for start, text in TITLES.items() if name.startswith(start))


def many_note(name: str, layers: pd.DataFrame) -> str:
    """Return what a figure of many models shows otherwise or leaves out, in a sentence; nothing of few."""
    if not is_many(layers):
        return ""
    if table := next((table for start, table in PANELS.items() if name.startswith(start)), None):
        return f"Shown are {part_of(len(shown_models(layers)), layers['model'].nunique(), table)}."
    apart = "; controls stand apart below" if controls(layers) else ""
    return f"One row a model{apart}." if name.startswith(ROWS) or name.endswith("_by_depth") else ""


def caption(name: str, data: pd.DataFrame, note: str = "") -> str:
    """Return the draft of a caption for a figure and the rows that it shows; ``note`` is that of many models."""
    lead = "Not drawn, but in the table" if note else "Bands or bars"
    bands = "" if name.startswith(UNBANDED) else _bands(data, lead)
    return " ".join(filter(None, [title_of(name), note, bands, _counts(data)]))


def _bands(data: pd.DataFrame, lead: str) -> str:
    if not {"ci_low", "level", "interval"} <= set(data.columns) or data["ci_low"].isna().all():
        return ""
    drawn = data[data["ci_low"].notna()]
    levels = " and ".join(f"{level:.0%}" for level in sorted(drawn["level"].unique()))
    kinds = " or ".join(dict.fromkeys(drawn["interval"].str.partition(";")[0]))
    units = " and ".join(f"{unit}s" for unit in dict.fromkeys(drawn["unit"])) if "unit" in drawn else ""
    missing = len(data) - len(drawn)
    without = f" {missing} of {len(data)} values have none, for the reasons in the data." if missing else ""
    return f"{lead}: {levels.replace('%', ' %')} intervals{f' over {units}' if units else ''} ({kinds}).{without}"


def _counts(data: pd.DataFrame) -> str:
    """Return the number of images, of each data set, or of runs."""
    columns = set(data.columns)
    if {"data_a", "data_b", "n_a", "n_b"} <= columns:
        ends = pd.concat([
            data[["data_a", "n_a"]].set_axis(["data", "n"], axis=1), data[["data_b", "n_b"]].set_axis(["data", "n"], axis=1)
        ])  # fmt: skip
        return _of_each(ends, "n", "images")
    if {"data", "n_train", "n_test"} <= columns:
        trained = _of_each(data, "n_train", "training images")
        return f"{trained} Tested on {_of_each(data, 'n_test', 'images').removeprefix('n = ')}"
    if {"data", "n"} <= columns:
        return _of_each(data, "n", "images")
    if {"data", "sample"} <= columns:
        counts = data.groupby("data", sort=False)["sample"].nunique().rename("n").reset_index()
        return _of_each(counts, "n", "images")
    if {"n_a", "n_b"} <= columns:
        return f"n = {_span(pd.concat([data['n_a'], data['n_b']]))} runs."
    if {"pretraining", "n"} <= columns:
        return f"n = {_span(data['n'])} runs."
    return f"n = {_span(data['n'])}." if "n" in columns else ""


def _of_each(data: pd.DataFrame, column: str, what: str) -> str:
    counts = {name: _span(rows[column]) for name, rows in data.groupby("data", sort=False)}
    first, *rest = [f"{count} {{}}({name})" for name, count in counts.items()]
    return f"n = {', '.join([first.format(what + ' '), *(each.format('') for each in rest)])}."


def _span(values: pd.Series) -> str:
    low, high = values.min(), values.max()
    return f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"
