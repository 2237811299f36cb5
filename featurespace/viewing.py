"""Figures of what the networks of a run see of its volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from featurespace.errors import FeaturespaceError
from featurespace.files import safe_name

if TYPE_CHECKING:
    from featurespace.inputs import Inputs
    from featurespace.run import Run

SHOWN = 8  # slices of a data set, evenly spread over its rows


def draw_inputs(run: Run, inputs: Inputs) -> list[str]:
    """Write a figure a data set of volumes, of slices as the first network sees them; return the figures' names."""
    from featurespace.data.slices import Volumes
    from featurespace.data.transforms import network_pixels
    from featurespace.plots.volumes import network_inputs

    names = []
    for data in inputs.images if inputs.networks else ():
        if not isinstance(data.images, Volumes):
            continue
        form, images, titles = inputs.networks[0].preprocessing, [], []
        for row in np.unique(np.linspace(0, len(data) - 1, SHOWN).round().astype(int)).tolist():
            try:
                images.append(network_pixels(data.image(row), form))
            except FeaturespaceError:  # extraction has named it
                continue
            titles.append(str(data.samples["id"].iat[row]))
        if images:
            names.append(f"inputs_{safe_name(data.name)}")
            title = f"{data.name} as {inputs.networks[0].label} sees it ({data.images.told()})"
            run.write_figure(names[-1], network_inputs(images, titles, title=title))
    return names
