"""How many images and groups each class of each split has."""

from __future__ import annotations

import pandas as pd

from featurespace.tables.data_schemas import CLASSES
from featurespace.tables.schema import validate
from featurespace.tables.stores import Stores


def classes_table(stores: Stores) -> pd.DataFrame:
    """Return one row a data set, label and split, both "" where images have none; groups are missing where none are known."""
    frames = []
    for data in stores.data:
        samples = stores.samples(data)
        keys = [samples["label"].fillna(""), samples["split"].fillna("")]
        counts = samples["group"].groupby(keys).agg(images="size", groups="nunique").reset_index()
        known = samples["group"].notna().any()
        frames.append(counts.assign(data=data, groups=counts["groups"] if known else pd.NA))
    return validate(pd.concat(frames, ignore_index=True), CLASSES)
