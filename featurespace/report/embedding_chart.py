"""The embedding to look into: one chart a model, in which an image is the same point."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pandas as pd

from featurespace.errors import visible
from featurespace.plots.many import is_many, shown_models
from featurespace.plots.style import CONTROL, PALETTE
from featurespace.run import Run

MARKERS = ("circle", "square", "diamond", "inverted_triangle", "triangle", "plus", "x", "star", "hex")
SHAPES = "●■◆▼▲✚✖★⬢"  # the same markers as text
NAMES = {"data": "data set"}
MISSING = "none"
MOST_VALUES = 40  # in a legend
QUANTILES = 5  # of a column of many numbers
SOURCE = "images"


def embedding_chart(run: Run) -> tuple[list[Any], dict[str, Any]] | None:
    """Return the Bokeh figures, one a model, and what the page's script needs; None where the run has no such tables.

    The figures share one source: what is selected in one is selected in all.
    """
    if not {"aligned_embedding", "images", "neighbours"} <= set(run.tables):
        return None
    points, images = run.tables["aligned_embedding"], run.tables["images"]
    if points.empty:
        return None
    models = list(dict.fromkeys(points["model"]))
    if is_many(run.tables["layers"]):
        models = [model for model in shown_models(run.tables["layers"]) if model in models]
    places = {model: rows.set_index(["data", "sample"]) for model, rows in points.groupby("model", sort=False)}
    order = places[models[0]].index
    images = images.set_index(["data", "sample"]).reindex(order).reset_index()
    columns = {name: _coded(images[name]) for name in _columns(images)}
    first = next(iter(columns.values()))
    pictures = [f"data:image/webp;base64,{each}" if isinstance(each, str) else "" for each in images["thumbnail"]]
    data: dict[str, Any] = {
        "sample": _texts(images["sample"]), "thumbnail": pictures, "data": _texts(images["data"]),
        "label": _texts(images["label"]), "group": _texts(images["group"]),
        "colour": [first["colours"][code] for code in first["codes"]],
    }  # fmt: skip
    for number, model in enumerate(models):
        xy = places[model].loc[order, ["x", "y"]].to_numpy(np.float32)
        data |= {f"x{number}": xy[:, 0].copy(), f"y{number}": xy[:, 1].copy()}
    figures = _figures(data, models, list(dict.fromkeys(data["data"])))
    near = run.tables["neighbours"]
    for each in columns.values():
        each["codes"] = _packed(each["codes"], np.uint16)
    return figures, {
        "source": SOURCE, "columns": columns, "shapes": SHAPES, "domains": list(dict.fromkeys(data["data"])),
        "models": [{"name": visible(model), **_nearest(near[near["model"] == model], order)} for model in models],
    }  # fmt: skip


def shown_images(run: Run) -> str:
    """Return a sentence on which images the charts show."""
    if not {"aligned_embedding", "images", "neighbours"} <= set(run.tables):
        return ""
    shown = run.tables["images"]["data"].value_counts()
    parts = [
        f"{shown.get(each['label'], 0):,} of {each['images']:,} images of {each['label']}"
        for each in run.provenance["data"]
    ]
    complete = all(shown.get(each["label"], 0) == each["images"] for each in run.provenance["data"])
    how = "" if complete else f", drawn at random by label and split (seed {run.provenance['seed']})"
    return f"Shown: {' and '.join(parts)}{how}. Neighbours are the nearest (Euclidean, last layer) of the images shown."


def _columns(images: pd.DataFrame) -> list[str]:
    """Return what the points can be coloured by: every column that tells images apart."""
    rest = [name for name in images.columns if name not in ("data", "sample", "thumbnail", "label", "group", "domain")]
    return [
        name
        for name in ("label", "data", "group", *rest)
        if images[name].nunique(dropna=False) > 1 or name in ("label", "data")
    ]


def _coded(values: pd.Series) -> dict[str, Any]:
    """Return the values of a column as names, codes and colours; many numbers as fifths of their range of ranks."""
    numbers = pd.to_numeric(values, errors="coerce")
    if numbers.notna().sum() == values.notna().sum() and numbers.nunique() > len(PALETTE):
        fifths = pd.qcut(numbers, QUANTILES, duplicates="drop")
        names = [f"{each.left:g} to {each.right:g}" for each in fifths.cat.categories]
        codes = fifths.cat.codes.to_numpy()
    else:
        codes, found = pd.factorize(values, sort=True)
        names = [visible(str(each)) for each in found]
    colours = [PALETTE[index % len(PALETTE)] for index in range(len(names))]
    if (codes < 0).any():
        codes = np.where(codes < 0, len(names), codes)
        names, colours = [*names, MISSING], [*colours, CONTROL]
    return {
        "title": NAMES.get(str(values.name), str(values.name)), "names": names, "colours": colours, "codes": codes,
        "shown": MOST_VALUES, "repeats": len(names) > len(PALETTE) + (MISSING in names),
    }  # fmt: skip


def _texts(values: pd.Series) -> list[str]:
    return [visible(str(each)) for each in values.astype(object).where(values.notna(), MISSING)]


def _nearest(rows: pd.DataFrame, order: pd.Index) -> dict[str, Any]:
    """Return the neighbours of each image, nearest first, as rows of the source, and their distances."""
    rows = rows.sort_values(["data", "sample", "rank"])
    row_of = pd.Series(np.arange(len(order)), index=order)
    k = int(rows["rank"].max())
    of = row_of.loc[list(zip(rows["data"], rows["sample"]))].to_numpy()
    near = row_of.loc[list(zip(rows["neighbour_data"], rows["neighbour"]))].to_numpy()
    indices, distances = np.zeros((len(order), k), np.uint16), np.zeros((len(order), k), np.float32)
    indices[of, rows["rank"] - 1], distances[of, rows["rank"] - 1] = near, rows["distance"]
    return {"k": k, "indices": _packed(indices, np.uint16), "distances": _packed(distances, np.float32)}


def _packed(values: np.ndarray, kind: Any) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype=np.dtype(kind).newbyteorder("<")).tobytes()).decode()


def _figures(data: dict[str, Any], models: list[str], domains: list[str]) -> list[Any]:
    from bokeh.models import ColumnDataSource, HoverTool, Scatter
    from bokeh.models.annotations import Title
    from bokeh.plotting import figure
    from bokeh.transform import factor_mark

    source = ColumnDataSource(data, name=SOURCE)
    marks = factor_mark("data", [MARKERS[index % len(MARKERS)] for index in range(len(domains))], domains)
    figures = []
    for number, model in enumerate(models):
        plot = figure(
            title=Title(text=visible(model), text_font_size="14px"),
            sizing_mode="stretch_width", aspect_ratio=1, match_aspect=True, output_backend="canvas",
            tools="tap,lasso_select,pan,wheel_zoom,reset", toolbar_location="below", min_border=4,
        )  # fmt: skip
        dots = plot.scatter(
            f"x{number}", f"y{number}", source=source, marker=marks, size=6, fill_color="colour", line_color="#1b1f24",
            line_width=0.4, line_alpha=0.5, fill_alpha=0.85, selection_line_alpha=1,
            nonselection_fill_alpha=0.15, nonselection_line_alpha=0.1,
        )  # fmt: skip
        if isinstance(dots.selection_glyph, Scatter):
            dots.selection_glyph.line_width = 2
        plot.add_tools(HoverTool(renderers=[dots], tooltips=TOOLTIP, limit=1))
        plot.axis.visible, plot.grid.visible, plot.toolbar.logo = False, False, None
        figures.append(plot)
    return figures


TOOLTIP = """
<div style="display: flex; gap: 8px; max-width: 20rem; overflow-wrap: anywhere">
<img src="@thumbnail" alt="" width="64" height="64" style="image-rendering: pixelated">
<div>@sample<br>@data<br>label @label<br>group @group</div></div>
"""
