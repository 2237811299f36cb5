"""The similarity of all layers to look into: value, interval and layers at every square."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from featurespace.errors import visible
from featurespace.plots.similarity import heatmap_pairs
from featurespace.plots.style import layer_names, shortened_layer
from featurespace.run import Run

METRIC = "cka_debiased"
MOST_NAMES = 14  # on an axis


def heatmap_charts(run: Run, data: str) -> list[Any]:
    """Return a Bokeh figure a pair of models, with the pairs of the figure in the files."""
    similarity, layers = run.tables["similarity"], run.tables["layers"]
    rows = similarity[(similarity["metric"] == METRIC) & (similarity["data"] == data)]
    charts = []
    for model_a, model_b in heatmap_pairs(layers):
        pair = rows[(rows["model_a"] == model_a) & (rows["model_b"] == model_b)]
        if len(pair):
            charts.append(_chart(pair, model_a, model_b, layer_names(layers, model_a), layer_names(layers, model_b)))
    return charts


def _chart(pair: pd.DataFrame, model_a: str, model_b: str, names_a: list[str], names_b: list[str]) -> Any:
    from bokeh.models import ColumnDataSource, CustomJSHover, HoverTool, LinearColorMapper, Range1d
    from bokeh.models.annotations import Title
    from bokeh.palettes import Viridis256
    from bokeh.plotting import figure
    from bokeh.transform import transform

    source = ColumnDataSource({
        "x": pair["layer_b"].map({name: index for index, name in enumerate(names_b)}).to_numpy(np.float32),
        "y": pair["layer_a"].map({name: index for index, name in enumerate(names_a)}).to_numpy(np.float32),
        **{name: pair[name].to_numpy(np.float32) for name in ("value", "ci_low", "ci_high")},
    })  # fmt: skip
    plot = figure(
        title=Title(text=visible(f"{model_a} / {model_b}"), text_font_size="13px"),
        sizing_mode="stretch_width", aspect_ratio=1, tools="", toolbar_location=None,
        x_axis_label=visible(model_b), y_axis_label=visible(model_a),
        x_range=Range1d(start=-0.5, end=len(names_b) - 0.5), y_range=Range1d(start=-0.5, end=len(names_a) - 0.5),
    )  # fmt: skip
    colours = LinearColorMapper(palette=list(Viridis256), low=0, high=1)
    squares = plot.rect("x", "y", 1, 1, source=source, fill_color=transform("value", colours), line_color=None)
    formatters: dict[str, Any] = {
        **{f"@{axis}": CustomJSHover(args={"names": [visible(name) for name in names]}, code="return names[Math.round(value)]")
           for axis, names in (("x", names_b), ("y", names_a))},
        **{f"@{end}": CustomJSHover(code="return Number.isFinite(value) ? value.toFixed(3) : 'not known'")
           for end in ("value", "ci_low", "ci_high")},
    }  # fmt: skip
    counts = " or ".join(f"{n:,}" for n in sorted(pair["n"].unique()))
    tooltips = [
        ("of " + _plain(model_a), "@y{custom}"), ("of " + _plain(model_b), "@x{custom}"), ("CKA", "@value{custom}"),
        ("95 % interval", "@ci_low{custom} to @ci_high{custom}"), ("n", counts),
    ]  # fmt: skip
    plot.add_tools(HoverTool(renderers=[squares], tooltips=tooltips, formatters=formatters))
    for axis, names in ((plot.xaxis[0], names_b), (plot.yaxis[0], names_a)):
        step = -(-len(names) // MOST_NAMES)
        ticks = list(range(0, len(names), step))
        axis.ticker = ticks
        axis.major_label_overrides = {index: visible(shortened_layer(names[index])) for index in ticks}
        axis.major_label_text_font_size = "10px"
        axis.axis_label_text_font_style = "normal"
    plot.xaxis.major_label_orientation = "vertical"
    plot.grid.visible = False
    return plot


def _plain(name: str) -> str:
    """Return a name that Bokeh's tooltips take as text: there @ and $ begin the name of a column."""
    return visible(name).replace("@", "＠").replace("$", "＄")
