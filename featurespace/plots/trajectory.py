"""How similarity moves over the steps of one training."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, to_hex
from matplotlib.figure import Figure

from featurespace.plots.similarity import METRIC_NAMES
from featurespace.plots.style import (
    MARKERS,
    PAGE_MM,
    band_text,
    draw_line,
    label_names,
    layer_names,
    new_figure,
    shortened_layer,
    styled,
)

COLOURS = "viridis"
LIGHTEST = 0.92  # of the colours' range: the end is weak on white
MOST_BANDS = 8  # layers; more bands only hide each other
MOST_NAMES = 16  # beside the colours of the layers
PANEL_MM = 66.0


def steps_of(layers: pd.DataFrame) -> list[str]:
    """Return the models that are steps of one training, in their order; none where the table tells none."""
    if "step" not in layers:
        return []
    known = layers.dropna(subset="step").sort_values("step", kind="stable")
    return list(dict.fromkeys(known["model"]))


def trajectory_rows(
    table: pd.DataFrame, layers: pd.DataFrame, *, data: str, metric: str = "cka_debiased"
) -> pd.DataFrame:
    """Return the rows of every layer of every step with the same layer of the first and of the last step.

    Columns are those of the similarity table, and ``reference``, ``step`` (models) and ``layer``.
    """
    steps = steps_of(layers)
    rows = table[(table["metric"] == metric) & (table["data"] == data) & (table["layer_a"] == table["layer_b"])]
    pairs = pd.Series([frozenset(pair) for pair in zip(rows["model_a"], rows["model_b"])], dtype=object)
    of_pair = {pair: rows.iloc[own.index] for pair, own in pairs.groupby(pairs, sort=False)}
    found = []
    for reference in dict.fromkeys((steps[0], steps[-1])):
        for step in steps:
            mine = of_pair.get(frozenset((reference, step)), rows[:0])
            found.append(mine.assign(reference=reference, step=step, layer=mine["layer_a"]))
    return pd.concat(found, ignore_index=True)


@styled
def trajectory(table: pd.DataFrame, layers: pd.DataFrame, *, data: str, metric: str = "cka_debiased") -> Figure:
    """Draw one line a layer over the steps of a training: its similarity to the first step, and to the last."""
    steps = steps_of(layers)
    names = layer_names(layers, steps[0])
    rows = trajectory_rows(table, layers, data=data, metric=metric)
    figure = new_figure(PAGE_MM, 76)
    panels = figure.subplots(1, 2, sharey=True)
    colours = [to_hex(each) for each in matplotlib.colormaps[COLOURS](np.linspace(0, LIGHTEST, len(names)))]
    for axes, reference in zip(panels, (steps[0], steps[-1])):
        shown = rows[rows["reference"] == reference]
        for number, layer in enumerate(names):
            line = shown[shown["layer"] == layer].set_index("step").reindex(steps)
            draw_line(axes, np.arange(len(steps)), line, colour=colours[number], label=layer,
                      mark=f"{MARKERS[number % len(MARKERS)]}-", band=len(names) <= MOST_BANDS)  # fmt: skip
        label_names(axes, steps, room_mm=PANEL_MM / len(steps))
        bands = band_text(shown) if len(names) <= MOST_BANDS else ""
        axes.set_title(f"with {reference} on {data} (n = {shown['n'].iloc[0]:,}{bands})")
        axes.grid(axis="y", linewidth=0.3, alpha=0.5)
    panels[0].set_ylabel(METRIC_NAMES.get(metric, metric))
    if metric.startswith("cka"):
        panels[0].set_ylim(min(-0.02, float(rows["value"].min())), 1.0)
    _layer_colours(figure, list(panels), names, colours)
    return figure


def _layer_colours(figure: Figure, panels: list[Axes], names: list[str], colours: list[str]) -> None:
    """Draw the colours of the layers in their order, first below, with as many names as there is room for."""
    norm = BoundaryNorm(np.arange(len(names) + 1), len(names))
    mappable = ScalarMappable(norm, matplotlib.colors.ListedColormap(colours))
    bar = figure.colorbar(mappable, ax=panels, pad=0.01, aspect=30)
    named = np.unique(np.linspace(0, len(names) - 1, min(len(names), MOST_NAMES)).round().astype(int))
    bar.set_ticks((named + 0.5).tolist(), labels=[shortened_layer(names[each]) for each in named])
    bar.ax.tick_params(length=0)
    bar.outline.set_linewidth(0)
