"""What the networks of a run see of its images: figures, and thumbnails for the report."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from featurespace.errors import FeaturespaceError, counted
from featurespace.files import safe_name
from featurespace.plots.style import shortened_name

if TYPE_CHECKING:
    from featurespace.data.dataset import ImageData
    from featurespace.inputs import Inputs
    from featurespace.run import Run

SHOWN = 8  # slices of a data set, evenly spread over its rows
TITLE_CHARACTERS = 30  # above a panel
SIDE = 48  # pixels of a thumbnail
QUALITY = 60  # of WebP, half as large as JPEG at this size


def draw_inputs(run: Run, inputs: Inputs) -> list[str]:
    """Write a figure a data set, of images as the first network sees them; return the figures' names."""
    from featurespace.data.slices import Volumes
    from featurespace.data.transforms import network_pixels
    from featurespace.plots.volumes import network_inputs

    names = []
    for data in inputs.images if inputs.networks else ():
        form, images, titles, shown = inputs.networks[0].preprocessing, [], [], []
        for row in np.unique(np.linspace(0, len(data) - 1, SHOWN).round().astype(int)).tolist():
            try:
                images.append(network_pixels(data.image(row), form))
            except FeaturespaceError:  # extraction has named it
                continue
            titles.append(_title(data, row))
            shown.append(row)
        if images:
            names.append(f"inputs_{safe_name(data.name)}")
            how = f" ({data.images.told()})" if isinstance(data.images, Volumes) else ""
            title = f"{data.name} as {inputs.networks[0].label} sees it{how}"
            rows = data.samples.iloc[shown].drop(columns="path").rename(columns={"id": "sample"})
            caption = (
                f"{title}, but for the normalisation: {len(shown)} of {counted(len(data), 'image')}, evenly spread."
            )
            run.write_figure(names[-1], network_inputs(images, titles, title=title), rows, caption)
    return names


def _title(data: ImageData, row: int) -> str:
    """Return the end of an image's id, and below it its label."""
    name, label = str(data.samples["id"].iat[row]), data.samples["label"].iat[row]
    name = name if len(name) <= TITLE_CHARACTERS else f"…{name[1 - TITLE_CHARACTERS :]}"
    return name if pd.isna(label) else f"{name}\n{shortened_name(str(label))}"


def write_thumbnails(run: Run, inputs: Inputs, *, pictures: bool) -> None:
    """Write the table of the images in the aligned pictures, with all that is known of them and a small picture if wanted."""
    if "aligned_embedding" not in run.tables:
        return
    shown = run.tables["aligned_embedding"][["data", "sample"]].drop_duplicates()
    frames = []
    for data in inputs.images:
        rows = np.flatnonzero(data.samples["id"].isin(shown.loc[shown["data"] == data.name, "sample"]))
        samples = data.samples.iloc[rows].drop(columns=["path"]).rename(columns={"id": "sample"})
        thumbnails = [_thumbnail(data, int(row)) if pictures else None for row in rows]
        errors = _errors(run, data.name, samples["sample"])
        frames.append(samples.assign(data=data.name, thumbnail=thumbnails, **errors))
    table = pd.concat(frames, ignore_index=True)
    run.write_table("images", table)


def _errors(run: Run, data: str, ids: pd.Series) -> dict[str, pd.Series]:
    """Return, for each model, whether the linear probe on its last layer is right about images; missing where it was not asked."""
    if "probe_answers" not in run.tables:
        return {}
    answers = run.tables["probe_answers"]
    answers = answers[answers["data"] == data]
    return {
        f"probe of {model}": ids.map(rows.set_index("sample")["correct"].map({True: "right", False: "wrong"}))
        for model, rows in answers.groupby("model", sort=False)
    }


def _thumbnail(data: ImageData, row: int) -> str | None:
    """Return the centre of an image as base64 of a small WebP file, None where it cannot be read."""
    from PIL import Image

    from featurespace.data.transforms import resize_and_crop, to_unit_range

    try:
        unit = to_unit_range(resize_and_crop(data.image(row), SIDE, SIDE), channels=3)
    except FeaturespaceError:  # the features may come from a table
        return None
    pixels = (unit.clip(0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0)
    grey = bool((pixels == pixels[..., :1]).all())
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if grey else pixels).save(buffer, "WEBP", quality=QUALITY, method=6)
    return base64.b64encode(buffer.getvalue()).decode()
