"""How well a simple classifier reads the class from each layer, on images it has not seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from featurespace import seeding
from featurespace.data.splits import train_test_rows
from featurespace.errors import FeaturespaceError
from featurespace.files import hash_array
from featurespace.metrics.probe import knn_probe, linear_probe
from featurespace.metrics.scores import probe_scores
from featurespace.progress import Progress, shortened
from featurespace.tables.differences import probe_differences
from featurespace.tables.memo import Result
from featurespace.tables.schema import PROBE, interval_columns, validate
from featurespace.tables.stores import Stores

MIN_PER_CLASS = 2  # training images; with one, no cross-validation can hold any back
PIXELS = "pixels"  # the baseline's name in the column `model`
PIXEL_SIDE = 32  # images are scaled to this height and width for the baseline
PIXEL_LAYER = f"{PIXEL_SIDE} x {PIXEL_SIDE} px"


@dataclass(frozen=True)
class Split:
    """Training and test rows of a data set, with labels and groups."""

    train: np.ndarray
    test: np.ndarray
    labels: np.ndarray
    groups: np.ndarray | None

    def take(self, rows: np.ndarray) -> np.ndarray | None:
        """Groups of the given rows."""
        return None if self.groups is None else self.groups[rows]


def probe_tables(
    stores: Stores, pixels: Mapping[str, np.ndarray], *, seed: int, progress: Progress | None = None
) -> tuple[pd.DataFrame, list[dict]]:
    """Return accuracy, balanced accuracy and macro AUC of two probes per layer, and the rows of the paired tests.

    The linear probe is multinomial logistic regression on standardised features; its C is chosen by cross-validation
    within the training split (by group). Folds and test samples are the same for every model and layer. ``pixels``
    holds the raw pixels (n, 3 x 32 x 32) of each data set, the baseline. A data set without labels, or with one class, is left
    out, and the progress says so.
    """
    progress = progress or Progress()
    rows: list[dict] = []
    differences: list[dict] = []
    for data in stores.data:
        split = _split(stores, data, seed=seed, progress=progress)
        if split is None:
            continue
        jobs = [
            (model, layer, stores.features(model, data, layer), stores.content(model, data, [layer]))
            for model in stores.models
            for layer in stores.layers(model)
        ]
        if data in pixels:
            content = {**stores.content(stores.models[0], data, []), "pixels": hash_array(pixels[data])}
            jobs.append((PIXELS, PIXEL_LAYER, pixels[data], content))
        correct: dict[tuple[str, str], np.ndarray] = {}
        failures: dict[str, list[str]] = {}
        with progress.bar(f"probes on {data}", len(jobs), "layers") as advance:
            for model, layer, X, content in jobs:
                key = {"model": model, "layer": layer, "data": data}
                make = partial(_probe_rows, X, split, key, seed=seed)
                try:
                    result = stores.memo.recall("probe", {**key, **content, "seed": seed}, make)
                    rows += result.rows
                    correct[model, layer] = result.arrays["correct"]
                except ValueError as error:
                    failures.setdefault(str(error), []).append(f"{model} {layer}")
                advance(1)
        for reason, places in failures.items():
            progress.say(f"no probe on {data!r} for {shortened(places)}: {reason}")
        differences += probe_differences(stores, data, correct, split.take(split.test), (PIXELS, PIXEL_LAYER))
    return validate(rows, PROBE), differences


def _split(stores: Stores, data: str, *, seed: int, progress: Progress) -> Split | None:
    labels = stores.column(data, "label")
    if labels is None:
        progress.say(f"no probe on {data!r}: its images have no labels (class folders, or a column 'label')")
        return None
    if len(set(labels) - {""}) < 2:
        progress.say(f"no probe on {data!r}: all labels are {str(labels[0])!r}; a probe needs two classes")
        return None
    try:
        train, test, how = train_test_rows(stores.samples(data), rng=seeding.child(seed, "split"))
    except FeaturespaceError as error:
        progress.say(f"no probe on {data!r}: {error}")
        return None
    _tell_left_out(stores.samples(data), np.r_[train, test], data, progress)
    names, counts = np.unique(labels[train], return_counts=True)
    learnable = names[counts >= MIN_PER_CLASS]
    kept = [rows[np.isin(labels[rows], learnable)] for rows in (train, test)]
    lost = len(train) + len(test) - len(kept[0]) - len(kept[1])
    if lost:
        classes = sorted(set(labels[np.r_[train, test]]) - set(learnable))
        progress.say(
            f"probe on {data!r}: {lost} images of {len(classes)} classes with fewer than {MIN_PER_CLASS} training images are "
            f"left out ({', '.join(classes[:5])}{', ...' if len(classes) > 5 else ''})"
        )
    if len(learnable) < 2 or not len(kept[1]):
        progress.say(
            f"no probe on {data!r}: {len(learnable)} classes have {MIN_PER_CLASS} training images or more, and {len(kept[1])} "
            "test images are of those; a probe needs two such classes and a test image"
        )
        return None
    groups = stores.column(data, "group")
    shared = set() if groups is None else set(groups[kept[0]]) & set(groups[kept[1]])
    if shared:
        progress.say(
            f"probe on {data!r}: {len(shared)} groups are in training and test ({shortened(sorted(shared))}), so the test "
            "tells less about new groups than it seems; leave the column 'split' out to split by group"
        )
    progress.say(f"probe on {data!r}: {len(kept[0])} training and {len(kept[1])} test images, {how}")
    return Split(kept[0], kept[1], labels, groups)


def _tell_left_out(samples: pd.DataFrame, used: np.ndarray, data: str, progress: Progress) -> None:
    rest = samples.drop(index=samples.index[used])
    unlabelled = rest["label"].isna()
    splits = rest["split"][~unlabelled].fillna("").value_counts().sort_index(ascending=False)
    parts = [f"{count} {f'of split {split}' if split else 'without split'}" for split, count in splits.items()]
    parts += [f"{unlabelled.sum()} without label"] if unlabelled.any() else []
    if parts:
        verb = "takes" if len(rest) == 1 else "take"
        first, *more = parts
        counted = first.replace(" ", " image " if first.startswith("1 ") else " images ", 1)
        progress.say(f"probe on {data!r}: {' and '.join([counted, *more])} {verb} no part")


def _probe_rows(X: np.ndarray, split: Split, key: dict, *, seed: int) -> Result:
    """Return the rows of both probes, and which test images the linear one got right."""
    X_train, X_test = np.asarray(X[split.train]), np.asarray(X[split.test])
    y_train, y_test = split.labels[split.train], split.labels[split.test]
    rng = seeding.child(seed, "probe")
    fitted = {
        "linear": linear_probe(X_train, y_train, X_test, groups=split.take(split.train), rng=rng),
        "knn": knn_probe(X_train, y_train, X_test, k=min(20, len(y_train))),
    }
    rows = []
    for name, probe in fitted.items():
        scores = probe_scores(probe, y_test, groups=split.take(split.test), rng=seeding.child(seed, "scores"))
        classes = len(probe.classes)
        counts = {"n_train": len(y_train), "n_test": len(y_test), "n_classes": classes}
        for metric, estimate in scores.items():
            chance = {"auc_macro": 0.5, "accuracy": _majority(y_train)}.get(metric, 1 / classes)
            parameter = f"C={probe.C:g}" if name == "linear" else f"k={min(20, len(y_train))}"
            rows.append(
                {"probe": name, **key, "metric": metric, **counts, "hyperparameter": parameter, "chance": chance,
                 **interval_columns(estimate)}
            )  # fmt: skip
    return Result(rows, {"correct": fitted["linear"].predictions == y_test})


def _majority(y_train: np.ndarray) -> float:
    # Share of the most frequent training class: what always naming it gets right, where the test is drawn alike.
    return float(np.unique(y_train, return_counts=True)[1].max() / len(y_train))
