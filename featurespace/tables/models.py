"""What the models are: their layers in order, and how their checkpoints matched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from featurespace.tables.schema import LAYERS, MATCH, validate
from featurespace.tables.stores import Stores

if TYPE_CHECKING:
    from featurespace.models.load import Model


def layers_table(stores: Stores, *, steps: Sequence[str] = ()) -> pd.DataFrame:
    """Return one row a layer: its depth (0 is the first), its width, its model's role and the model's control.

    Where models are steps of one training, a column ``step`` tells which.
    """
    rows = [
        {
            "model": model, "layer": layer, "depth": depth, "role": "control" if model in stores.untrained else "model",
            "width": width, "control": stores.controls.get(model),
            "arm": stores.arm_of.get(model),
        }
        for model in stores.models
        for depth, (layer, width) in enumerate(stores.widths(model).items())
    ]  # fmt: skip
    table = validate(rows, LAYERS)
    number = {model: index for index, model in enumerate(steps)}
    return table.assign(step=table["model"].map(number).astype("Int64")) if steps else table


def match_table(models: Iterable[Model]) -> pd.DataFrame:
    """Return one row a tensor of every checkpoint read: matched, missing, unexpected, reshaped, or of the head."""
    rows = [
        {"model": model.label, "tensor": row["target"] or row["source"], **row}
        for model in models
        if model.match is not None
        for row in model.match.to_table()
    ]
    return validate(rows, MATCH)
