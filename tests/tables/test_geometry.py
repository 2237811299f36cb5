"""Properties of the layers of a small run, against the metrics on its feature files."""

import numpy as np
import pandas as pd
import pytest
from oracles.runs import layer_file
from oracles.stores import stores_of

import featurespace as fs
from featurespace.metrics import (
    anisotropy_jackknife,
    intrinsic_dimension,
    participation_ratio_jackknife,
    silhouette,
)
from featurespace.options import DEFAULT_PROPERTIES, PROPERTIES
from featurespace.stats import paired_jackknife
from featurespace.tables.geometry import PROPERTIES as KNOWN


def groups_of(run, data):
    return pd.read_parquet(run.path / "features" / "before" / data / "samples.parquet")["group"].to_numpy(str)


def test_every_layer_has_its_properties(small_run):
    table, layers = small_run.tables["geometry"], small_run.tables["layers"]
    assert len(table) == 2 * len(layers) * len(DEFAULT_PROPERTIES)
    row = table.query("metric == 'participation_ratio_debiased' and model == 'after' and data == 'dark'").iloc[-1]
    X = layer_file(small_run.path, "after", "dark", row["layer"])
    expected = participation_ratio_jackknife(X, groups=groups_of(small_run, "dark"))
    assert (row["value"], row["ci_low"], row["se"]) == pytest.approx((expected.value, expected.ci_low, expected.se))


def test_differences_are_paired(small_run):
    tests = small_run.tables["differences"].query("analysis == 'geometry'")
    assert set(zip(tests["a"], tests["b"])) == {("after", "before"), ("before", "untrained"), ("after", "untrained")}
    row = tests.query("metric == 'anisotropy' and data == 'bright' and a == 'after' and b == 'before'").iloc[-1]
    groups = groups_of(small_run, "bright")
    pair = [
        anisotropy_jackknife(layer_file(small_run.path, model, "bright", row["layer"]), groups=groups)
        for model in ("after", "before")
    ]
    difference, p_value = paired_jackknife(*pair, sizes=np.unique(groups, return_counts=True)[1])
    assert row["value"] == pytest.approx(difference.value) and row["p_value"] == pytest.approx(p_value, rel=1e-6)


def test_sentences_and_chapter(small_run):
    found = [each for each in small_run.summary["findings"] if each["table"] == "geometry"]
    assert len(found) == 2 * len(DEFAULT_PROPERTIES) and all("last layer" in each["sentence"] for each in found)
    assert 'id="geometry"' in (small_run.path / "report.html").read_text()


def test_every_property_can_be_asked_for(two_domains, checkpoints, tmp_path):
    assert set(PROPERTIES) == set(KNOWN)
    options = {"image_size": 32, "layers": "maxpool,pooled", "only": "geometry", "control": False}
    run = fs.analyze(
        [f"m=test_resnet@{checkpoints[0]}"],
        [f"d={two_domains[0]}"],
        tmp_path / "r",
        properties="all",
        **options,
    )
    table = run.tables["geometry"].query("layer == 'pooled'").set_index("metric")
    assert set(table.index) == set(PROPERTIES)
    assert (table["ci_low"].notna() | table["interval"].str.startswith("none: ")).all()
    labels = pd.read_parquet(run.path / "features" / "m" / "d" / "samples.parquet")["label"].to_numpy(str)
    assert table.loc["silhouette", "value"] == pytest.approx(
        silhouette(layer_file(run.path, "m", "d", "pooled"), labels)
    )
    assert table.loc["dead_units", "interval"] == "none: a count of channels over these images"


def test_without_labels_classes_have_no_separation_and_the_rest_stands(tmp_path, rng):
    from PIL import Image

    from featurespace.progress import Progress

    for index in range(12):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(tmp_path / f"{index}.png")
    progress = Progress()
    run = fs.analyze(["m=test_resnet@random"], [f"d={tmp_path}"], tmp_path.parent / "r", image_size=32, layers="pooled", only="geometry",
                     properties="silhouette,anisotropy", control=False, progress=progress)  # fmt: skip
    assert set(run.tables["geometry"]["metric"]) == {"anisotropy"}
    assert any("no silhouette on 'd' for m pooled: the images have no labels" in each for each in progress.messages)


def tables_of(stores, properties):
    from featurespace.progress import Progress
    from featurespace.tables.geometry import geometry_tables

    progress = Progress()
    return *geometry_tables(stores, seed=0, properties=properties, progress=progress), progress.messages


def test_a_property_that_one_model_has_not_is_said_and_not_compared(tmp_path, rng):
    X = rng.normal(size=(30, 4))
    models = {"a": {"l": X, "k": X[:, :2]}, "b": {"l": X**2, "k": np.ones((30, 3))}}
    table, tests, said = tables_of(stores_of(tmp_path, models), ("anisotropy", "intrinsic_dimension", "dead_units"))
    assert {(row["metric"], row["layer"]) for row in tests} == {
        ("anisotropy", "l"), ("anisotropy", "k"), ("intrinsic_dimension", "l"),
    }  # fmt: skip
    assert set(table.query("model == 'b' and layer == 'k'")["metric"]) == {"anisotropy", "dead_units"}
    row = table.set_index(["metric", "model", "layer"]).loc[("intrinsic_dimension", "a", "l")]
    assert row["unit"] == "sample" and row["value"] == pytest.approx(intrinsic_dimension(X.astype(np.float32)))
    assert any(each.startswith("no intrinsic_dimension on 'x' for b k: ") for each in said)


def test_a_class_with_braces_in_its_name_is_said_as_it_is(tmp_path, rng):
    labels = np.array(["a{0}", "b{x}"])[np.arange(30) % 2]
    X = np.c_[np.arange(30) % 2, rng.normal(size=(30, 2))]
    table, _, said = tables_of(stores_of(tmp_path, {"m": {"l": X}}, labels=labels), ("log_me",))
    assert table.empty and len(said) == 1
    assert said[0].startswith("no log_me on 'x' for m l: the features fit ") and "{" in said[0]
