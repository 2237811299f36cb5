"""Figures of more models than lines can be told apart."""

import warnings

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm, SymLogNorm
from test_figures import embedding_of, gap_of, layers_of, overlapping_texts, probe_of
from test_weights_figures import weights_of

from featurespace.plots.all import figures
from featurespace.plots.depth import gap_by_depth, geometry_by_depth, probe_by_depth
from featurespace.plots.embedding import aligned_panels, embedding_panels
from featurespace.plots.few_shot import accuracy_by_shots
from featurespace.plots.many import MANY, MOST_PANELS, is_many, shown_models
from featurespace.plots.similarity import corresponding_rows, heatmap_pairs, similarity_by_layer, similarity_heatmap
from featurespace.plots.trajectory import trajectory
from featurespace.plots.weights import reuse_by_layer, uniqueness_by_layer
from featurespace.report.captions import caption, many_note

COUNT = 70
NAMES = [f"m{number:03d}" for number in range(COUNT)]
LAYERS = layers_of(NAMES, 5)


def with_first(layers, domains=("ct",)):
    """Make the rows of similarity of the first model with each, of every two layers."""
    rng, names = np.random.default_rng(0), layers.groupby("model", sort=False)["layer"].apply(list)
    first = names.index[0]
    places = [(data, b, x, y) for data in domains for b in names.index for x in names[first] for y in names[b]]
    table = pd.DataFrame(places, columns=["data", "model_b", "layer_a", "layer_b"])
    value = rng.uniform(0, 1, len(table))
    return table.assign(metric="cka_debiased", model_a=first, value=value, ci_low=value - 0.05, ci_high=value + 0.05, n=1234, level=0.95,
                        interval="jackknife", unit="group", n_groups=20)  # fmt: skip


def few_of(layers):
    rows = [
        {"model": model, "data": data, "shots": shots, "metric": "balanced_accuracy", "value": 0.3 + 0.01 * shots, "ci_low": 0.2,
         "ci_high": 0.8, "n_test": 100, "unit": "group"}
        for data, most in (("ct", 2), ("mr", 3)) for model in dict.fromkeys(layers["model"]) for shots in (1, 2, 5)[:most]
    ]  # fmt: skip
    return pd.DataFrame(rows)


def geometry_of(layers):
    return layers.assign(
        metric="anisotropy", data="ct", value=layers["depth"] / 10, ci_low=0.0, ci_high=1.0, n=100, unit="sample"
    )


def checked(figure):
    """Draw a figure and return it: of a size to look at, without a warning, without texts on each other."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", DeprecationWarning)  # of libraries
        FigureCanvasAgg(figure).draw()
    assert (figure.get_size_inches() * 300 <= 4000).all()
    assert overlapping_texts(figure) == []
    return figure


def labels_of(axes, which="y"):
    return [text.get_text() for text in getattr(axes, f"get_{which}ticklabels")()]


def test_up_to_two_dozen_models_stay_as_they_were():
    few = layers_of(NAMES[: MANY - 1], 3)
    assert not is_many(few) and is_many(layers_of(NAMES[:MANY], 3))
    assert shown_models(few) == [*NAMES[: MANY - 1], "untrained"]
    assert len(probe_by_depth(probe_of(few), few).axes[0].lines) == MANY + 2  # and pixels, and chance
    assert len(heatmap_pairs(few)) == MANY


def test_similarity_of_many_models_is_a_row_each_with_the_control_apart():
    table = with_first(LAYERS, domains=("ct", "mr"))
    figure = checked(similarity_by_layer(table, LAYERS))
    axes = figure.axes[0]
    matrix = axes.images[0].get_array()
    own = table[(table["data"] == "ct") & (table["layer_a"] == table["layer_b"])].set_index(["model_b", "layer_a"])[
        "value"
    ]
    np.testing.assert_array_equal(matrix[: COUNT - 1], [own[name].to_numpy() for name in NAMES[1:]])
    np.testing.assert_array_equal(matrix[-1], own["untrained"])
    assert np.ma.getmaskarray(matrix)[COUNT - 1].all()  # the gap
    assert axes.images[0].get_clim() == (0, 1)
    labels = labels_of(axes)
    assert labels[0] == "m001" and labels[-1] == "untrained" and len(labels) < COUNT
    assert labels_of(axes, "x") == LAYERS["layer"].unique().tolist()
    assert figure.axes[-1].get_ylabel() == "linear CKA, debiased, with m000"
    assert len(corresponding_rows(table, LAYERS)) == 2 * COUNT * 5


def test_probes_of_many_models_hold_raw_pixels_and_chance():
    figure = checked(probe_by_depth(probe_of(LAYERS), LAYERS))
    axes = figure.axes[0]
    assert labels_of(axes)[-2:] == ["untrained", "raw pixels, 32 x 32 px"]
    assert (axes.images[0].get_array()[-1] == 0.3).all()
    assert axes.get_title(loc="left") == "ct (4 classes, n = 1,000 + 500, chance 0.25)"
    assert axes.images[0].get_clim() == pytest.approx((0.5, 0.54))  # pixels lie beyond


def test_a_data_set_without_raw_pixels_has_an_empty_row():
    table = probe_of(LAYERS)
    table = table[(table["model"] != "pixels") | (table["data"] == "ct")]
    ct, mr = (axes.images[0].get_array() for axes in checked(probe_by_depth(table, LAYERS)).axes[:2])
    assert (ct[-1] == 0.3).all() and np.ma.getmaskarray(mr[-1]).all() and not np.ma.getmaskarray(mr[-3]).any()


@pytest.mark.parametrize("value", [0.5, np.nan])
def test_values_that_are_all_alike_or_unknown_can_be_drawn(value):
    checked(geometry_by_depth(geometry_of(LAYERS).assign(value=value), LAYERS, metric="anisotropy"))


def test_other_figures_by_depth():
    checked(geometry_by_depth(geometry_of(LAYERS), LAYERS, metric="anisotropy"))
    assert checked(gap_by_depth(gap_of(LAYERS), LAYERS)).axes[0].get_title(loc="left") == "ct to mr (n = 1,000 and 900)"
    table = gap_of(LAYERS, "frechet_distance_corrected")
    figure = gap_by_depth(table, LAYERS, metric="frechet_distance_corrected")
    assert isinstance(figure.axes[0].images[0].norm, LogNorm)
    table.loc[0, "value"] = -0.5
    figure = checked(gap_by_depth(table, LAYERS, metric="frechet_distance_corrected"))
    assert isinstance(figure.axes[0].images[0].norm, SymLogNorm)


def test_few_labelled_images_have_their_own_columns_on_each_data_set():
    figure = checked(accuracy_by_shots(few_of(LAYERS), LAYERS))
    assert [labels_of(axes, "x") for axes in figure.axes[:2]] == [["1", "2"], ["1", "2", "5"]]
    assert figure.axes[0].get_xlabel() == "training groups a class"


def test_other_architectures_share_a_relative_depth_also_as_rows():
    layers = pd.concat([layers_of(NAMES[:20], 4, control=False), layers_of(NAMES[20:40], 9, control=False)])
    table = geometry_of(layers)
    axes = checked(geometry_by_depth(table, layers, metric="anisotropy")).axes[0]
    matrix = axes.images[0].get_array()
    assert "relative depth" in axes.get_xlabel() and (matrix[0, 0], matrix[0, -1], matrix[-1, -1]) == (0, 0.3, 0.8)
    checked(similarity_by_layer(with_first(layers), layers))


def test_a_missing_value_is_hatched():
    table = geometry_of(LAYERS)
    axes = geometry_by_depth(table, LAYERS, metric="anisotropy").axes[0]
    assert axes.patch.get_hatch() is None
    axes = geometry_by_depth(table[1:], LAYERS, metric="anisotropy").axes[0]
    assert axes.patch.get_hatch() and np.ma.getmaskarray(axes.images[0].get_array())[0, 0]


def test_several_controls_all_have_their_names():
    own = [layers_of([name], 3, control=False).assign(control=f"u{number % 3}") for number, name in enumerate(NAMES)]
    layers = pd.concat([*own, layers_of(["u0", "u1", "u2"], 3, control=False).assign(role="control")])
    axes = checked(geometry_by_depth(geometry_of(layers), layers, metric="anisotropy")).axes[0]
    assert labels_of(axes)[-3:] == ["u0", "u1", "u2"]
    assert shown_models(layers) == [*NAMES[:9], "u0", "u1", "u2"]


def test_filters_of_many_models():
    table = weights_of(NAMES, ["conv1", "conv2"])
    reuse, uniqueness = checked(reuse_by_layer(table, LAYERS)), checked(uniqueness_by_layer(table, LAYERS))
    assert [axes.get_title(loc="left") for axes in reuse.axes[:2]] == ["as published", "debiased"]
    assert len(uniqueness.axes[0].images[0].get_array()) == COUNT + 2 * 2  # a gap and the control, two rows high


def test_a_heatmap_of_pairs_shows_the_first_models_and_the_control():
    figure = checked(similarity_heatmap(with_first(LAYERS), LAYERS, data="ct"))
    assert heatmap_pairs(LAYERS) == [("m000", name) for name in (*NAMES[:11], "untrained")]
    assert "m000 with 12 of 71 models; all are in the table similarity" in figure.get_suptitle()


def test_embeddings_show_the_first_models_and_say_where_the_others_are():
    points, quality = embedding_of([*NAMES, "untrained"], n=20)
    models = shown_models(LAYERS)
    assert len(models) == MOST_PANELS and models[-1] == "untrained"
    figure = checked(embedding_panels(points, quality, data="ct", models=models))
    assert figure.get_suptitle() == "UMAP of ct (12 of 71 models; all are in the table embedding)"


def test_aligned_pictures_show_the_first_models():
    points, quality = embedding_of([*NAMES, "untrained"], n=20)
    models = shown_models(LAYERS)
    aligned = aligned_panels(points, quality.assign(method="aligned_umap"), models=models)
    assert "12 of 71 models; all are in the table aligned_embedding" in checked(aligned).get_suptitle()


def test_the_rows_of_a_figure_are_those_drawn_and_captions_say_so():
    points, quality = embedding_of([*NAMES, "untrained"], n=20)
    tables = {"layers": LAYERS, "embedding": points, "embedding_quality": quality, "similarity": with_first(LAYERS)}
    drawn = {each.name: each.data for each in figures(tables)}
    assert drawn["umap_ct"]["model"].unique().tolist() == shown_models(LAYERS)
    assert drawn["cka_heatmap_ct"]["model_b"].nunique() == MOST_PANELS
    note = many_note("umap_ct", LAYERS)
    assert note == "Shown are 12 of 71 models; all are in the table embedding." and note in caption(
        "umap_ct", points, note
    )
    note = many_note("cka_by_layer", LAYERS)
    assert caption("cka_by_layer", drawn["cka_by_layer"], note) == (
        "Similarity of corresponding layers by depth. One row a model; controls stand apart below. Not drawn, but in the table: 95 % "
        "intervals over groups (jackknife). n = 1,234 images (ct)."
    )
    assert many_note("inputs_ct", LAYERS) == many_note("umap_ct", layers_of(["a"], 2)) == ""


def test_many_steps_of_a_training_do_not_run_into_each_other():
    layers = layers_of(NAMES, 2, control=False)
    layers["step"] = layers["model"].map({name: number for number, name in enumerate(NAMES)})
    table = with_first(layers)
    last = table.assign(model_a=table["model_b"], model_b=NAMES[-1])
    axes = checked(trajectory(pd.concat([table, last[last["model_a"] != "m000"]]), layers, data="ct")).axes[0]
    assert len(axes.lines[0].get_xdata()) == COUNT and labels_of(axes, "x")[-1] == NAMES[-1]
