"""How well a simple classifier reads the class from each layer, on images it has not seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
import pandas as pd

from featurespace import seeding
from featurespace.files import hash_array
from featurespace.metrics.class_scores import per_class_scores
from featurespace.metrics.probe import knn_probe, linear_probe
from featurespace.metrics.scores import probe_scores
from featurespace.progress import Progress, shortened
from featurespace.tables.data_schemas import PROBE_ANSWERS
from featurespace.tables.differences import probe_differences
from featurespace.tables.learning import learning_tables
from featurespace.tables.memo import Result
from featurespace.tables.sampling import sampled
from featurespace.tables.schema import PROBE, PROBE_BY_CLASS, interval_columns, validate
from featurespace.tables.splits import Split, probe_split
from featurespace.tables.stores import Stores

PIXELS = "pixels"  # the baseline's name in the column `model`
PIXEL_SIDE = 32  # images are scaled to this height and width for the baseline
PIXEL_LAYER = f"{PIXEL_SIDE} x {PIXEL_SIDE} px"


def probe_tables(
    stores: Stores, pixels: Mapping[str, np.ndarray], *, seed: int, progress: Progress | None = None
) -> tuple[dict[str, pd.DataFrame], list[dict]]:
    """Return the tables probe, probe_by_class, probe_answers and those of `learning_tables`, and the rows of the paired tests.

    Accuracy, balanced accuracy and macro AUC of two probes per layer; recall, precision, F1 and AUC of each class.

    The linear probe is multinomial logistic regression on standardised features; its C is chosen by cross-validation
    within the training split (by group). Folds and test samples are the same for every model and layer. ``pixels``
    holds the raw pixels (n, 3 x 32 x 32) of each data set, the baseline. A data set without labels, or with one class, is left
    out, and the progress says so.
    """
    progress = progress or Progress()
    stores = sampled(stores, "probe", seed=seed)
    rows: list[dict] = []
    differences: list[dict] = []
    by_class: list[dict] = []
    answers: list[pd.DataFrame] = []
    splits: dict[str, Split] = {}
    for data in stores.data:
        split = probe_split(stores, data, seed=seed, progress=progress)
        if split is None:
            continue
        splits[data] = split
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
                    rows += [row for row in result.rows if "label" not in row]
                    by_class += [row for row in result.rows if "label" in row]
                    correct[model, layer] = result.arrays["correct"]
                except ValueError as error:
                    failures.setdefault(str(error), []).append(f"{model} {layer}")
                advance(1)
        for reason, places in failures.items():
            progress.say(f"no probe on {data!r} for {shortened(places)}: {reason}")
        differences += probe_differences(stores, data, correct, split.take(split.test), (PIXELS, PIXEL_LAYER))
        answers += _answers(stores, data, split, correct)
    learning = learning_tables(stores, splits, seed=seed, progress=progress)
    told = validate(pd.concat(answers, ignore_index=True) if answers else [], PROBE_ANSWERS)
    tables = {
        "probe": validate(rows, PROBE),
        "probe_by_class": validate(by_class, PROBE_BY_CLASS),
        "probe_answers": told,
        **learning,
    }
    return tables, differences


def _answers(
    stores: Stores, data: str, split: Split, correct: Mapping[tuple[str, str], np.ndarray]
) -> Iterator[pd.DataFrame]:
    """Yield which test images the linear probe on the last layer of each trained model gets right."""
    for model in stores.trained:
        layer = stores.layers(model)[-1]
        if (model, layer) in correct:
            samples = stores.samples(data)["id"].iloc[split.test].to_numpy()
            yield pd.DataFrame({"data": data, "model": model, "layer": layer, "sample": samples,
                                "label": split.labels[split.test], "correct": correct[model, layer]})  # fmt: skip


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
        scores = probe_scores(probe, y_test, groups=split.take(split.test))
        classes = len(probe.classes)
        counts = {"n_train": len(y_train), "n_test": len(y_test), "n_classes": classes}
        for metric, estimate in scores.items():
            chance = {"auc_macro": 0.5, "accuracy": _majority(y_train)}.get(metric, 1 / classes)
            parameter = f"C={probe.C:g}" if name == "linear" else f"k={min(20, len(y_train))}"
            rows.append(
                {"probe": name, **key, "metric": metric, **counts, "hyperparameter": parameter, "chance": chance,
                 **interval_columns(estimate)}
            )  # fmt: skip
    scores_of = per_class_scores(fitted["linear"], y_test, groups=split.take(split.test))
    rows += [
        {"probe": "linear", **key, "label": str(label), "metric": metric, "n": estimate.n, **interval_columns(estimate)}
        for label, scores in scores_of.items() for metric, estimate in scores.items()
    ]  # fmt: skip
    return Result(rows, {"correct": fitted["linear"].predictions == y_test})


def _majority(y_train: np.ndarray) -> float:
    # Share of the most frequent training class: what always naming it gets right, where the test is drawn alike.
    return float(np.unique(y_train, return_counts=True)[1].max() / len(y_train))
