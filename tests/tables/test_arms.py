"""A run with two arms of two seeds, against the statistics of its single models."""

import numpy as np
import pytest
import torch

import featurespace as fs
from featurespace.errors import FeaturespaceError

ARMS = ("x=x1,x2", "y=y1,y2")


@pytest.fixture(scope="module")
def run(tmp_path_factory, two_domains):
    import timm

    root = tmp_path_factory.mktemp("arms")
    specs = []
    for seed, label in enumerate(("x1", "x2", "y1", "y2")):
        torch.manual_seed(seed)
        network = timm.create_model("test_resnet", num_classes=3)
        torch.save(network.state_dict(), root / f"{label}.pth")
        specs.append(f"{label}=test_resnet@{root / label}.pth")
    options = {"image_size": 32, "layers": "stages", "control": False, "only": "similarity,probe"}
    return fs.analyze(specs, [f"d={two_domains[0]}"], root / "run", arms=ARMS, **options)


def test_the_arms_are_in_the_tables(run):
    layers = run.tables["layers"].drop_duplicates("model").set_index("model")["arm"]
    assert layers.to_dict() == {"x1": "x", "x2": "x", "y1": "y", "y2": "y"}
    assert "one_seed" not in set(run.tables["verdicts"]["verdict"])


def test_differences_are_of_the_means_and_wider_than_those_of_images_alone(run):
    table = run.tables["differences"]
    arms = table[table["analysis"] == "arms"]
    probe = (
        run.tables["probe"].query("probe == 'linear' and metric == 'accuracy'").set_index(["model", "layer"])["value"]
    )
    single = table[(table["analysis"] == "probe") & (table["a"] == "y1") & (table["b"] == "x1")].set_index("layer")
    assert len(arms) == 6
    for row in arms.itertuples():
        assert (row.a, row.b) == ("y", "x")
        means = [(probe[f"{arm}1", row.layer] + probe[f"{arm}2", row.layer]) / 2 for arm in "yx"]
        assert (row.value_a, row.value_b) == pytest.approx(tuple(means)) and row.value == pytest.approx(
            means[0] - means[1]
        )
        if row.interval != "none: every seed and every unit gives the same difference":
            assert row.interval == "group jackknife over groups, and 2 and 2 seeds"
            assert single.loc[row.layer, "interval"] == "group jackknife"
    assert arms["p_value"].notna().any()
    assert any(
        "could not" not in each["sentence"] and "the arm" in each["sentence"] for each in run.summary["findings"]
    )


def test_the_ceiling_of_seeds_is_the_mean_cka_within_the_arms(run):
    scale = run.tables["scale"].set_index(["model_a", "model_b", "layer_a"])
    cka = (
        run.tables["similarity"]
        .query("metric == 'cka_debiased'")
        .set_index(["model_a", "model_b", "layer_a", "layer_b"])["value"]
    )
    for layer in scale.index.get_level_values("layer_a").unique():
        x, y = cka["x1", "x2", layer, layer], cka["y1", "y2", layer, layer]
        assert scale.loc[("x1", "y2", layer), "seeds"] == pytest.approx((x + y) / 2)
        assert scale.loc[("x1", "x2", layer), "seeds"] == pytest.approx(x)


def test_an_unknown_member_is_named(two_domains, tmp_path):
    with pytest.raises(FeaturespaceError, match="model 'x3' is not known in --arms; did you mean 'x1'"):
        fs.analyze(["x1=test_resnet@random"], [f"d={two_domains[0]}"], tmp_path / "r", arms=["x=x1,x3"])


def test_without_arms_the_column_is_empty(small_run):
    assert small_run.tables["layers"]["arm"].isna().all() and np.isnan(small_run.tables["scale"]["seeds"]).all()
