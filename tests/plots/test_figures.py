"""Figures are tested by what they show."""

import itertools
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from oracles.figures import overlapping_texts

from featurespace.plots.all import figures
from featurespace.plots.convergence import cka_convergence
from featurespace.plots.depth import gap_by_depth, probe_by_depth
from featurespace.plots.embedding import aligned_panels, embedding_panels
from featurespace.plots.similarity import similarity_by_layer, similarity_heatmap
from featurespace.plots.style import CONTROL, mark, model_colours, shortened_layer
from featurespace.plots.trajectory import trajectory


def layers_of(models, count, *, control=True):
    names = [*models, *(["untrained"] if control else [])]
    return pd.DataFrame(
        [{"model": model, "layer": f"stages.{depth // 4}.blocks.{depth % 4}", "depth": depth, "width": 8,
          "role": "control" if model == "untrained" else "model", "control": "untrained" if control and model != "untrained" else None} for model in names for depth in range(count)]
    )  # fmt: skip


def similarity_of(layers, domains=("ct", "mr"), seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    models = list(dict.fromkeys(layers["model"]))
    names = {model: layers.loc[layers["model"] == model, "layer"] for model in models}
    for data, (a, b) in itertools.product(domains, itertools.combinations_with_replacement(models, 2)):
        for layer_a, layer_b in itertools.product(names[a], names[b]):
            value = rng.uniform(-0.05, 1)
            rows.append({"metric": "cka_debiased", "model_a": a, "model_b": b, "layer_a": layer_a, "layer_b": layer_b, "data": data,
                         "value": value, "ci_low": value - 0.05, "ci_high": value + 0.05, "n": 1234, "interval": "jackknife",
                         "unit": "group", "n_groups": 20})  # fmt: skip
    return pd.DataFrame(rows)


def probe_of(layers, domains=("ct", "mr")):
    rows = [
        {"probe": "linear", "model": model, "layer": layer, "data": data, "metric": "accuracy", "value": 0.5 + 0.01 * depth,
         "ci_low": 0.4, "ci_high": 0.8, "n_train": 1000, "n_test": 500, "n_classes": 4, "chance": 0.25, "unit": "group"}
        for data in domains for model, layer, depth in layers[["model", "layer", "depth"]].itertuples(index=False)
    ]  # fmt: skip
    rows += [
        {
            **rows[0],
            "data": data,
            "model": "pixels",
            "layer": "32 x 32 px",
            "value": 0.3,
            "ci_low": 0.25,
            "ci_high": 0.35,
        }
        for data in domains
    ]
    return pd.DataFrame(rows)


def gap_of(layers, metric="mmd2"):
    return pd.DataFrame(
        [{"metric": metric, "model": model, "layer": layer, "data_a": "ct", "data_b": "mr", "value": 10.0 ** (depth % 4), "unit": "group",
          "ci_low": 0.9 * 10.0 ** (depth % 4), "ci_high": 1.1 * 10.0 ** (depth % 4), "p_value": 0.001, "n_a": 1000, "n_b": 900}
         for model, layer, depth in layers[["model", "layer", "depth"]].itertuples(index=False)]
    )  # fmt: skip


def embedding_of(models, classes=12, n=200):
    rng = np.random.default_rng(0)
    frames = [
        pd.DataFrame({"method": "umap", "model": model, "layer": "pooled", "data": "ct", "sample": [str(i) for i in range(n)],
                      "label": [f"a rather long class name {i % classes}" for i in range(n)], "x": rng.normal(size=n), "y": rng.normal(size=n)})
        for model in models
    ]  # fmt: skip
    quality = pd.DataFrame(
        [
            {
                "method": "umap",
                "model": m,
                "layer": "pooled",
                "data": "ct",
                "metric": "trustworthiness",
                "value": 0.9,
                "n": n,
            }
            for m in models
        ]
    )
    return pd.concat(frames), quality


MODELS = [["imagenet", "finetuned"], ["a", "b", "c"], [f"checkpoint-{index}" for index in range(12)]]


CASES = [(models, count) for models in MODELS for count in (2, 10, 23, 60)]
QUICK = {(2, 2), (2, 60), (3, 2), (3, 10), (3, 23), (12, 2), (12, 10)}  # the others draw thousands of squares


@pytest.mark.parametrize(
    ("models", "count"),
    [
        pytest.param(
            *case,
            marks=[pytest.mark.slow] * ((len(case[0]), case[1]) not in QUICK),
            id=f"{case[1]}-{len(case[0])}",
        )
        for case in CASES
    ],
)
def test_no_text_overlaps(models, count):
    layers = layers_of(models, count)
    similarity = similarity_of(layers)
    assert overlapping_texts(similarity_by_layer(similarity, layers)) == []
    assert overlapping_texts(similarity_heatmap(similarity, layers, data="ct")) == []
    assert overlapping_texts(probe_by_depth(probe_of(layers), layers)) == []
    assert overlapping_texts(gap_by_depth(gap_of(layers), layers)) == []


@pytest.mark.parametrize(("steps", "count"), [(2, 2), (5, 8), (12, 24), pytest.param(12, 60, marks=pytest.mark.slow)])
def test_steps_of_a_training_are_lines_from_the_first_to_the_last(steps, count):
    names = [f"epoch{10 * number}" for number in range(steps)]
    layers = layers_of(names[::-1], count, control=False)  # given in any order
    layers["step"] = layers["model"].map({name: number for number, name in enumerate(names)}).astype("Int64")
    similarity = similarity_of(layers, domains=["ct"])
    figure = trajectory(similarity, layers, data="ct")
    assert overlapping_texts(figure) == []
    value = similarity.set_index(["model_a", "model_b", "layer_a", "layer_b"])["value"]
    for axes, reference in zip(figure.axes, (names[0], names[-1])):
        assert len(axes.lines) == count and axes.get_title(loc="left").startswith(f"with {reference} on ct (n = 1,234")
        for line in axes.lines:
            layer = line.get_label()
            expected = [
                value.get((step, reference, layer, layer), value.get((reference, step, layer, layer))) for step in names
            ]
            np.testing.assert_array_equal(line.get_ydata(), expected)


@pytest.mark.parametrize("counts", [(6, 13), (10, 58, 24), (3, 60)])
def test_no_text_overlaps_between_architectures(counts):
    layers = pd.concat([layers_of([f"net{index}"], count, control=False) for index, count in enumerate(counts)])
    assert overlapping_texts(similarity_heatmap(similarity_of(layers), layers, data="ct")) == []
    assert overlapping_texts(similarity_by_layer(similarity_of(layers), layers)) == []


@pytest.mark.parametrize("domains", [["ct"], ["ct", "mr"], ["photographs of birds", "chest", "mr"]])
def test_convergence_names_its_layers(domains):
    layers = ["stages.0", "features.denseblock3.denselayer6.conv2", "features.denseblock4.denselayer16.conv2"]
    rows = [
        {"model_a": "a", "model_b": "b", "data": data, "layer_a": layer, "layer_b": layer, "part": part, "n": int(1000 * part),
         "value": 0.1 * (depth + 1) + 0.05 * part, "ci_low": 0.0, "ci_high": 0.9, "unit": "group"}
        for data in domains for depth, layer in enumerate(layers) for part in (0.125, 0.25, 0.5, 1.0)
    ]  # fmt: skip
    figure = cka_convergence(pd.DataFrame(rows))
    assert overlapping_texts(figure) == []
    for axes in figure.axes[: len(domains)]:
        texts = [text.get_text() for text in axes.get_legend().get_texts()]
        assert texts == [f"least alike: {layers[0]}", f"last layer, most alike: {shortened_layer(layers[2])}"]
        assert [label.get_text() for label in axes.get_xticklabels()] == ["125", "250", "500", "1,000"]


def test_long_names_do_not_run_into_each_other():
    names = ["untrained-swin_tiny_patch4_window7_224", "untrained-densenet121", "another rather long name of a model"]
    assert overlapping_texts(embedding_panels(*embedding_of(names), data="ct")) == []


def test_long_layer_names_lose_their_middle_and_leave_the_panels_room():
    assert shortened_layer("blocks.1.0") == "blocks.1.0"
    assert shortened_layer("features.denseblock3.denselayer6") == "features…ck3.denselayer6"
    layers = layers_of(["a", "b"], 6)
    layers["layer"] = "features.denseblock3.denselayer" + layers["depth"].astype(str)
    figure = similarity_heatmap(similarity_of(layers), layers, data="ct")
    assert overlapping_texts(figure) == []
    assert figure.axes[0].get_window_extent().width > 0.2 * figure.bbox.width


def test_one_layer_shows_its_interval():
    layers = layers_of(["a", "b"], 1)
    axes = similarity_by_layer(similarity_of(layers), layers).axes[0]
    assert len(axes.containers) == 3


def test_a_pair_has_the_colour_of_the_model_compared_with_the_first():
    layers = layers_of(["a", "b", "c", "d", "e"], 4)
    colours = {name: colour.upper() for name, colour in model_colours(layers).items()}
    lines = {
        line.get_label(): to_hex(line.get_color()).upper()
        for line in similarity_by_layer(similarity_of(layers), layers).axes[0].lines
    }
    assert {name: lines[f"a / {name}"] for name in "bcde"} == {name: colours[name] for name in "bcde"}


def test_twelve_models_differ_in_colour_marker_or_line_for_every_colour_vision():
    colour_science = pytest.importorskip("skimage.color")
    # Machado et al. 2009, severity 1.0: what is seen without one kind of cone, in linear RGB
    visions = {
        "all": np.eye(3),
        "protanopia": [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
        "deuteranopia": [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ],
        "tritanopia": [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ],
    }
    colours = list(model_colours(layers_of([f"m{index}" for index in range(12)], 2)).values())
    assert len(set(colours)) == 13 and len({mark(number) for number in range(12)}) == 12
    rgb = np.array([to_rgb(colour) for colour in colours])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    for name, matrix in visions.items():
        seen = np.clip(linear @ np.transpose(matrix), 0, 1)
        lab = colour_science.xyz2lab(seen @ np.transpose(colour_science.colorconv.xyz_from_rgb))
        for a, b in itertools.combinations(range(13), 2):
            lines = ["--" if each == 12 else mark(each)[1:] for each in (a, b)]
            distance = colour_science.deltaE_ciede2000(lab[a], lab[b])
            assert distance > 10 or lines[0] != lines[1], (name, colours[a], colours[b], distance)


def test_a_model_has_one_marker_and_line_in_every_figure():
    layers = layers_of([f"m{index}" for index in range(9)], 3)
    probes = {line.get_label(): line for line in probe_by_depth(probe_of(layers), layers).axes[0].lines}
    for line in similarity_by_layer(similarity_of(layers), layers).axes[0].lines:
        other = probes[line.get_label().removeprefix("m0 / ")]
        assert (line.get_marker(), line.get_linestyle()) == (other.get_marker(), other.get_linestyle())


def test_several_models_beside_one_control_are_told_apart_by_their_marks():
    layers = layers_of(["a", "b", "c"], 3)
    lines = similarity_by_layer(similarity_of(layers), layers).axes[0].lines
    marks = {line.get_label(): line.get_marker() for line in lines if line.get_label().endswith("/ untrained")}
    assert len(marks) == 3 == len(set(marks.values()))


def test_several_controls_have_the_colours_of_their_models():
    layers = pd.concat([layers_of(["a"], 3, control=False).assign(control="ua"), layers_of(["b"], 3, control=False).assign(control="ub"),
                        layers_of(["ua", "ub"], 3, control=False).assign(role="control")])  # fmt: skip
    colours = model_colours(layers)
    assert colours["ua"] == colours["a"] != colours["b"] == colours["ub"]


def test_a_dollar_sign_in_a_label_is_no_formula():
    points, quality = embedding_of(["a"], classes=2)
    points["label"] = points["label"].str.replace("a rather", "$ {x$_1$")
    figure = embedding_panels(points, quality, data="ct")
    FigureCanvasAgg(figure).draw()
    assert "trustworthiness" in figure.axes[0].get_title(loc="left")


def test_every_label_stands_in_the_legend_and_the_svg_is_xml(tmp_path):
    points, quality = embedding_of(["a"], classes=2)
    first, second = points["label"].unique()
    points["label"] = points["label"].replace({first: "_under", second: "\x1b[31m<red>"})
    figure = embedding_panels(points, quality, data="ct")
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert [text.strip() for text in texts] == [r"\x1b[31m<red>", "_under"]
    figure.savefig(tmp_path / "a.svg")
    ElementTree.parse(tmp_path / "a.svg")


def test_a_very_long_label_does_not_push_the_others_off_the_page():
    points, quality = embedding_of(["a"], classes=2)
    points["label"] = points["label"].replace({points["label"].iloc[0]: "x" * 300})
    figure = embedding_panels(points, quality, data="ct")
    FigureCanvasAgg(figure).draw()
    legend = figure.legends[0].get_window_extent()
    assert (
        legend.x0 >= 0
        and legend.x1 <= figure.bbox.width
        and figure.legends[0].get_texts()[1].get_text().endswith("xx…")
    )


def test_no_band_is_promised_where_none_is_drawn():
    layers = layers_of(["a"], 4)
    table = probe_of(layers)
    assert "band: 95 % by group" in probe_by_depth(table, layers).axes[0].get_title(loc="left")
    table[["ci_low", "ci_high"]] = np.nan
    assert "band" not in probe_by_depth(table, layers).axes[0].get_title(loc="left")


@pytest.mark.parametrize(
    ("classes", "models"),
    [
        pytest.param(
            classes,
            models,
            marks=[pytest.mark.slow] * (classes == 100 and models == MODELS[-1]),
            id=f"{classes}-{len(models)}",
        )
        for classes in (2, 12, 20, 100)
        for models in MODELS
    ],
)
def test_no_text_overlaps_in_embeddings(models, classes):
    assert overlapping_texts(embedding_panels(*embedding_of(models, classes), data="ct")) == []


def test_heatmap_shows_each_value_in_its_square_and_hatches_what_is_missing():
    layers = layers_of(["a", "b"], 5)
    table = similarity_of(layers)
    gone = (table["model_a"] == "a") & (table["model_b"] == "b") & (table["data"] == "ct") & (table["layer_a"] == "stages.0.blocks.1") & (
        table["layer_b"] == "stages.0.blocks.3")  # fmt: skip
    figure = similarity_heatmap(table[~gone], layers, data="ct")
    panels = [axes for axes in figure.axes if axes.images and axes.get_xlabel()]
    assert [(axes.get_ylabel(), axes.get_xlabel()) for axes in panels] == [
        ("a", "a"),
        ("a", "b"),
        ("b", "b"),
        ("a", "untrained"),
    ]
    image = panels[1].images[0]
    row = table[(table["model_a"] == "a") & (table["model_b"] == "b") & (table["data"] == "ct") & (table["layer_a"] == "stages.0.blocks.2")
                & (table["layer_b"] == "stages.1.blocks.0")].iloc[0]  # fmt: skip
    assert image.get_array()[2, 4] == pytest.approx(row["value"])
    assert image.get_clim() == (0, 1)
    assert [(patch.get_x() + 0.5, patch.get_y() + 0.5) for patch in panels[1].patches] == [(3, 1)]
    assert len(panels[0].patches) == 0


def test_layers_stand_in_order_of_execution():
    layers = layers_of(["a", "b"], 10)
    axes = probe_by_depth(probe_of(layers), layers).axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == layers.loc[layers["model"] == "a", "layer"].tolist()


def test_a_model_has_one_colour_in_every_figure_and_the_control_is_grey():
    layers = layers_of(["a", "b"], 6)
    colours = model_colours(layers)
    assert colours["untrained"] == CONTROL and len(set(colours.values())) == 3
    for figure in (probe_by_depth(probe_of(layers), layers), gap_by_depth(gap_of(layers), layers)):
        lines = {line.get_label(): to_hex(line.get_color()).upper() for line in figure.axes[0].lines}
        assert {name: lines[name] for name in colours} == {name: colour.upper() for name, colour in colours.items()}


def test_pixels_and_chance_are_lines_and_intervals_are_drawn():
    layers = layers_of(["a"], 6)
    axes = probe_by_depth(probe_of(layers), layers).axes[0]
    flat = {line.get_label(): line.get_ydata()[0] for line in axes.lines}
    assert flat["raw pixels, 32 x 32 px"] == 0.3 and flat["chance"] == 0.25
    band = axes.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (0.4, 0.8)


def test_other_architectures_share_a_relative_depth():
    layers = pd.concat([layers_of(["a"], 4, control=False), layers_of(["b"], 9, control=False)])
    axes = probe_by_depth(probe_of(layers), layers).axes[0]
    assert "relative depth" in axes.get_xlabel()
    assert [line.get_xdata()[-1] for line in axes.lines[:2]] == [1, 1]


def test_many_models_are_compared_with_the_first():
    layers = layers_of([f"m{index}" for index in range(5)], 4, control=False)
    figure = similarity_by_layer(similarity_of(layers), layers)
    assert [line.get_label() for line in figure.axes[0].lines] == [f"m0 / m{index}" for index in range(1, 5)]


def test_a_negative_frechet_distance_can_be_drawn():
    layers = layers_of(["a"], 4)
    table = gap_of(layers, "frechet_distance_corrected")
    table.loc[0, ["value", "ci_low"]] = [-0.5, -2.0]
    axes = gap_by_depth(table, layers, metric="frechet_distance_corrected").axes[0]
    assert axes.get_yscale() == "symlog" and axes.get_ylim()[0] < -2
    table = gap_of(layers, "frechet_distance_corrected")
    assert gap_by_depth(table, layers, metric="frechet_distance_corrected").axes[0].get_yscale() == "log"


def test_every_point_of_an_embedding_is_drawn():
    figure = embedding_panels(*embedding_of(["a", "b"]), data="ct")
    assert [sum(len(each.get_offsets()) for each in axes.collections) for axes in figure.axes[:2]] == [200, 200]
    assert "trustworthiness 0.90, n = 200" in figure.axes[0].get_title(loc="left")


def test_a_run_has_all_its_figures_in_three_formats(small_run):
    names = [each.name for each in figures(small_run.tables)]
    assert names == [
        "cka_by_layer", "cka_heatmap_bright", "cka_heatmap_dark", "cka_convergence", "probe_by_depth", "few_shot", "domain_gap_by_depth", "frechet_by_depth",
        "participation_ratio_debiased_by_depth", "anisotropy_by_depth", "uniformity_by_depth",
        "aligned_umap", "umap_bright", "pca_bright", "umap_dark", "pca_dark",
    ]  # fmt: skip
    for name in names:
        for suffix in ("pdf", "svg", "png"):
            assert small_run.figure_path(name, suffix).stat().st_size > 1000
    assert "<text" in small_run.figure_path("probe_by_depth", "svg").read_text()


def test_drawing_leaves_matplotlib_as_it_was():
    before = dict(matplotlib.rcParams)
    layers = layers_of(["a"], 3)
    probe_by_depth(probe_of(layers), layers)
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(("models", "classes"), [(["a", "b", "c"], 4), (["checkpoint-1"], 30)])
def test_aligned_pictures_draw_every_image_with_a_marker_a_data_set(models, classes):
    points, quality = embedding_of(models, classes)
    other = points.assign(data="mr", label=None)
    figure = aligned_panels(pd.concat([points, other]), quality.assign(method="aligned_umap", data="all"))
    panels = [axes for axes in figure.axes if axes.collections]
    assert [sum(len(each.get_offsets()) for each in axes.collections) for axes in panels] == [400] * len(models)
    shapes = {each.get_label().split(",")[0]: each.get_paths()[0].vertices.shape for each in panels[0].collections}
    assert set(shapes) == {"ct", "mr"} and shapes["ct"] != shapes["mr"]
    assert overlapping_texts(figure) == []
