"""Figures of more models than lines can be told apart and panels can be looked at."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize, SymLogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from featurespace.plots.style import (
    LABEL_MM,
    PAGE_MM,
    control_of,
    controls,
    label_layers,
    layer_names,
    new_figure,
    panel_grid,
    shortened_layer,
    trained,
)

MANY = 24
"""More models than this, controls included, are rows of a heatmap in place of lines, and only the first have panels."""
MOST_PANELS = 12
ROWS_MM = 150.0  # height of the rows of all panels below each other
LEAST_MM = 25.0  # height of the rows of a panel
EDGE_MM = 26.0  # title and names of the columns of a panel
TITLE_CHARACTERS = 46
SHORT = 3  # characters of a column's name that stand upright below it
STEPS = 240  # columns of relative depth


class Panel(NamedTuple):
    """The heatmap of a data set: its title, the names of its columns, and the values of each row.

    Without names the columns are relative depth, and rows may have different numbers of values.
    """

    title: str
    columns: Sequence[str] | None
    rows: Mapping[str, np.ndarray]


def is_many(layers: pd.DataFrame) -> bool:
    """Return whether a run has more models than lines can be told apart."""
    return layers["model"].nunique() > MANY


def shown_models(layers: pd.DataFrame) -> list[str]:
    """Return the models that have a panel: all, or of many the first, with their controls last."""
    if not is_many(layers):
        return [*trained(layers), *controls(layers)]
    for count in range(MOST_PANELS, 0, -1):
        models = trained(layers)[:count]
        own = dict.fromkeys(control for model in models if (control := control_of(layers, model)))
        if count + len(own) <= MOST_PANELS:
            break
    return [*models, *own]


def part_of(shown: int, count: int, table: str) -> str:
    """Return how many of the models are shown and where the others are.

    >>> part_of(12, 101, "embedding")
    '12 of 101 models; all are in the table embedding'
    """
    return f"{shown:,} of {count:,} models; all are in the table {table}"


def depth_panel(title: str, rows: pd.DataFrame, layers: pd.DataFrame) -> Panel:
    """Return the values of all models by layer, controls last."""
    names = {model: layer_names(layers, model) for model in (*trained(layers), *controls(layers))}
    values = {model: own.set_index("layer")["value"] for model, own in rows.groupby("model", sort=False)}
    nothing = pd.Series(dtype=float)
    found = {model: values.get(model, nothing).reindex(own).to_numpy(float) for model, own in names.items()}
    alike = len({tuple(own) for own in names.values()}) == 1
    return Panel(title, next(iter(names.values())) if alike else None, found)


def heatmaps(
    panels: Sequence[Panel], *, label: str, apart: int, xlabel: str = "", norm: Normalize | None = None
) -> Figure:
    """Draw one row a model and one panel a data set; what has no value is hatched.

    Parameters
    ----------
    panels : of the same rows
    label : of the colours
    apart : how many rows, the last ones, stand apart from the others
    xlabel : of the columns
    norm : values of the colours; by default from the least to the largest of the rows that do not stand apart. Values beyond
        take the end colours.
    """
    down, across = panel_grid(len(panels), across=2)
    room = min(max(LEAST_MM, ROWS_MM / down), LABEL_MM * (len(panels[0].rows) + 1))
    figure = new_figure(PAGE_MM if across > 1 else PAGE_MM * 0.6, down * (room + EDGE_MM))
    drawn = figure.subplots(down, across, squeeze=False)
    norm = norm or range_norm([panel.rows for panel in panels], apart)
    for place, (axes, panel) in enumerate(zip(drawn.flat, panels)):
        image = _draw(axes, panel, apart, room, norm)
        axes.set_title("\n".join(textwrap.wrap(panel.title, TITLE_CHARACTERS)))
        if panel.columns is None:
            axes.set_xlabel("relative depth (0 = stem, 1 = pooled output)")
        else:
            label_layers(axes, panel.columns, room_mm=PAGE_MM * 0.35)
            axes.set_xlabel(xlabel)
            if max(map(len, panel.columns)) <= SHORT:
                axes.tick_params(axis="x", rotation=0)
        axes.tick_params(length=0, labelleft=place % across == 0)
    for axes in list(drawn.flat)[len(panels) :]:
        axes.set_axis_off()
    figure.colorbar(image, ax=drawn, label=label, shrink=0.6, pad=0.01, aspect=30, extend=_beyond(panels, norm))
    return figure


def _draw(axes: Axes, panel: Panel, apart: int, room: float, norm: Normalize) -> AxesImage:
    names, count = list(panel.rows), len(panel.rows) - apart
    step = int(np.ceil((len(names) + 1) * LABEL_MM / room))
    high = step if apart <= MOST_PANELS else 1  # so that each row that stands apart has its name
    width = STEPS if panel.columns is None else len(panel.columns)
    wide = np.array([row[np.arange(width) * len(row) // width] for row in panel.rows.values()])
    gap = np.full((1 if apart else 0, width), np.nan)
    matrix = np.concatenate([wide[:count], np.repeat(np.concatenate([gap, wide[count:]]), high, axis=0)])
    left, right = (0, 1) if panel.columns is None else (-0.5, width - 0.5)
    image = axes.imshow(np.ma.masked_invalid(matrix), norm=norm, cmap="viridis", aspect="auto", interpolation="nearest",
                        extent=(left, right, len(matrix) - 0.5, -0.5))  # fmt: skip
    if np.isnan(wide).any():
        axes.patch.set(hatch="////", edgecolor="0.6", linewidth=0)
    axes.add_patch(Rectangle((left, count - 0.5), right - left, len(gap) * high, color="white", linewidth=0))
    every = -(-step // high)
    places = [*range(0, count, step), *(count + high * (1 + each) + (high - 1) / 2 for each in range(0, apart, every))]
    labels = [shortened_layer(name) for name in (*names[:count:step], *names[count::every])]
    axes.set_yticks(places, labels)
    axes.spines[:].set_visible(False)
    return image


def _beyond(panels: Sequence[Panel], norm: Normalize) -> str:
    """Return at which ends of the colours values lie beyond them."""
    values = np.concatenate([row for panel in panels for row in panel.rows.values()])
    below, above = bool((values < norm.vmin).any()), bool((values > norm.vmax).any())
    return {(False, False): "neither", (True, False): "min", (False, True): "max"}.get((below, above), "both")


def range_norm(rows: Sequence[Mapping[str, np.ndarray]], apart: int) -> Normalize:
    """Return colours from the least to the largest value of the rows that do not stand apart."""
    values = [row for each in rows for row in list(each.values())[: len(each) - apart]]
    known = np.concatenate(values)
    known = known[np.isfinite(known)]
    return Normalize(known.min(), known.max()) if len(known) else Normalize(0, 1)


def log_norm(values: pd.Series) -> Normalize:
    """Return colours over orders of magnitude; linear around zero only where a value reaches it."""
    sizes = values.abs()[values.abs() > 0]
    low, high = float(values.min()), float(values.max())
    if low > 0 or not len(sizes):
        return LogNorm(low, high) if low > 0 else Normalize(0, 1)
    return SymLogNorm(max(float(sizes.min()), float(sizes.max()) * 1e-4), vmin=low, vmax=high)
