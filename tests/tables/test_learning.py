"""Few-shot, shuffled labels and classes of a small run, against the metrics on its feature files."""

import numpy as np
import pandas as pd
import pytest
from oracles.runs import layer_file

from featurespace import seeding
from featurespace.metrics import few_shot, per_class_scores, shuffled_label_control
from featurespace.metrics.probe import Probe


def arguments(run, model, data):
    samples = pd.read_parquet(run.path / "features" / model / data / "samples.parquet")
    X = layer_file(run.path, model, data, "pooled")
    train, test = (np.flatnonzero(samples["split"] == part) for part in ("train", "test"))
    y, groups = samples["label"].to_numpy(str), samples["group"].to_numpy(str)
    return (X[train], y[train], X[test], y[test]), (groups[train], groups[test])


def test_few_shot_draws_whole_groups(small_run):
    table = small_run.tables["few_shot"]
    assert set(table["shots"]) == {1, 2} and (table["unit"] == "group").all() and (table["repeats"] == 20).all()
    assert (table["layer"] == "pooled").all() and set(table["model"]) == {"before", "after", "untrained"}
    data, groups = arguments(small_run, "after", "dark")
    found = few_shot(*data, shots=[1, 2], repeats=20, groups=groups, rng=seeding.child(0, "few shot"))
    row = table.query("model == 'after' and data == 'dark' and shots == 2 and metric == 'accuracy'").iloc[0]
    assert (row["value"], row["ci_low"]) == pytest.approx(
        (found[2].accuracy.value, found[2].accuracy.ci_low), nan_ok=True
    )


def test_shuffled_labels(small_run):
    table = small_run.tables["probe_control"]
    data, groups = arguments(small_run, "before", "bright")
    found = shuffled_label_control(*data, groups=groups, rng=seeding.child(0, "shuffled labels"))
    row = table.query("model == 'before' and data == 'bright'").iloc[0]
    assert row["value"] == pytest.approx(found.selectivity.value) and row["p_value"] == found.p_value
    assert row["value"] == pytest.approx(row["accuracy"] - row["shuffled"]) and row["permutations"] == 1000


def test_scores_of_each_class(small_run):
    table = small_run.tables["probe_by_class"]
    assert set(table["metric"]) == {"recall", "precision", "f1", "auc"} and set(table["label"]) == {
        "class0",
        "class1",
        "class2",
    }
    probe = (
        small_run.tables["probe"]
        .query("probe == 'linear' and metric == 'balanced_accuracy'")
        .set_index(["model", "layer", "data"])
    )
    recalls = table[table["metric"] == "recall"].groupby(["model", "layer", "data"])["value"].mean()
    np.testing.assert_allclose(recalls[probe.index], probe["value"], atol=1e-12)
    (_, _, _, y_test), (_, groups) = arguments(small_run, "before", "bright")
    perfect = Probe("linear", np.unique(y_test), y_test, np.eye(3)[np.unique(y_test, return_inverse=True)[1]])
    assert per_class_scores(perfect, y_test, groups=groups)["class0"]["recall"].n == 8


def test_reasons_are_said(tmp_path, two_domains, checkpoints):
    import featurespace as fs
    from featurespace.progress import Progress

    table = pd.read_csv(two_domains[0])
    table["path"] = [str(two_domains[0].parent / name) for name in table["path"]]
    table["group"] = [name.split("-")[1] for name in table["group"]]  # each group now holds all classes
    table.to_csv(tmp_path / "m.csv", index=False)
    progress = Progress()
    run = fs.analyze([f"m=test_resnet@{checkpoints[0]}"], [f"d={tmp_path / 'm.csv'}"], tmp_path / "r", image_size=32, layers="pooled",
                     only="probe", control=False, progress=progress)  # fmt: skip
    assert run.tables["probe_control"].empty and len(run.tables["few_shot"])
    assert any("no probe_control on 'd' for m pooled" in each and "class" in each for each in progress.messages)


def test_a_class_of_one_training_image_has_no_curve(tmp_path, rng):
    from oracles.stores import stores_of

    from featurespace.progress import Progress
    from featurespace.tables.learning import learning_tables
    from featurespace.tables.splits import Split

    stores, progress = stores_of(tmp_path, {"m": {"l": rng.normal(size=(8, 2))}}), Progress()
    split = Split(np.arange(5), np.arange(5, 8), np.array([*"aabbcabc"]), None)
    tables = learning_tables(stores, {"x": split}, seed=0, progress=progress)
    assert tables["few_shot"].empty
    assert "no few_shot on 'x' for m l: a class has 1 training image; at least 2 are needed" in progress.messages
