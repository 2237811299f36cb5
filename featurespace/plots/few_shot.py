"""How accuracy grows with the number of labelled images."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from featurespace.plots.many import Panel, heatmaps, is_many
from featurespace.plots.style import (
    MOST_BANDS,
    PAGE_MM,
    band_text,
    bars_at,
    controls,
    draw_line,
    legend_below,
    mark,
    model_colours,
    new_figure,
    panel_grid,
    styled,
    trained,
)


@styled
def accuracy_by_shots(table: pd.DataFrame, layers: pd.DataFrame, *, metric: str = "balanced_accuracy") -> Figure:
    """Draw what a probe on the last layer reads from few labelled images a class, one panel a data set."""
    rows = table[table["metric"] == metric]
    domains = list(dict.fromkeys(rows["data"]))
    name = f"{metric.replace('_', ' ')}, ridge probe"
    if is_many(layers):
        drawn = [_panel(rows[rows["data"] == data], layers) for data in domains]
        return heatmaps(drawn, label=name, apart=len(controls(layers)), xlabel=f"training {_unit(rows)} a class")
    down, across = panel_grid(len(domains), across=2)
    figure = new_figure(PAGE_MM if across > 1 else PAGE_MM * 0.6, 14 + 56 * down)
    panels = figure.subplots(down, across, squeeze=False)
    colours, count = model_colours(layers), len(trained(layers))
    for axes, data in zip(panels.flat, domains):
        on_data = rows[rows["data"] == data]
        for number, (model, colour) in enumerate(colours.items()):
            line = on_data[on_data["model"] == model].sort_values("shots")
            if len(line):
                is_control, shots = model in controls(layers), line["shots"].to_numpy(float)
                beside = None if is_control else bars_at(number, count, np.log(shots))
                draw_line(axes, shots, line, colour=colour, label=model, mark=mark(number), dashed=is_control,
                          band=not (is_control and count > MOST_BANDS),
                          bars_at=None if beside is None else shots * np.expm1(beside))  # fmt: skip
        counts = sorted(set(on_data["shots"]))
        axes.set_xscale("log")
        axes.set_xticks(counts, [f"{count:,}" for count in counts])
        axes.minorticks_off()
        axes.set_ylim(0, 1)
        axes.set_xlabel(f"training {_unit(on_data)} a class")
        axes.set_title(f"{data} (n = {on_data['n_test'].iloc[0]:,} test images{band_text(on_data, count=count)})")
        axes.grid(axis="y", linewidth=0.3, alpha=0.5)
    for axes in list(panels.flat)[len(domains) :]:
        axes.set_axis_off()
    panels[0, 0].set_ylabel(name)
    legend_below(figure, panels[0, 0])
    return figure


def _unit(rows: pd.DataFrame) -> str:
    return "groups" if (rows["unit"] == "group").all() else "images"


def _panel(rows: pd.DataFrame, layers: pd.DataFrame) -> Panel:
    shots = sorted(set(rows["shots"]))
    order = [*trained(layers), *controls(layers)]
    values = rows.pivot(index="model", columns="shots", values="value").reindex(index=order, columns=shots)
    title = f"{rows['data'].iloc[0]} (n = {rows['n_test'].iloc[0]:,} test images)"
    return Panel(title, [f"{count:,}" for count in shots], dict(zip(order, values.to_numpy(float))))
