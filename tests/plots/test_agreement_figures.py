import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba
from test_figures import overlapping_texts

from featurespace.metrics import answer_map, answer_sets
from featurespace.plots.agreement import answer_overlays, set_colours, who_knows_what
from featurespace.tables.agreement import set_name


def table_of(models, *, task="chest", label="all", empty=()):
    rng = np.random.default_rng(0)
    sets = answer_sets(len(models))
    counts = rng.integers(1, 1000, len(sets))
    counts[list(empty)] = 0
    return pd.DataFrame(
        [{"task": task, "label": label, "set": set_name(each, models), "n_models": len(each), "count": count, "n": counts.sum(),
          "value": count / counts.sum(), "error": np.sqrt(count) / counts.sum(), "expected": 0.01 * (1 + place)}
         for place, (each, count) in enumerate(zip(sets, counts))]
    )  # fmt: skip


@pytest.mark.parametrize(
    "models", [["a", "b"], ["scratch", "photographs", "radiographs", "both"], list("abcdef")], ids=len
)
def test_bars_are_the_shares_and_dots_the_models(models):
    table = table_of(models)
    figure = who_knows_what(table)
    assert overlapping_texts(figure) == []
    bars, dots = figure.axes
    np.testing.assert_allclose([bar.get_height() for bar in bars.patches], table["value"])
    lines = bars.collections[-1].get_segments()
    np.testing.assert_allclose([line[0, 1] for line in lines], table["expected"])
    whiskers = bars.collections[0].get_segments()
    np.testing.assert_allclose([line[1, 1] - line[0, 1] for line in whiskers], 2 * table["error"])
    inside = [(x, y) for x, y in dots.collections[1].get_offsets()]
    assert sorted(inside) == sorted(
        (place, model) for place, each in enumerate(answer_sets(len(models))) for model in each
    )
    assert [text.get_text() for text in dots.get_yticklabels()] == models
    assert "n = " in bars.get_title(loc="left")


def test_an_empty_set_has_no_bar_and_the_scale_holds_the_others():
    table = table_of(["a", "b"], empty=[1])
    bars = who_knows_what(table).axes[0]
    low, high = bars.get_ylim()
    shown = table["value"][table["value"] > 0].tolist() + table["expected"].tolist()
    assert low < min(shown) and max(shown) <= high == 1


def test_tasks_and_labels_are_chosen():
    table = pd.concat([table_of(["a", "b"]), table_of(["a", "b"], label="Mass"), table_of(["a", "b"], task="liver")])
    assert who_knows_what(table).axes[0].get_title(loc="left").startswith("chest (n")
    assert who_knows_what(table, label="Mass").axes[0].get_title(loc="left").startswith("chest, Mass (n")
    assert who_knows_what(table, task="liver").axes[0].get_title(loc="left").startswith("liver (n")


def test_colours_tell_sets_apart():
    for models in (2, 3, 4):
        assert len({tuple(each) for each in set_colours(models)}) == 2**models
    six = set_colours(6)
    assert len({tuple(each) for each in six}) == 7 and tuple(six[1]) == tuple(six[6]) != tuple(six[0])


@pytest.mark.parametrize("count", [1, 3, 5])
def test_overlays_colour_the_foreground_by_set(rng, count):
    masks = rng.integers(0, 3, (count, 12, 10))
    answers = [np.where(rng.random(masks.shape) < 0.6, masks, 0) for _ in range(2)]
    maps = [answer_map(mask, [each[i] for each in answers]) for i, mask in enumerate(masks)]
    images = [rng.random((12, 10)) if i % 2 else rng.random((12, 10, 3)) for i in range(count)]
    figure = answer_overlays(images, maps, ["a$", "b"], titles=[f"image {i}" for i in range(count)])
    assert overlapping_texts(figure) == []
    colours = set_colours(2)
    for axes, found in zip(figure.axes, maps):
        layer = axes.images[1].get_array()
        assert (layer[found < 0, 3] == 0).all()
        for each in np.unique(found[found >= 0]):
            np.testing.assert_allclose(
                layer[found == each][:, :3], [to_rgba(colours[each])[:3]] * (found == each).sum()
            )
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["none", r"a\$", "b", r"a\$ + b"]


def test_what_overlays_refuse():
    with pytest.raises(ValueError, match="there are 1 images, 2 maps and 0 titles"):
        answer_overlays([np.zeros((2, 2))], [np.zeros((2, 2), dtype=int)] * 2, ["a", "b"])
    with pytest.raises(ValueError, match=r"image 0 has shape \(2, 2\) and its map \(3, 2\)"):
        answer_overlays([np.zeros((2, 2))], [np.zeros((3, 2), dtype=int)], ["a", "b"])
