"""Scores of pretrainings as bars, and their trainings as curves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from featurespace.plots.pages import pages
from featurespace.plots.style import (
    PAGE_MM,
    PALETTE,
    label_names,
    legend_below,
    mark,
    new_figure,
    panel_grid,
    styled,
)

ROOM_MM = 0.72  # share of the width of a panel that its bars have


def pretraining_colours(names: Iterable[str]) -> dict[str, str]:
    """Return one colour a pretraining, the same in every figure: the palette in order of naming."""
    return {name: PALETTE[index % len(PALETTE)] for index, name in enumerate(dict.fromkeys(names))}


def score_pages(summary: pd.DataFrame, runs: pd.DataFrame) -> Iterator[tuple[str, Figure, pd.DataFrame]]:
    """Yield the name, the bar charts and the rows of each page, one panel a task and metric."""
    colours = pretraining_colours(runs["pretraining"])
    for experiment, name, rows in pages(summary):
        yield name, score_bars(rows, runs[runs["experiment"] == experiment], colours), rows


@styled
def score_bars(summary: pd.DataFrame, runs: pd.DataFrame, colours: dict[str, str]) -> Figure:
    """Draw the mean of each pretraining with its standard deviation, and its runs as points; one panel a task and metric.

    The axis is cut where all means lie close together; its title says so.
    """
    places = list(dict.fromkeys(zip(summary["task"], summary["metric"])))
    down, across = panel_grid(len(places), across=3)
    figure = new_figure(PAGE_MM if across > 1 else PAGE_MM * 0.5, 8 + 52 * down)
    panels = figure.subplots(down, across, squeeze=False)
    for axes, (task, metric) in zip(panels.flat, places):
        rows = summary[(summary["task"] == task) & (summary["metric"] == metric)]
        own = runs[(runs["task"] == task) & (runs["metric"] == metric)]
        points = {name: own.loc[own["pretraining"] == name, "value"].to_numpy() for name in rows["pretraining"]}
        _bars(axes, rows["pretraining"].tolist(), rows["mean"].to_numpy(), rows["std"].to_numpy(), points, colours,
              room_mm=ROOM_MM * (PAGE_MM if across > 1 else PAGE_MM / 2) / across / len(rows))  # fmt: skip
        axes.set_title(f"{task} (n = {_range(rows['n'])})")
        cut = axes.get_ylim()[0] > 0
        axes.set_ylabel(metric.replace("_", " ") + (", axis cut" if cut else ""))
    _switch_off(panels, len(places))
    return figure


@styled
def convergence_bars(table: pd.DataFrame, colours: dict[str, str]) -> Figure:
    """Draw the epochs to convergence of each pretraining, mean with its interval over runs; one panel a task and metric."""
    places = list(dict.fromkeys(zip(table["experiment"], table["task"], table["metric"])))
    down, across = panel_grid(len(places), across=4)
    figure = new_figure(PAGE_MM if across > 1 else PAGE_MM * 0.5, 6 + 44 * down)
    panels = figure.subplots(down, across, squeeze=False)
    for axes, (experiment, task, metric) in zip(panels.flat, places):
        rows = table[(table["experiment"] == experiment) & (table["task"] == task) & (table["metric"] == metric)]
        low, high = (rows["epochs"] - rows["ci_low"]).to_numpy(), (rows["ci_high"] - rows["epochs"]).to_numpy()
        names = rows["pretraining"].tolist()
        axes.bar(range(len(names)), rows["epochs"], color=[colours[name] for name in names], width=0.7)
        axes.errorbar(
            range(len(names)), rows["epochs"], yerr=[low, high], fmt="none", color="black", capsize=2, linewidth=0.8
        )
        label_names(axes, names, room_mm=ROOM_MM * PAGE_MM / across / len(names))
        axes.set_ylim(0, max(1.0, float(np.nanmax(np.r_[rows["epochs"], rows["ci_high"].dropna()])) * 1.08))
        axes.set_title(f"{experiment}: {task} (n = {_range(rows['n'])})", fontsize=6.5)
        axes.set_ylabel(f"epochs, {metric.replace('_', ' ')}", fontsize=6)
    _switch_off(panels, len(places))
    return figure


@styled
def loss_curves(table: pd.DataFrame, colours: dict[str, str], *, over: str = "samples") -> Figure:
    """Draw the training loss over samples seen or over epochs: mean over runs, band one standard deviation.

    Parameters
    ----------
    table : the table ``loss_curves``
    colours : of the pretrainings
    over : ``"samples"`` or ``"epoch"``
    """
    if over not in ("samples", "epoch"):
        raise ValueError(f"over is {over!r}; allowed are 'samples' and 'epoch'")
    places = list(dict.fromkeys(zip(table["experiment"], table["task"])))
    down, across = panel_grid(len(places), across=3)
    figure = new_figure(PAGE_MM if across > 1 else PAGE_MM * 0.6, 12 + 50 * down)
    panels = figure.subplots(down, across, squeeze=False)
    for axes, (experiment, task) in zip(panels.flat, places):
        rows = table[(table["experiment"] == experiment) & (table["task"] == task)]
        for name, of in rows.groupby("pretraining", sort=False):
            of = of.sort_values(over)
            spread = of["std"].fillna(0)
            axes.fill_between(
                of[over], of["loss"] - spread, of["loss"] + spread, color=colours[name], alpha=0.2, linewidth=0
            )
            axes.plot(of[over], of["loss"], mark(list(colours).index(name)), color=colours[name], label=name,
                      markevery=max(1, len(of) // 8))  # fmt: skip
        if (rows["loss"] > 0).all():
            axes.set_yscale("log")
        axes.set_title(f"{experiment}: {task} (n = {_range(rows['n'])})")
        axes.set_xlabel("training samples seen" if over == "samples" else "epoch")
        axes.set_ylabel("training loss")
    _switch_off(panels, len(places))
    legend_below(figure, panels[0, 0])
    return figure


def _bars(
    axes: Axes, names: list[str], means: np.ndarray, deviations: np.ndarray, points: dict[str, np.ndarray],
    colours: dict[str, str], *, room_mm: float,
) -> None:  # fmt: skip
    axes.bar(range(len(names)), means, color=[colours[name] for name in names], width=0.7)
    spread = np.nan_to_num(deviations)
    several = [place for place, name in enumerate(names) if len(points[name]) != 1]  # one run has no deviation
    axes.errorbar(several, means[several], yerr=spread[several], fmt="none", color="black", capsize=2, linewidth=0.8)
    for place, name in enumerate(names):
        values = np.sort(points[name])
        x = place + 0.18 * np.linspace(-1, 1, len(values)) if len(values) > 1 else [place]
        axes.plot(
            x, values, "o", color="white", markeredgecolor="black", markeredgewidth=0.4, markersize=2, clip_on=False
        )
    label_names(axes, names, room_mm=room_mm)
    everything = np.concatenate([*points.values(), means - spread, means + spread])
    low, high = float(everything.min()), float(everything.max())
    room = 0.12 * (high - low) if high > low else 0.05 * abs(high)
    if low > 0 and low > 0.5 * high:
        axes.set_ylim(max(0, low - 2 * room), high + room)
    else:
        axes.set_ylim(min(0, low - room), high + room)


def _range(counts: pd.Series) -> str:
    low, high = int(counts.min()), int(counts.max())
    return f"{low}" if low == high else f"{low} to {high}"


def _switch_off(panels: np.ndarray, used: int) -> None:
    for axes in list(panels.flat)[used:]:
        axes.set_axis_off()
