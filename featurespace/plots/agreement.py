"""Who knows what: the share of each exact set of models, and where in an image which models are right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from featurespace.metrics.answers import answer_sets, memberships
from featurespace.plots.style import PAGE_MM, legend_below, new_figure, panel_grid, styled
from featurespace.tables.agreement import set_name

EMPTY_DOT = "0.85"
OVERLAY = 0.65  # opacity of a coloured pixel


def set_colours(models: int) -> list[Any]:
    """Return a colour for each of `answer_sets`: each its own up to 4 models, of more models one for each size."""
    sets = answer_sets(models)
    if len(sets) <= 16:
        return list(matplotlib.colormaps["tab20"](np.arange(len(sets))))
    return list(matplotlib.colormaps["viridis"]([len(each) / models for each in sets]))


@styled
def who_knows_what(table: pd.DataFrame, *, task: str | None = None, label: str | None = None) -> Figure:
    """Draw the share of samples that each exact set of models gets right, by size of the set and order of the models.

    Whiskers are the error of a Poisson count, sqrt(count) / n; the line across a bar is what models of these accuracies would
    share if they were right independently. Below each bar, dots show the models of the set. The scale is logarithmic.

    Parameters
    ----------
    table : the table agreement
    task, label : which rows; by default those of the first one
    """
    rows = table[table["task"] == (table["task"].iloc[0] if task is None else task)]
    rows = rows[rows["label"] == (rows["label"].iloc[0] if label is None else label)]
    models = rows.loc[rows["n_models"] == 1, "set"].tolist()
    members = memberships(len(models))
    x = np.arange(len(rows))
    figure = new_figure(PAGE_MM * (0.6 if len(models) < 4 else 1), 62 + 4 * len(models))
    bars, dots = figure.subplots(2, 1, sharex=True, height_ratios=[50, 6 + 4 * len(models)])
    value, error, expected = (rows[name].to_numpy(float) for name in ("value", "error", "expected"))
    bars.bar(x, value, width=0.7, color=set_colours(len(models)), edgecolor="black", linewidth=0.5)
    bars.errorbar(x, value, yerr=error, fmt="none", ecolor="black", elinewidth=0.8, capsize=2)
    bars.hlines(
        expected, x - 0.45, x + 0.45, color="black", linestyle=(0, (2, 1)), linewidth=1.2, label="if independent"
    )
    shown = np.concatenate([value, expected])
    bars.set_xticks([])
    bars.set_xlim(-0.6, len(rows) - 0.4)
    bars.set_yscale("log")
    bars.yaxis.set_major_formatter("{x:g}")
    bars.set_ylim(0.5 * shown[shown > 0].min(), 1)
    bars.set_ylabel("share of samples")
    bars.grid(axis="y", linewidth=0.3, alpha=0.5)
    bars.legend(loc="upper left")
    first = rows.iloc[0]
    name = f"{first['task']}" if first["label"] == "all" else f"{first['task']}, {first['label']}"
    bars.set_title(f"{name} (n = {first['n']:,}; whiskers: error of the count)")
    _dots(dots, members, models)
    return figure


def _dots(axes: Axes, members: np.ndarray, models: Sequence[str]) -> None:
    for inside, colour in ((~members, EMPTY_DOT), (members, "black")):
        sets, rows = np.nonzero(inside)
        axes.scatter(sets, rows, s=14, color=colour, linewidths=0)
    axes.set_yticks(range(len(models)), models)
    axes.set_ylim(len(models) - 0.5, -0.5)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("models that are right (none: no dot)")


@styled
def answer_overlays(
    images: Sequence[Any], maps: Sequence[np.ndarray], models: Sequence[str], *, titles: Sequence[str] = ()
) -> Figure:
    """Draw images with their foreground pixels coloured by the set of models that are right.

    Parameters
    ----------
    images : (h, w) or (h, w, 3) arrays; grey ones are drawn from their smallest to their largest value
    maps : (h, w) whole numbers of each image, from `answer_map`
    models : labels of the models
    titles : one for each image

    Raises
    ------
    ValueError
        If there is not one map of its shape for each image, or one title where there are titles.
    """
    if len(maps) != len(images) or (titles and len(titles) != len(images)) or not len(images):
        raise ValueError(
            f"there are {len(images)} images, {len(maps)} maps and {len(titles)} titles; each image needs one"
        )
    for place, (image, found) in enumerate(zip(images, maps)):
        if np.shape(image)[:2] != np.shape(found):
            raise ValueError(f"image {place} has shape {np.shape(image)} and its map {np.shape(found)}")
    colours, sets = set_colours(len(models)), answer_sets(len(models))
    down, across = panel_grid(len(images), across=4)
    seen = sorted({int(each) for found in maps for each in np.unique(found) if each >= 0})
    figure = new_figure(PAGE_MM * max(across, 3) / 4, 8 + down * (PAGE_MM / 4 + 6) + 2 * len(seen))
    panels = figure.subplots(down, across, squeeze=False)
    for axes in panels.flat:
        axes.set(xticks=[], yticks=[])
        axes.set_axis_off()
    for place, (axes, image, found) in enumerate(zip(panels.flat, images, maps)):
        axes.imshow(image, cmap="gray")
        layer = np.zeros((*found.shape, 4))
        for each in np.unique(found[found >= 0]):
            layer[found == each] = (*to_rgb(colours[each]), OVERLAY)
        axes.imshow(layer, interpolation="nearest")
        if titles:
            axes.set_title(titles[place])
    for each in seen:
        panels[0, 0].plot([], [], "s", color=colours[each], label=set_name(sets[each], models))
    legend_below(figure, panels[0, 0])
    return figure
