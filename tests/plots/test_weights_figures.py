import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from test_figures import layers_of, overlapping_texts

from featurespace.plots.style import CONTROL, model_colours
from featurespace.plots.weights import reuse_by_layer, uniqueness_by_layer


def weights_of(models, layers, *, arms=()):
    rng = np.random.default_rng(0)
    pairs = [(a, b, 1) for i, a in enumerate(models) for b in models[i + 1 :]] + [
        (each, "untrained", 1) for each in models
    ]
    pairs += [(models[0], arm, 3) for arm in arms]
    rows = []
    for debiased in ("", "_debiased"):
        for layer in layers:
            of_layer = [("feature_reuse", *pair) for pair in pairs]
            of_layer += [("feature_uniqueness", model, model, 1) for model in [*models, "untrained"]]
            for metric, a, b, runs in of_layer:
                value = rng.uniform(0, 1)
                rows.append({"metric": metric + debiased, "model_a": a, "model_b": b, "layer": layer, "value": value,
                             "ci_low": value - 0.1, "ci_high": value + 0.1, "runs": runs})  # fmt: skip
    return pd.DataFrame(rows)


MODELS = [["before", "after"], ["a", "b", "c"], [f"checkpoint-{i}" for i in range(5)]]


@pytest.mark.parametrize(
    ("count", "models"),
    [
        pytest.param(
            count, models, marks=[pytest.mark.slow] * (count == 60 and len(models) > 2), id=f"{count}-{len(models)}"
        )
        for count in (1, 12, 60)
        for models in MODELS
    ],
)
def test_every_pair_and_model_has_its_line(models, count):
    names = [f"layer{i // 4}.{i % 4}.conv1" for i in range(count)]
    layers, table = layers_of(models, 3), weights_of(models, names)
    figure = reuse_by_layer(table, layers)
    assert overlapping_texts(figure) == []
    drawn = {line.get_label(): line for line in figure.axes[0].lines if not line.get_label().startswith("_")}
    pairs = [f"{models[0]} / {each}" for each in models[1:]]
    shown = pairs if len(models) > 3 else [f"{a} / {b}" for i, a in enumerate(models) for b in models[i + 1 :]]
    assert [each for each in drawn if "untrained" not in each] == shown
    colours = model_colours(layers)
    assert [to_hex(drawn[each].get_color()).upper() for each in pairs] == [colours[each].upper() for each in models[1:]]
    assert to_hex(drawn[f"{models[0]} / untrained"].get_color()).upper() == CONTROL
    plain = table[(table["metric"] == "feature_reuse") & (table["model_b"] == models[1])]
    np.testing.assert_allclose(drawn[pairs[0]].get_ydata(), plain.loc[plain["model_a"] == models[0], "value"])
    figure = uniqueness_by_layer(table, layers)
    assert overlapping_texts(figure) == []
    assert [line.get_label() for line in figure.axes[0].lines if not line.get_label().startswith("_")] == [
        *models,
        "untrained",
    ]


def test_layers_that_a_pair_lacks_are_a_gap():
    layers, table = layers_of(["a", "b"], 3), weights_of(["a", "b"], ["x", "y", "z"])
    table = table[~((table["layer"] == "y") & (table["model_b"] == "b"))]
    (line,) = [each for each in reuse_by_layer(table, layers).axes[1].lines if each.get_label() == "a / b"]
    assert np.isnan(line.get_ydata()).tolist() == [False, True, False]


def test_means_of_arms_are_drawn_where_models_are_many():
    models = ["start", *(f"{arm}{i}" for arm in "xy" for i in range(3))]
    figure = reuse_by_layer(weights_of(models, ["p", "q"], arms=("x", "y")), layers_of(models, 3))
    labels = [line.get_label() for line in figure.axes[0].lines]
    assert "start / x" in labels and "start / y" in labels and "x0 / x1" not in labels
