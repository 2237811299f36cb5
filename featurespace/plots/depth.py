"""Figures of a value by depth: probes and domain gap."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from featurespace.plots.many import Panel, depth_panel, heatmaps, is_many, log_norm
from featurespace.plots.style import (
    MOST_BANDS,
    PAGE_MM,
    band_text,
    bars_at,
    controls,
    draw_line,
    label_layers,
    layer_names,
    legend_below,
    mark,
    model_colours,
    new_figure,
    panel_grid,
    styled,
    trained,
)
from featurespace.tables.probe import PIXEL_LAYER, PIXELS

PANEL_MM = PAGE_MM * 0.42  # width of the axes in a panel
PROBE_NAMES = {"accuracy": "test accuracy", "balanced_accuracy": "balanced test accuracy", "auc_macro": "macro AUC"}
GEOMETRY_NAMES = {
    "participation_ratio_debiased": "participation ratio, debiased",
    "participation_ratio_corrected": "participation ratio, corrected",
    "anisotropy": "anisotropy (mean cosine)",
}
GAP_NAMES = {"mmd2": "MMD², unbiased", "frechet_distance_corrected": "Fréchet distance, corrected"}


@styled
def probe_by_depth(
    table: pd.DataFrame, layers: pd.DataFrame, *, probe: str = "linear", metric: str = "accuracy"
) -> Figure:
    """Draw what a probe reads from each layer, one panel a data set; dotted: raw pixels and chance.

    Of many models, raw pixels are a row of the heatmap, and chance stands in the title.
    """
    rows = table[(table["probe"] == probe) & (table["metric"] == metric)]
    domains = list(dict.fromkeys(rows["data"]))
    name = f"{PROBE_NAMES.get(metric, metric)}, {probe} probe"
    if is_many(layers):
        pixels = PIXELS in set(rows["model"])
        drawn = [_probe_panel(rows[rows["data"] == data], layers, pixels=pixels) for data in domains]
        return heatmaps(drawn, label=name, apart=len(controls(layers)) + pixels)
    figure, panels = _panels(len(domains))
    for axes, data in zip(panels.flat, domains):
        on_data = rows[rows["data"] == data]
        _draw_models(axes, on_data, layers)
        pixels = on_data[on_data["model"] == PIXELS]
        if len(pixels):
            axes.axhline(
                pixels["value"].iloc[0], color="black", linestyle=":", linewidth=1, label=f"raw pixels, {PIXEL_LAYER}"
            )
            axes.axhspan(pixels["ci_low"].iloc[0], pixels["ci_high"].iloc[0], color="black", alpha=0.08, linewidth=0)
        axes.axhline(on_data["chance"].iloc[0], color="0.4", linestyle=(0, (1, 3)), linewidth=0.8, label="chance")
        axes.set_title(f"{data} ({_probe_counts(on_data)}{band_text(on_data, count=len(trained(layers)))})")
        axes.set_ylim(0, 1)
    panels[0, 0].set_ylabel(name)
    _finish(figure, panels, len(domains))
    return figure


def _probe_counts(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    return f"{first['n_classes']} classes, n = {first['n_train']:,} + {first['n_test']:,}"


def _probe_panel(rows: pd.DataFrame, layers: pd.DataFrame, *, pixels: bool) -> Panel:
    title = f"{rows['data'].iloc[0]} ({_probe_counts(rows)}, chance {rows['chance'].iloc[0]:.2f})"
    panel = depth_panel(title, rows, layers)
    if not pixels:
        return panel
    value = rows.loc[rows["model"] == PIXELS, "value"].mean()  # of one row, or none
    width = len(next(iter(panel.rows.values())))
    return panel._replace(rows={**panel.rows, f"raw pixels, {PIXEL_LAYER}": np.full(width, value)})


@styled
def gap_by_depth(table: pd.DataFrame, layers: pd.DataFrame, *, metric: str = "mmd2") -> Figure:
    """Draw the distance between two data sets by depth, one panel a pair of data sets."""
    rows = table[table["metric"] == metric]
    pairs = list(dict.fromkeys(zip(rows["data_a"], rows["data_b"])))
    name = GAP_NAMES.get(metric, metric)
    if is_many(layers):
        drawn = [depth_panel(_gap_title(own), own, layers) for _, own in rows.groupby(["data_a", "data_b"], sort=False)]
        norm = log_norm(rows["value"].dropna()) if metric == "frechet_distance_corrected" else None
        return heatmaps(drawn, label=name, apart=len(controls(layers)), norm=norm)
    figure, panels = _panels(len(pairs))
    for axes, (data_a, data_b) in zip(panels.flat, pairs):
        on_pair = rows[(rows["data_a"] == data_a) & (rows["data_b"] == data_b)]
        _draw_models(axes, on_pair, layers)
        if metric == "mmd2":
            axes.axhline(0, color="0.4", linewidth=0.6)
        bands = band_text(on_pair, count=len(trained(layers)))
        axes.set_title(_gap_title(on_pair, bands))
        if metric == "frechet_distance_corrected":
            _logarithmic(axes, on_pair)
    panels[0, 0].set_ylabel(name)
    _finish(figure, panels, len(pairs))
    return figure


def _gap_title(rows: pd.DataFrame, bands: str = "") -> str:
    first = rows.iloc[0]
    return f"{first['data_a']} to {first['data_b']} (n = {first['n_a']:,} and {first['n_b']:,}{bands})"


@styled
def geometry_by_depth(table: pd.DataFrame, layers: pd.DataFrame, *, metric: str) -> Figure:
    """Draw a property of each layer by depth, one panel a data set."""
    rows = table[table["metric"] == metric]
    domains = list(dict.fromkeys(rows["data"]))
    name = GEOMETRY_NAMES.get(metric, metric.replace("_", " "))
    if is_many(layers):
        drawn = [
            depth_panel(f"{data} (n = {own['n'].iloc[0]:,})", own, layers)
            for data, own in rows.groupby("data", sort=False)
        ]
        return heatmaps(drawn, label=name, apart=len(controls(layers)))
    figure, panels = _panels(len(domains))
    for axes, data in zip(panels.flat, domains):
        on_data = rows[rows["data"] == data]
        _draw_models(axes, on_data, layers)
        bands = band_text(on_data, count=len(trained(layers)))
        axes.set_title(f"{data} (n = {on_data['n'].iloc[0]:,}{bands})")
    panels[0, 0].set_ylabel(name)
    _finish(figure, panels, len(domains))
    return figure


def _logarithmic(axes: Axes, rows: pd.DataFrame) -> None:
    # Over several orders of magnitude; linear around zero only where a value or an interval reaches it.
    lowest = float(np.nanmin(rows[["value", "ci_low"]].to_numpy(float)))
    if lowest > 0:
        axes.set_yscale("log")
        return
    sizes = rows["value"].abs()
    smallest = float(sizes[sizes > 0].min()) if (sizes > 0).any() else 1.0
    threshold = max(smallest, -lowest, float(sizes.max()) * 1e-4)
    axes.set_yscale("symlog", linthresh=threshold, linscale=0.5)
    axes.set_ylim(bottom=-1.5 * threshold)


def _panels(count: int) -> tuple[Figure, np.ndarray]:
    down, across = panel_grid(max(1, count), across=2)
    figure = new_figure(PAGE_MM if across > 1 else PAGE_MM * 0.6, 12 + 68 * down)
    return figure, figure.subplots(down, across, squeeze=False)


def _draw_models(axes: Axes, rows: pd.DataFrame, layers: pd.DataFrame) -> None:
    colours = model_colours(layers)
    lists = {model: layer_names(layers, model) for model in colours}
    count = len(trained(layers))
    crowded = count > MOST_BANDS  # then the bands of controls only hide the rest
    same = len({tuple(names) for names in lists.values()}) == 1
    for number, (model, names) in enumerate(lists.items()):
        values = rows[rows["model"] == model].set_index("layer").reindex(names)
        x = np.arange(len(names)) if same else np.linspace(0, 1, len(names))
        is_control = model in controls(layers)
        draw_line(axes, x, values, colour=colours[model], label=model, mark=mark(number),
                  dashed=is_control, band=not (crowded and is_control),
                  bars_at=None if is_control else bars_at(number, count, x))  # fmt: skip
    if same:
        label_layers(axes, next(iter(lists.values())), room_mm=PANEL_MM)
    else:
        axes.set_xlabel("relative depth (0 = stem, 1 = pooled output)")
    axes.grid(axis="y", linewidth=0.3, alpha=0.5)


def _finish(figure: Figure, panels: np.ndarray, used: int) -> None:
    for axes in list(panels.flat)[used:]:
        axes.set_axis_off()
    legend_below(figure, panels[0, 0])
