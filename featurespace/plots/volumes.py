"""What a network sees of volumes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from featurespace.plots.style import PAGE_MM, new_figure, panel_grid, styled

ACROSS = 4


@styled
def network_inputs(images: Sequence[np.ndarray], names: Sequence[str], *, title: str) -> Figure:
    """Draw images as a network sees them but for its normalisation.

    Parameters
    ----------
    images : each (height, width, channels), about 0..255; one channel is drawn grey, three as red, green and blue
    names : what stands above each
    title : what stands above all
    """
    down, across = panel_grid(len(images), across=ACROSS)
    figure = new_figure(PAGE_MM, 8 + down * (PAGE_MM / ACROSS + 4))
    panels = figure.subplots(down, across, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for axes, image, name in zip(panels.flat, images, names):
        shown = image[..., 0] if image.shape[-1] == 1 else image.clip(0, 255) / 255.0  # bicubic resizing overshoots
        axes.imshow(shown, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set_title(name, fontsize=6)
    figure.suptitle(title, fontsize=8, x=0.01, ha="left")
    return figure
