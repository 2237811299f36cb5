"""What else labels tell in the last layer: accuracy from few labelled images, and from shuffled labels."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from featurespace import seeding
from featurespace.errors import counted
from featurespace.files import hash_value
from featurespace.metrics.controls import shuffled_label_control
from featurespace.metrics.learning import few_shot
from featurespace.progress import Progress, shortened
from featurespace.tables.memo import Result
from featurespace.tables.schema import FEW_SHOT, PROBE_CONTROL, interval_columns, validate
from featurespace.tables.splits import Split
from featurespace.tables.stores import Stores

SHOTS = (1, 2, 5, 10, 20, 50)
REPEATS = 20
PERMUTATIONS = 1000


def learning_tables(
    stores: Stores, splits: Mapping[str, Split], *, seed: int, progress: Progress | None = None
) -> dict[str, pd.DataFrame]:
    """Return the tables few_shot and probe_control, of a ridge probe on the last layer of every model.

    ``few_shot``: accuracy and balanced accuracy from 1 to 50 images a class (groups, where there are groups), the mean of
    20 draws, whose interval counts the draw of training and of test images. ``probe_control``: the accuracy, that on
    shuffled training labels, their difference (the selectivity) and the p of 1000 shuffles. The images are those of the
    other probes.
    """
    progress = progress or Progress()
    rows: dict[str, list[dict]] = {"few_shot": [], "probe_control": []}
    failures: dict[str, list[str]] = {}
    makers = {"few_shot": _few_shot_rows, "probe_control": _control_rows}
    for data, split in splits.items():
        for model in stores.models:
            layer = stores.layers(model)[-1]
            key = {"model": model, "layer": layer, "data": data}
            arguments = _arguments(np.asarray(stores.features(model, data, layer)), split)
            parts = hash_value([split.train.tolist(), split.test.tolist()])
            made_from = {**stores.content(model, data, [layer]), "seed": seed, "split": parts}
            for name, make in makers.items():
                try:
                    result = stores.memo.recall(name.replace("_", ""), made_from, partial(make, arguments, seed))
                except ValueError as error:
                    failures.setdefault(f"no {name} on {data!r} for {{}}: {error}", []).append(f"{model} {layer}")
                else:
                    rows[name] += [{**key, **row} for row in result.rows]
    for reason, places in failures.items():
        progress.say(reason.replace("{}", shortened(places), 1))
    return {
        "few_shot": validate(rows["few_shot"], FEW_SHOT),
        "probe_control": validate(rows["probe_control"], PROBE_CONTROL),
    }


def _arguments(X: np.ndarray, split: Split) -> dict[str, Any]:
    groups = None if split.groups is None else (split.groups[split.train], split.groups[split.test])
    return {
        "X_train": X[split.train], "y_train": split.labels[split.train], "X_test": X[split.test],
        "y_test": split.labels[split.test], "groups": groups,
    }  # fmt: skip


def _few_shot_rows(arguments: dict[str, Any], seed: int) -> Result:
    features = [arguments[name] for name in ("X_train", "y_train", "X_test", "y_test")]
    groups, y = arguments["groups"], arguments["y_train"]
    # a class gives at most one less than it has, so that draws differ
    units = [len(np.unique(groups[0][y == name])) if groups else int((y == name).sum()) for name in np.unique(y)]
    shots = [each for each in SHOTS if each < min(units)]
    if not shots:
        unit = f"training {'group' if groups else 'image'}"
        raise ValueError(f"a class has {counted(min(units), unit)}; at least 2 are needed")
    found = few_shot(*features, shots=shots, repeats=REPEATS, groups=groups, rng=seeding.child(seed, "few shot"))
    rows = [
        {"probe": "ridge", "shots": each.shots, "metric": metric, "repeats": each.repeats, "n_train": each.n_train,
         "n_test": estimate.n, **interval_columns(estimate)}
        for each in found.values()
        for metric, estimate in (("accuracy", each.accuracy), ("balanced_accuracy", each.balanced_accuracy))
    ]  # fmt: skip
    return Result(rows, {})


def _control_rows(arguments: dict[str, Any], seed: int) -> Result:
    features = [arguments[name] for name in ("X_train", "y_train", "X_test", "y_test")]
    rng = seeding.child(seed, "shuffled labels")
    found = shuffled_label_control(*features, rng=rng, permutations=PERMUTATIONS, groups=arguments["groups"])
    row = {
        "probe": "ridge", "metric": "selectivity", "accuracy": found.accuracy.value, "shuffled": float(found.null.mean()),
        "p_value": found.p_value, "permutations": len(found.null), "n_train": len(features[1]),
        "n_test": len(features[3]), **interval_columns(found.selectivity),
    }  # fmt: skip
    return Result([row], {})
