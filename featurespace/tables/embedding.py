"""Two-dimensional pictures of the last layer, and how far to trust them."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from featurespace import seeding
from featurespace.errors import counted
from featurespace.metrics.embedding import pca_embedding, umap_embedding
from featurespace.metrics.embedding_quality import trustworthiness
from featurespace.progress import Progress
from featurespace.tables.aligned import MIN_SAMPLES, NEIGHBOURS, TRUST_K, aligned_tables
from featurespace.tables.data_schemas import ALIGNED_EMBEDDING, NEAREST
from featurespace.tables.memo import Result
from featurespace.tables.sampling import sampled
from featurespace.tables.schema import EMBEDDING, EMBEDDING_QUALITY, validate
from featurespace.tables.stores import Stores


def _is_constant(X: np.ndarray) -> bool:
    # Up to the rounding of a float32 forward pass, which batch boundaries alone can cause.
    return bool(np.ptp(X, axis=0).max() <= 1e-5 * np.abs(X).max())


def embedding_tables(stores: Stores, *, seed: int, progress: Progress | None = None) -> dict[str, pd.DataFrame]:
    """Return the tables ``embedding``, ``embedding_quality``, ``aligned_embedding`` and ``neighbours``.

    These are the UMAP and PCA coordinates of every image at the last layer, each data set and model by itself, their
    trustworthiness (k = 10), and pictures of all data sets that are aligned over the models, see `aligned_tables`.
    UMAP starts from exact neighbours and repeats bit for bit from the seed. A data set with fewer than 16 images has
    no UMAP, and the progress says so.
    """
    progress = progress or Progress()
    stores = sampled(stores, "embedding", seed=seed)
    points: list[pd.DataFrame] = []
    quality: list[dict] = []
    aligned = aligned_tables(stores, seed=seed, progress=progress)
    jobs = [(model, data) for data in stores.data for model in stores.models]
    with progress.bar("embedding", len(jobs), "pictures") as advance:
        for model, data in jobs:
            layer = stores.layers(model)[-1]
            X = np.asarray(stores.features(model, data, layer))
            if len(X) < MIN_SAMPLES:
                progress.say(
                    f"no embedding of {data!r}: it has {counted(len(X), 'image')}, at least {MIN_SAMPLES} are needed"
                )
                continue
            if _is_constant(X):
                progress.say(f"no embedding of {data!r} by {model!r}: all images have the same features")
                continue
            made_from = {**stores.content(model, data, [layer]), "seed": seed}
            make = partial(_pictures, X, seed=seeding.child_seed(seed, "umap", model, data))
            try:
                result = stores.memo.recall("embedding", made_from, make)
            except ValueError as error:
                progress.say(f"no embedding of {data!r} by {model!r}: {error}")
                continue
            samples = stores.samples(data)
            for row in result.rows:
                key = {"method": row["method"], "model": model, "layer": layer, "data": data}
                x, y = result.arrays[row["method"]].T
                points.append(pd.DataFrame({**key, "sample": samples["id"], "label": samples["label"], "x": x, "y": y}))
                quality.append({**row, **key})
            advance(1)
    return {
        "embedding": validate(_together(points), EMBEDDING),
        "embedding_quality": validate([*quality, *aligned["quality"]], EMBEDDING_QUALITY),
        "aligned_embedding": validate(_together(aligned["points"]), ALIGNED_EMBEDDING),
        "neighbours": validate(_together(aligned["neighbours"]), NEAREST),
    }


def _together(frames: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _pictures(X: np.ndarray, *, seed: int) -> Result:
    coordinates = {"umap": umap_embedding(X, seed=seed, n_neighbors=NEIGHBOURS), "pca": pca_embedding(X)}
    k = min(TRUST_K, (len(X) - 1) // 2)
    rows = [
        {"method": method, "metric": "trustworthiness", "value": trustworthiness(X, E, k=k), "n": len(X),
         "hyperparameter": f"k={k}"}
        for method, E in coordinates.items()
    ]  # fmt: skip
    return Result(rows, coordinates)
