"""How a value settles as the images become more."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from featurespace.plots.style import (
    PAGE_MM,
    PALETTE,
    band_text,
    draw_line,
    mark,
    new_figure,
    panel_grid,
    shortened_layer,
    styled,
)


@styled
def cka_convergence(table: pd.DataFrame) -> Figure:
    """Draw CKA of the first two models against the number of images, one panel a data set.

    Of the layers, that least alike, that most alike and the last one; least and most by the value of all images.
    """
    first = table.iloc[0]
    model_a, model_b = first["model_a"], first["model_b"]
    rows = table[(table["model_a"] == model_a) & (table["model_b"] == model_b)]
    domains = list(dict.fromkeys(rows["data"]))
    down, across = panel_grid(len(domains), across=2)
    figure = new_figure(PAGE_MM if across > 1 else PAGE_MM * 0.6, 18 + 50 * down)
    panels = figure.subplots(down, across, squeeze=False, sharey=True)
    chosen = {}
    for data in domains:
        whole = rows[(rows["data"] == data) & (rows["part"] == 1)].set_index(["layer_a", "layer_b"])["value"]
        roles = {"least alike": whole.idxmin(), "last layer": whole.index[-1], "most alike": whole.idxmax()}
        chosen[data] = {
            place: ", ".join(role for role, each in roles.items() if each == place) for place in roles.values()
        }
    for axes, data in zip(panels.flat, domains):
        on_data = rows[rows["data"] == data]
        for number, ((layer_a, layer_b), role) in enumerate(chosen[data].items()):
            line = on_data[(on_data["layer_a"] == layer_a) & (on_data["layer_b"] == layer_b)].sort_values("n")
            name = shortened_layer(layer_a if layer_a == layer_b else f"{layer_a} / {layer_b}")
            label = f"{role}: {name}"
            draw_line(axes, line["n"], line, colour=PALETTE[number], label=label, mark=mark(number))
        counts = sorted(set(on_data["n"]))
        axes.set_xscale("log", base=2)
        axes.set_xticks(counts, [f"{count:,}" for count in counts])
        axes.minorticks_off()
        axes.set_xlabel("images")
        axes.set_title(f"{data}{band_text(on_data)}")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22))
        axes.grid(axis="y", linewidth=0.3, alpha=0.5)
    for axes in list(panels.flat)[len(domains) :]:
        axes.set_axis_off()
    panels[0, 0].set_ylabel(f"linear CKA, {model_a} and {model_b}")
    return figure
