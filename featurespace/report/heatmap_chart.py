"""The similarity of all layers to look into: value, interval and layers at every square, and the same as tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from featurespace.errors import visible
from featurespace.files import safe_name
from featurespace.plots.similarity import heatmap_pairs
from featurespace.plots.style import layer_names, shortened_layer
from featurespace.report.numbers import count_of, number
from featurespace.run import Run

METRIC = "cka_debiased"
MOST_NAMES = 14  # on an axis
MOST_VALUES = 20_000  # in the tables of a page, at some 60 bytes each


def heatmap_names(run: Run) -> dict[str, str]:
    """Return the names of the heatmaps among the figures of a run, each with its data set."""
    if not {"similarity", "layers"} <= set(run.tables):
        return {}
    names = {f"cka_heatmap_{safe_name(data)}": data for data in dict.fromkeys(run.tables["similarity"]["data"])}
    return {name: data for name, data in names.items() if name in run.summary["figures"]}


def heatmap_charts(run: Run, data: str) -> list[Any]:
    """Return a Bokeh figure a pair of models, with the pairs of the figure in the files."""
    return [_chart(*each) for each in _pairs(run, data)]


def heatmap_tables(run: Run) -> dict[str, dict[str, Any]]:
    """Return what each heatmap shows in words, for those who cannot see or point at it: a table a pair of models.

    Each heatmap has its share of what a page may hold; what is left out is said, with the file that has it.
    """
    found = {}
    for name, data in (names := heatmap_names(run)).items():
        left, out, tables = MOST_VALUES // len(names), [], []
        for pair, model_a, model_b, names_a, names_b in _pairs(run, data):
            if len(pair) > left:
                out.append(f"{model_a} / {model_b} ({len(pair):,} values)")
                continue
            left -= len(pair)
            tables.append(_matrix(pair, model_a, model_b, names_a, names_b))
        found[name] = {"title": f"Values and intervals of all layers on {data}", "tables": tables, "left_out": ", ".join(out),
                       "file": f"figures/{name}.csv"}  # fmt: skip
    return found


def _pairs(run: Run, data: str) -> Iterator[tuple[pd.DataFrame, str, str, list[str], list[str]]]:
    similarity, layers = run.tables["similarity"], run.tables["layers"]
    rows = similarity[(similarity["metric"] == METRIC) & (similarity["data"] == data)]
    for model_a, model_b in heatmap_pairs(layers):
        pair = rows[(rows["model_a"] == model_a) & (rows["model_b"] == model_b)]
        if len(pair):
            yield pair, model_a, model_b, layer_names(layers, model_a), layer_names(layers, model_b)


def _matrix(pair: pd.DataFrame, model_a: str, model_b: str, names_a: list[str], names_b: list[str]) -> dict[str, Any]:
    alike = pair["n"].nunique() == 1
    cells = {
        (row.layer_a, row.layer_b): number(row.value)
        + (" (no interval)" if pd.isna(row.ci_low) else f" ({number(row.ci_low)} to {number(row.ci_high)})")
        + ("" if alike else f", n = {row.n:,}")
        for row in pair.itertuples()
    }
    return {
        "caption": f"Linear CKA on {pair['data'].iloc[0]} (95 % interval): layers of {model_a} in rows, of {model_b} in columns"
        + (f"; {count_of(pair.iloc[0])}" if alike else ""),
        "columns": ["layer", *names_b],
        "rows": [[layer, *(cells.get((layer, other), "not computed") for other in names_b)] for layer in names_a],
    }  # fmt: skip


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
