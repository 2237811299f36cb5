"""Bars in groups: one value a pretraining for each task, layer or set."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from featurespace.plots.style import PAGE_MM, label_names, legend_below, new_figure, panel_grid, styled

ROOM = 0.8  # share of a group's place that its bars fill


@styled
def reuse_bars(table: pd.DataFrame, colours: dict[str, str]) -> Figure:
    """Draw feature reuse after finetuning: one panel a layer, a group of bars a task, a bar a pretraining.

    Parameters
    ----------
    table : columns pretraining, task, layer, value, and std where there is one
    colours : of the pretrainings
    """
    layers = list(dict.fromkeys(table["layer"]))
    down, across = panel_grid(len(layers), across=3)
    figure = new_figure(PAGE_MM, 12 + 52 * down)
    panels = figure.subplots(down, across, squeeze=False, sharey=True)
    for axes, layer in zip(panels.flat, layers):
        grouped_bars(axes, table[table["layer"] == layer], "task", colours, room_mm=0.85 * PAGE_MM / across)
        axes.set_title(layer)
    panels[0, 0].set_ylabel("feature reuse, RBF CKA of filters")
    for axes in list(panels.flat)[len(layers) :]:
        axes.set_axis_off()
    legend_below(figure, panels[0, 0])
    return figure


@styled
def uniqueness_bars(table: pd.DataFrame, colours: dict[str, str]) -> Figure:
    """Draw feature uniqueness: a group of bars a layer, a bar a pretraining, with the deviation over pairs of splits.

    Parameters
    ----------
    table : columns pretraining, layer, value, and std where there is one
    colours : of the pretrainings
    """
    figure = new_figure(PAGE_MM * 0.6, 70)
    axes = figure.subplots()
    grouped_bars(axes, table, "layer", colours, room_mm=0.5 * PAGE_MM)
    axes.set_ylabel("feature uniqueness, 8 splits")
    legend_below(figure, axes)
    return figure


def grouped_bars(axes: Axes, table: pd.DataFrame, groups: str, colours: dict[str, str], *, room_mm: float) -> None:
    """Draw the column ``value``, in groups by a column, a bar a pretraining; a value that is missing leaves a gap."""
    names = list(dict.fromkeys(table[groups]))
    bars = [name for name in colours if name in set(table["pretraining"])]
    width = ROOM / len(bars)
    for number, name in enumerate(bars):
        own = table[table["pretraining"] == name].set_index(groups).reindex(names)
        x = np.arange(len(names)) + width * (number - (len(bars) - 1) / 2)
        errors = own["std"].to_numpy() if "std" in own else None
        axes.bar(x, own["value"], width, yerr=errors, color=colours[name], label=name,
                 error_kw={"elinewidth": 0.7, "capsize": 1.5})  # fmt: skip
    label_names(axes, names, room_mm=room_mm / len(names))
    lowest = float(np.nanmin([0.0, table["value"].min()]))
    axes.set_ylim(bottom=lowest)
