"""Matrices of every two pretrainings: by how many percent the one is ahead, and p."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from featurespace.plots.pages import PANELS, pages
from featurespace.plots.style import (
    CHARACTER_MM,
    COLUMN_MM,
    PAGE_MM,
    label_names,
    new_figure,
    panel_grid,
    shortened_name,
    styled,
)

CELL_MM = 10.4  # room for "+0.44 %*" in 5.5 points
EDGE_MM = 6  # ticks, the title, and air
BAR_MM = 12  # height of the colour bar with its text
HEIGHT_MM = 240  # of a page
TITLE_CHARACTER_MM = 1.4
BETTER_WORSE = "RdBu"  # blue: the row is better, red: worse; told apart with every common colour vision


def pairwise_pages(table: pd.DataFrame) -> Iterator[tuple[str, Figure, pd.DataFrame]]:
    """Yield the name, the matrices and the rows of each page, one panel a task and metric."""
    wide, high = _size(table)
    panels = max(1, int(PAGE_MM // wide)) * max(1, int((HEIGHT_MM - BAR_MM) // high))
    for _, name, rows in pages(table, panels=min(PANELS, panels)):
        yield name, pairwise_matrices(rows), rows


def _size(table: pd.DataFrame) -> tuple[float, float]:
    """Return the width and height of a panel, in mm: of its cells, or of its title where that is wider."""
    names = _order(table)
    label = CHARACTER_MM * max((len(shortened_name(name)) for name in names), default=0)
    titles = map(_title, table["experiment"], table["task"], table["metric"])
    title = label + TITLE_CHARACTER_MM * max(map(len, titles), default=0)
    return max(CELL_MM * len(names) + label, title) + EDGE_MM, CELL_MM * 0.75 * len(names) + label + EDGE_MM


def _title(experiment: str, task: str, metric: str) -> str:
    return f"{experiment}: {task} ({metric.replace('_', ' ')})"


@styled
def pairwise_matrices(table: pd.DataFrame) -> Figure:
    """Draw rows against columns: difference of the means in percent of the column's, and Welch's p, not corrected.

    Colour is direction times 1 - p: full blue where the row is better for sure, full red where it is worse, white where the
    runs say nothing. Cells without a test are hatched. A star marks what stays significant after Holm's correction.
    """
    places = list(dict.fromkeys(zip(table["experiment"], table["task"], table["metric"])))
    names = _order(table)
    wide, high = _size(table)
    down, across = panel_grid(len(places), across=max(1, int(PAGE_MM // wide)))
    figure = new_figure(max(COLUMN_MM, min(PAGE_MM, across * wide)), down * high + BAR_MM)
    panels = figure.subplots(down, across, squeeze=False)
    for axes, (experiment, task, metric) in zip(panels.flat, places):
        rows = table[(table["experiment"] == experiment) & (table["task"] == task) & (table["metric"] == metric)]
        _draw(axes, rows.set_index(["a", "b"]), names)
        axes.set_title(_title(experiment, task, metric))
    for axes in list(panels.flat)[len(places) :]:
        axes.set_axis_off()
    bar = figure.colorbar(
        ScalarMappable(Normalize(-1, 1), BETTER_WORSE), ax=panels, location="bottom", fraction=0.03, pad=0.02,
        shrink=min(1.0, 80 / (across * wide)), aspect=25, ticks=[-1, 0, 1],
    )  # fmt: skip
    bar.ax.set_xticklabels(["row worse,\np = 0", "p = 1", "row better,\np = 0"])
    return figure


def _draw(axes: Axes, rows: pd.DataFrame, names: list[str]) -> None:
    there = [name for name in names if name in rows.index.get_level_values("a")]
    colours = np.full((len(there), len(there)), np.nan)
    for i, a in enumerate(there):
        for j, b in enumerate(there):
            if a == b:
                axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor="0.92", linewidth=0))
                continue
            row = rows.loc[(a, b)]
            if pd.isna(row["p_value"]):
                axes.add_patch(
                    Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor="none", edgecolor="0.75", hatch="////", linewidth=0)
                )
                axes.text(j, i, _percent(row["delta_percent"]), ha="center", va="center", fontsize=5.5)
                continue
            sign = np.sign(row["difference"]) * (1 if row["higher_is_better"] else -1)
            colours[i, j] = sign * (1 - row["p_value"])
            star = "*" if row["p_holm"] <= 1 - row["level"] else ""
            ink = "white" if abs(colours[i, j]) > 0.6 else "black"
            axes.text(j, i, f"{_percent(row['delta_percent'])}{star}\np {_p(row['p_value'])}",
                      ha="center", va="center", fontsize=5.5, color=ink, linespacing=1.05)  # fmt: skip
    axes.imshow(colours, cmap=BETTER_WORSE, vmin=-1, vmax=1, aspect="auto")
    label_names(axes, there, room_mm=CELL_MM)
    axes.set_yticks(range(len(there)), [shortened_name(name) for name in there])
    axes.set_xticks(np.arange(len(there) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(there) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=0.8)
    axes.tick_params(which="both", length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _order(table: pd.DataFrame) -> list[str]:
    """Return the pretrainings in the order of their naming: of all rows, a comes before b in the first of the two."""
    return list(dict.fromkeys([*table["a"], *table["b"]]))


def _percent(value: float) -> str:
    if pd.isna(value):
        return ""
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:+.{digits}f} %".replace("-", "\N{MINUS SIGN}")


def _p(value: float) -> str:
    return "< .001" if value < 0.001 else f"{value:.3f}".removeprefix("0")
