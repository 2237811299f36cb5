"""The table of weights against the metrics, with controls, arms and layers that cannot be compared."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import featurespace as fs
from featurespace.metrics import (
    feature_reuse,
    feature_reuse_jackknife,
    feature_uniqueness,
    feature_uniqueness_jackknife,
    split_uniqueness,
)
from featurespace.models.weights import layer_weights
from featurespace.plots.all import figures
from featurespace.progress import Progress
from featurespace.tables import weights as room
from featurespace.tables.memo import Memo
from featurespace.tables.weights import kernel_bytes, weights_table


class Network(nn.Module):
    def __init__(self, seed, *, width=8):
        super().__init__()
        torch.manual_seed(seed)
        self.stem = nn.Conv2d(3, 16, 3, bias=False)
        self.depthwise = nn.Conv2d(16, 16, 3, groups=16)
        self.up = nn.ConvTranspose2d(16, 4, 2)
        self.norm = nn.BatchNorm2d(4)
        self.attention = nn.MultiheadAttention(width, 2)
        self.head = nn.Linear(width, 24)


class Loaded:
    """What the table needs of a model."""

    def __init__(self, label, network):
        self.label, self.network = label, network


@pytest.fixture
def models():
    return [Loaded(label, Network(seed)) for seed, label in enumerate(("before", "after", "untrained"))]


def weight(model, layer):
    return layer_weights(model.network)[layer].numpy()


LAYERS = ["stem", "depthwise", "attention.in_proj_weight", "attention.out_proj", "head"]


def test_convolutions_linear_layers_and_attention_have_weights():
    found = layer_weights(Network(0))
    assert list(found) == LAYERS and found["attention.in_proj_weight"].shape == (24, 8)
    assert not any(each.requires_grad for each in found.values())


def test_every_value_is_that_of_the_metric(models):
    table = weights_table(models, controls={"after": "untrained", "before": "untrained"})
    assert list(dict.fromkeys(table["metric"])) == list(room.METRICS)
    reuse = table[table["metric"] == "feature_reuse"]
    assert list(dict.fromkeys(zip(reuse["model_a"], reuse["model_b"]))) == [
        ("before", "after"), ("after", "untrained"), ("before", "untrained")
    ]  # fmt: skip
    assert reuse.loc[reuse["model_b"] == "after", "layer"].tolist() == LAYERS
    by_label = {model.label: model for model in models}
    for row in table.itertuples():
        a, b = (weight(by_label[name], row.layer) for name in (row.model_a, row.model_b))
        debiased = row.metric.endswith("_debiased")
        if row.metric.startswith("feature_reuse"):
            expected, plain = feature_reuse_jackknife(a, b, debiased=debiased), feature_reuse(a, b, debiased=debiased)
            assert np.isnan(row.sd)
        else:
            assert row.model_a == row.model_b
            expected, plain = (
                feature_uniqueness_jackknife(a, debiased=debiased),
                feature_uniqueness(a, debiased=debiased),
            )
            assert row.sd == pytest.approx(split_uniqueness(a, debiased=debiased).std(), abs=1e-12)
        assert row.value == pytest.approx(plain, abs=1e-12)
        np.testing.assert_allclose([row.ci_low, row.ci_high, row.se], [expected.ci_low, expected.ci_high, expected.se])
        assert (row.n, row.n_groups, row.interval, row.unit, row.runs) == (
            expected.n, expected.n_groups, expected.interval, "filter", 1
        )  # fmt: skip


def test_layers_that_cannot_be_compared_are_said(models, monkeypatch):
    progress = Progress()
    table = weights_table(models, progress=progress)
    assert "stem" in set(table.loc[table["metric"] == "feature_uniqueness_debiased", "layer"])
    missing = set(LAYERS) - set(table.loc[table["metric"] == "feature_uniqueness", "layer"])
    assert missing == {"attention.out_proj"}
    assert any(
        "no feature_uniqueness of before attention.out_proj, after" in each and "has 1 rows" in each
        for each in progress.messages
    )
    monkeypatch.setattr(room, "MOST_ROWS", 100)
    progress = Progress()
    table = weights_table(models, progress=progress)
    assert "weights of 2 layers with more than 100 rows (out x h x w) are not compared: stem (144), depthwise (144)" in progress.messages  # fmt: skip
    assert not {"stem", "depthwise"} & set(table["layer"])


def test_layers_of_other_shapes_have_no_reuse(models):
    other = Loaded("wide", Network(3, width=16))
    table = weights_table([models[0], other])
    reuse = table[table["metric"] == "feature_reuse"]
    assert reuse["layer"].tolist() == ["stem", "depthwise"]
    assert {"head"} <= set(table.loc[(table["metric"] == "feature_uniqueness") & (table["model_a"] == "wide"), "layer"])


def test_a_constant_layer_is_said_and_the_others_stay(models):
    with torch.no_grad():
        models[1].network.head.weight.zero_()
    progress = Progress()
    table = weights_table(models[:2], progress=progress)
    assert "head" not in set(table.loc[table["metric"] == "feature_reuse", "layer"])
    assert any("no feature_reuse of before head: W is constant" in each for each in progress.messages)


def test_results_are_remembered_by_content(models, tmp_path, monkeypatch):
    first = weights_table(models, memo=Memo(tmp_path))
    monkeypatch.setattr(room, "prepare_filters", lambda *args, **kwargs: pytest.fail("computed again"))
    monkeypatch.setattr(room, "uniqueness_estimate", refused)  # what cannot be computed is tried again
    renamed = [Loaded(f"{model.label}2", model.network) for model in models]
    again = weights_table(renamed, memo=Memo(tmp_path))
    pd.testing.assert_frame_equal(
        first.drop(columns=["model_a", "model_b"]), again.drop(columns=["model_a", "model_b"])
    )
    monkeypatch.undo()
    with torch.no_grad():
        models[0].network.head.weight[0, 0] += 1
    memo = Memo(tmp_path)
    weights_table(models, memo=memo)
    assert memo.made == 5  # of the head: two reuses, plain and debiased, and the uniqueness that can be computed


def test_the_plan_counts_the_largest_kernel(models, monkeypatch):
    assert kernel_bytes(models) == 8 * 144**2 * 9 and kernel_bytes([]) == 0
    monkeypatch.setattr(room, "MOST_ROWS", 143)
    assert kernel_bytes(models[:1]) == 8 * 24**2 * 5


def refused(*args, **kwargs):
    raise ValueError("computed again")


@pytest.fixture
def seeds():
    return [Loaded(f"{name}{seed}", Network(10 * place + seed)) for place, name in enumerate("xy") for seed in range(3)]


def test_means_over_the_runs_of_an_arm(seeds):
    start = Loaded("start", Network(99))
    arms = {"x": ["x0", "x1", "x2"], "y": ["y0", "y1", "y2"]}
    table = weights_table([start, *seeds], arms=arms)
    single = table[table["runs"] == 1].set_index(["metric", "model_a", "model_b", "layer"])
    means = table[table["runs"] > 1].set_index(["metric", "model_a", "model_b", "layer"])
    assert set(means.index.droplevel("layer")) == {
        *(((f"feature_reuse{end}"), *pair) for end in ("", "_debiased") for pair in (("start", "x"), ("start", "y"), ("x", "y"))),
        *((f"feature_uniqueness{end}", name, name) for end in ("", "_debiased") for name in "xy"),
    }  # fmt: skip
    for a, b, runs in (
        ("start", "x", [("start", f"x{i}") for i in range(3)]),
        ("x", "y", [(f"x{i}", f"y{j}") for i in range(3) for j in range(3)]),
    ):
        values = [single.loc[("feature_reuse", *run, "stem"), "value"] for run in runs]
        row = means.loc[("feature_reuse", a, b, "stem")]
        assert row["value"] == pytest.approx(np.mean(values)) and row["sd"] == pytest.approx(np.std(values))
        assert row["runs"] == len(runs) and row["ci_low"] < row["value"] < row["ci_high"]
    assert means.loc[("feature_reuse", "start", "x", "stem"), "interval"] == "jackknife over filters, and 3 runs"
    assert means.loc[("feature_reuse", "x", "y", "stem"), "interval"] == "jackknife over filters, and 3 and 3 runs"
    values = [single.loc[("feature_uniqueness", f"x{i}", f"x{i}", "stem"), "value"] for i in range(3)]
    row = means.loc[("feature_uniqueness", "x", "x", "stem")]
    assert row["value"] == pytest.approx(np.mean(values)) and row["interval"].startswith("none: 2 filters, at least 5")


def test_runs_that_differ_widen_the_interval_of_their_mean(seeds):
    start, arms = Loaded("start", Network(99)), {"x": ["x0", "x1", "x2"]}
    for place, model in enumerate(seeds[:3]):
        mixed = (0.05 + 0.45 * place) * model.network.stem.weight + start.network.stem.weight
        model.network.stem.weight = nn.Parameter(mixed.detach())
    table = weights_table([start, *seeds[:3]], arms=arms).set_index(["metric", "model_a", "model_b", "layer"])
    row, first = table.loc[("feature_reuse", "start", "x", "stem")], table.loc[("feature_reuse", "start", "x0", "stem")]
    assert row["se"] > 2 * first["se"]


def test_only_weights_in_a_run(checkpoints, two_domains, tmp_path):
    models = [f"before=test_resnet@{checkpoints[0]}", f"after=test_resnet@{checkpoints[1]}"]
    options = {"image_size": 32, "layers": "pooled", "only": "weights", "control": False, "pictures": False}
    run = fs.analyze(models, [f"bright={two_domains[0]}"], tmp_path / "r", **options)
    table = run.tables["weights"]
    assert set(table["metric"]) == set(room.METRICS)
    reuse = table[(table["metric"] == "feature_reuse_debiased") & (table["model_b"] == "after")].set_index("layer")
    kept = [layer for layer in reuse.index if "layer3" not in layer and "layer4" not in layer]
    assert np.allclose(reuse.loc[kept, "value"], 1) and (reuse.drop(kept)["value"] < 0.999).all()
    assert run.figure_path("feature_reuse").is_file()
    assert [each.name for each in figures(run.tables)] == ["feature_reuse", "feature_uniqueness"]
    (sentence,) = [each["sentence"] for each in run.summary["findings"] if each["table"] == "weights"]
    assert sentence.startswith("The filters of before and after are least alike in layer")
    assert "<h2" in run.report.read_text(encoding="utf-8") and "Feature reuse of before and after" in run.report.read_text(encoding="utf-8")  # fmt: skip
    before = (run.path / "tables" / "weights.csv").read_bytes()
    fs.analyze(models, [f"bright={two_domains[0]}"], tmp_path / "r", **options)
    assert (run.path / "tables" / "weights.csv").read_bytes() == before


def test_runs_that_are_all_like_the_start_have_no_interval():
    start = Loaded("start", Network(99))
    runs = [Loaded(name, Network(99)) for name in ("x0", "x1")]
    table = weights_table([start, *runs], arms={"x": ["x0", "x1"]}).set_index(["metric", "model_a", "model_b", "layer"])
    row = table.loc[("feature_reuse", "start", "x", "stem")]
    assert row["value"] == pytest.approx(1) and row["runs"] == 2 and np.isnan(row["ci_low"])
    assert row["interval"].startswith("none: ")
