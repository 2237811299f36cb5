"""Size, type and colour of every figure, in one place."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from featurespace.errors import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

P = ParamSpec("P")
R = TypeVar("R")

COLUMN_MM = 88.0  # one journal column
PAGE_MM = 180.0  # two columns
MM = 1 / 25.4

# Okabe and Ito's colours, told apart with every common colour vision, and dark ones at least 15 from all others (CIEDE2000, also
# with protanopia, deuteranopia and tritanopia); yellow comes last, because it is weak on white. Purple and blue are 5 apart with
# deuteranopia: lines from the seventh on are dotted and dashed.
PALETTE = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9",
    "#7A5195", "#8C564B", "#000000", "#800000", "#2B006B", "#F0E442",
)  # fmt: skip
CONTROL = "#8A8A8A"
MARKERS = "osD^vP*Xph<>"
LINES = ("-", "-.")  # of the first six and of the next six; dashes are for controls
LAYER_CHARACTERS = 24
NAME_CHARACTERS = 16  # of a pretraining's name below a bar
CHARACTER_MM = 1.45  # width of a character of legend text, rather wide
LABEL_MM = 2.6  # a line of tick label text, with a little air
# Enough colours for the classes of one picture; more classes than this get no legend.
MAX_CLASSES = 20
MOST_BANDS = 3  # of models in a panel; bars stand side by side

CJK_FONTS = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "WenQuanYi Zen Hei",
    "Microsoft YaHei",
    "PingFang SC",
    "Hiragino Sans",
)

RC: Any = {
    "font.family": "sans-serif", "font.sans-serif": ["Arial", "Helvetica", "DejaVu Sans"], "font.size": 7,
    "axes.titlesize": 7.5, "axes.labelsize": 7, "xtick.labelsize": 6, "ytick.labelsize": 6.5, "legend.fontsize": 6.5,
    "axes.linewidth": 0.6, "xtick.major.width": 0.5, "ytick.major.width": 0.5, "xtick.major.size": 2, "ytick.major.size": 2,
    "lines.linewidth": 1.1, "lines.markersize": 2.6, "axes.spines.top": False, "axes.spines.right": False,
    "legend.frameon": False, "axes.titlelocation": "left", "hatch.linewidth": 0.4,
}  # fmt: skip


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Let a figure function draw in the style of this module, and leave matplotlib's settings as they were."""

    @functools.wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with matplotlib.rc_context({**RC, "font.sans-serif": _fonts()}):
            return draw(*map(_plain, args), **{name: _plain(value) for name, value in kwargs.items()})

    return wrapper


@functools.cache
def _fonts() -> list[str]:
    # Only what is installed: matplotlib warns of every other name. The last ones hold Chinese, Japanese and Korean.
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return [name for name in (*RC["font.sans-serif"], *CJK_FONTS) if name in installed]


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return _drawable(value)
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):  # colours by name
        return {_drawable(name): each for name, each in value.items()}
    if not hasattr(value, "select_dtypes"):
        return value
    columns = {
        name: value[name].map(_drawable, na_action="ignore")
        for name in value.select_dtypes(("object", "string")).columns
        if any(_drawable(each) != each for each in value[name].dropna().unique())  # few names, in many rows
    }
    return value.assign(**columns)


def _drawable(text: Any) -> Any:
    """Return somebody's label as matplotlib draws it: a dollar sign is no formula, control characters are no XML."""
    if not isinstance(text, str):
        return text
    text = visible(text).replace("$", r"\$")
    return f"\u200a{text}" if text.startswith("_") else text  # legends leave out names that begin with an underscore


def new_figure(width_mm: float, height_mm: float) -> Figure:
    """Return an empty figure of the given size, laid out so that nothing overlaps."""
    layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.03, wspace=0.03, hspace=0.04)
    return Figure(figsize=(width_mm * MM, height_mm * MM), layout=layout)


def model_colours(layers: pd.DataFrame) -> dict[str, str]:
    """Return one colour a model, the same in every figure of a run: the palette in order of naming.

    One control is grey; of several, each has the colour of its model (and is drawn dashed).
    """
    roles = layers.drop_duplicates("model").set_index("model")["role"]
    models = [model for model in roles.index if roles[model] == "model"]
    colours = {model: PALETTE[index % len(PALETTE)] for index, model in enumerate(models)}
    untrained = [model for model in roles.index if roles[model] != "model"]
    owners = {control_of(layers, model): model for model in reversed(models)}
    several = len(untrained) > 1
    colours.update({control: colours[owners[control]] if several else CONTROL for control in untrained})
    return colours


def mark(number: int) -> str:
    """Return marker and line of number 0, 1, 2, ..., as matplotlib's format: with the colours twelve that can be told apart.

    >>> mark(0), mark(7)
    ('o-', 'X-.')
    """
    return MARKERS[number % len(MARKERS)] + LINES[number // 6 % len(LINES)]


def trained(layers: pd.DataFrame) -> list[str]:
    """Labels of the models that are no controls, in order."""
    return list(dict.fromkeys(layers.loc[layers["role"] == "model", "model"]))


def controls(layers: pd.DataFrame) -> list[str]:
    """Labels of the controls, in order."""
    return list(dict.fromkeys(layers.loc[layers["role"] == "control", "model"]))


def control_of(layers: pd.DataFrame, model: str) -> str | None:
    """Label of the control of a model: the untrained copy of its architecture, or None if it has none."""
    control = layers.loc[layers["model"] == model, "control"].iloc[0]
    return None if pd.isna(control) else str(control)


def layer_names(layers: pd.DataFrame, model: str) -> list[str]:
    """Layers of a model in order of execution."""
    return layers[layers["model"] == model].sort_values("depth")["layer"].tolist()


def shortened_layer(name: str) -> str:
    """Return a layer's name, its middle left out where it is longer than a panel has room for."""
    return name if len(name) <= LAYER_CHARACTERS else f"{name[:8]}…{name[9 - LAYER_CHARACTERS :]}"


def shortened_name(name: str) -> str:
    """Return the name of a pretraining or an arm, its end left out where it is longer than a panel has room for."""
    return name if len(name) <= NAME_CHARACTERS else f"{name[: NAME_CHARACTERS - 1]}…"


def label_names(axes: Axes, names: Iterable[str], *, room_mm: float) -> None:
    """Write names below positions 0, 1, 2, ...: upright, slanted, or where they are long on end.

    ``room_mm`` is the distance of two positions; where it is less than a line, every second, third, ... is named.
    """
    names = [shortened_name(name) for name in names]
    if room_mm < LABEL_MM:
        label_layers(axes, names, room_mm=room_mm * len(names))
        return
    longest = max(map(len, names)) * CHARACTER_MM
    if longest <= room_mm:
        axes.set_xticks(range(len(names)), names)
    elif longest <= 1.2 * room_mm:
        axes.set_xticks(range(len(names)), names, rotation=30, ha="right", rotation_mode="anchor")
    else:
        axes.set_xticks(range(len(names)), names, rotation=90)
    axes.tick_params(axis="x", length=0)


def label_layers(axes: Axes, names: Iterable[str], *, room_mm: float, which: str = "x") -> None:
    """Write layer names on an axis whose positions are 0, 1, 2, ...; where they lack room, every second, third, ...

    The first and the last layer are always named. ``room_mm`` is the length of the axis.
    """
    names = [shortened_layer(name) for name in names]
    step = max(1, int(np.ceil(len(names) * LABEL_MM / room_mm)))
    last = len(names) - 1
    ticks = [index for index in range(0, len(names), step) if last - index >= step] + [last]
    labels = [names[index] for index in ticks]
    if which == "x":
        axes.set_xticks(ticks, labels, rotation=90)
    else:
        axes.set_yticks(ticks, labels)


def draw_line(
    axes: Axes,
    x: Any,
    table: pd.DataFrame,
    *,
    colour: str,
    label: str,
    mark: str = "o-",
    dashed: bool = False,
    band: bool = True,
    bars_at: Any = None,
) -> None:
    """Draw values with their intervals: a line with a band; where a row has no interval, the line alone.

    ``bars_at`` draws bars in place of the band, that far beside the values (one distance, or one each): bands
    of many lines hide each other.
    """
    values = table["value"].to_numpy(float)
    low, high = table["ci_low"].to_numpy(float), table["ci_high"].to_numpy(float)
    if bars_at is not None:
        axes.vlines(np.asarray(x, dtype=float) + bars_at, low, high, color=colour, linewidth=0.6, alpha=0.8)
    elif len(values) == 1:  # a band needs two points
        axes.errorbar(x, values, yerr=[values - low, high - values], color=colour, capsize=2, linewidth=0, elinewidth=1)
    elif band:
        axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(x, values, f"{mark[0]}--" if dashed else mark, color=colour, label=label, clip_on=False, zorder=3)


def bars_at(number: int, count: int, x: Any) -> float | None:
    """Return how far beside its values the bars of line ``number`` of ``count`` stand; None where bands can be told apart."""
    if count <= MOST_BANDS:
        return None
    distance = float(np.diff(x).min()) if len(x) > 1 else 1.0
    return ((number + 0.5) / count - 0.5) * 0.7 * distance


def band_text(rows: pd.DataFrame, *, count: int = 1) -> str:
    """Return what the bands (or bars) of a panel with so many lines are, for its title; nothing where no row has an interval."""
    drawn = rows[rows["ci_low"].notna()]
    what = "band" if count <= MOST_BANDS else "bars"
    return f"; {what}: 95 % by {drawn['unit'].iloc[0]}" if len(drawn) else ""


def legend_below(figure: Figure, axes: Axes, **options: Any) -> None:
    """Put the legend of ``axes`` under the panels, in as many columns as the figure is wide enough for."""
    handles, labels = axes.get_legend_handles_labels()
    if not labels:
        return
    width_mm = figure.get_figwidth() / MM
    most = int((width_mm - 10) / CHARACTER_MM)  # 10 mm for the handle and the gap
    labels = [label if len(label) <= most else f"{label[: most - 1]}…" for label in labels]
    columns = max(1, int(width_mm // (CHARACTER_MM * max(map(len, labels)) + 10)))
    rows = -(-len(labels) // columns)
    figure.legend(handles, labels, loc="outside lower center", ncols=-(-len(labels) // rows), **options)


def panel_grid(count: int, *, across: int) -> tuple[int, int]:
    """Return rows and columns for ``count`` panels, at most ``across`` side by side."""
    columns = min(count, across)
    return -(-count // columns), columns
