"""Above how many images of a data set an analysis takes a sample of them, so that its memory is bounded whatever n."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from featurespace.tables.data_schemas import SAMPLING
from featurespace.tables.schema import validate
from featurespace.tables.stores import Stores

AT_MOST = {
    "influence": ("similarity", 20_000, "the images that drive CKA, its convergence and scale"),
    "measures": ("similarity", 5_000, "similarities beside CKA"),
    "probe": ("probe", 20_000, "probes"),
    "gap": ("gap", 4_000, "MMD² and further distances"),
    "frechet": ("gap", 20_000, "Fréchet distances"),
    "embedding": ("embedding", 20_000, "the embedding"),
    "geometry": ("geometry", 20_000, "properties of single layers"),
}
"""What is computed from a sample -> the analysis it belongs to, the most images, and what it is called.

They hold all pairs of images, or neighbours, or copies of the features. CKA of all layer pairs and the weights take all images.
"""


BYTES = 1 << 31
"""Memory that the features of a sample in one layer take in float64: of very wide layers fewer images are taken."""
LEAST = 1000


def _most(stores: Stores, what: str) -> int:
    widest = max(max(stores.widths(model).values()) for model in stores.models)
    return min(AT_MOST[what][1], max(LEAST, BYTES // (8 * widest)))


def sampled(stores: Stores, what: str, *, seed: int) -> Stores:
    """Return the stores with at most as many images of each data set as ``what`` takes; the same for every model."""
    return stores.at_most(_most(stores, what), seed=seed)


def sampling_table(stores: Stores, analyses: Sequence[str]) -> pd.DataFrame:
    """Return one row for each data set and what is computed from a sample of its images; no row where all are taken."""
    rows = [
        {"analysis": analysis, "what": what, "about": about, "data": data, "n": _most(stores, what),
         "n_total": len(stores.samples(data))}
        for what, (analysis, _, about) in AT_MOST.items()
        if analysis in analyses and stores.kept and (analysis != "gap" or len(stores.data) > 1)
        for data in stores.data if len(stores.samples(data)) > _most(stores, what)
    ]  # fmt: skip
    return validate(rows, SAMPLING)
