"""One picture of all data sets a model, laid out so that an image can be followed from model to model."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from featurespace import seeding
from featurespace.data.splits import stratified_rows
from featurespace.metrics.embedding import exact_neighbours, turned_onto, umap_embedding
from featurespace.metrics.embedding_quality import trustworthiness
from featurespace.progress import Progress
from featurespace.tables.memo import Result
from featurespace.tables.stores import Stores

METHOD = "aligned_umap"
ALL_DATA = "all"  # in the column `data` of the quality of a picture
MOST = 2000  # images in a picture
NEIGHBOURS = 15
NEAREST = 8  # neighbours in the table
TRUST_K = 10
MIN_SAMPLES = 16


def aligned_tables(stores: Stores, *, seed: int, progress: Progress) -> dict[str, list[Any]]:
    """Return the parts of the tables of aligned pictures: ``points`` and ``neighbours`` (frames), ``quality`` (rows).

    The same images for every model, at most 2,000, the same number of each data set where it has them, stratified by
    label and split. The layout of the first model starts as UMAP does, each later one from the layout of the first, and is
    then moved, turned, mirrored and scaled as a whole onto it, which changes no ratio of distances.

    On 1,000 photographs and MRI patches, an ImageNet network against one of random weights and an untrained copy: a start
    from the first layout gave trustworthiness 0.941 and 0.649 (own start 0.941 and 0.652) and left images as far from their
    places as an own start did (0.74 and 0.80 of the radius). `umap.AlignedUMAP` gave 0.937 and 0.644, and distances of 0.63 and
    0.82: no clear gain, so the simpler way was kept.
    """
    chosen = {name: _rows(stores.samples(name), len(stores.data), seed) for name in stores.data}
    found: dict[str, list[Any]] = {"points": [], "quality": [], "neighbours": []}
    images = pd.concat(
        [stores.samples(name).iloc[rows][["id", "label"]].assign(data=name) for name, rows in chosen.items()],
        ignore_index=True,
    ).rename(columns={"id": "sample"})
    if len(images) < MIN_SAMPLES:
        return found
    first: tuple[dict[str, Any], np.ndarray] | None = None
    for model in stores.models:
        layer = stores.layers(model)[-1]
        contents = [stores.content(model, name, [layer]) for name in stores.data]
        made_from = {"contents": contents, "seed": seed, "onto": first[0] if first else None}
        make = partial(_picture, stores, model, chosen, seed=seed, onto=first[1] if first else None)
        try:
            result = stores.memo.recall("embedding", made_from, make)
        except ValueError as error:
            progress.say(f"no aligned embedding by {model!r}: {error}")
            continue
        first = first or (made_from, result.arrays["points"])
        x, y = result.arrays["points"].T
        found["points"].append(images.assign(model=model, layer=layer, x=x, y=y))
        found["quality"] += [{**row, "model": model, "layer": layer} for row in result.rows]
        found["neighbours"].append(_neighbours(images, result).assign(model=model, layer=layer))
    return found


def _rows(samples: pd.DataFrame, sets: int, seed: int) -> np.ndarray:
    limit = MOST // sets
    if len(samples) <= limit:
        return np.arange(len(samples))
    return stratified_rows(samples, limit, rng=seeding.child(seed, "aligned"))


def _picture(
    stores: Stores, model: str, chosen: dict[str, np.ndarray], *, seed: int, onto: np.ndarray | None
) -> Result:
    layer = stores.layers(model)[-1]
    X = np.concatenate([np.asarray(stores.features(model, name, layer))[rows] for name, rows in chosen.items()])
    if np.ptp(X, axis=0).max() <= 1e-5 * np.abs(X).max():
        raise ValueError("all images have the same features")
    E = umap_embedding(X, seed=seeding.child_seed(seed, "umap", "aligned"), n_neighbors=NEIGHBOURS, start=onto)
    points = np.asarray(E, float) if onto is None else turned_onto(E, onto)
    indices, distances = exact_neighbours(X, k=NEAREST + 1)
    k = min(TRUST_K, (len(X) - 1) // 2)
    quality = {"method": METHOD, "data": ALL_DATA, "metric": "trustworthiness", "value": trustworthiness(X, E, k=k),
               "n": len(X), "hyperparameter": f"k={k}"}  # fmt: skip
    return Result([quality], {"points": points, "indices": indices[:, 1:], "distances": distances[:, 1:]})


def _neighbours(images: pd.DataFrame, result: Result) -> pd.DataFrame:
    indices, distances = result.arrays["indices"], result.arrays["distances"]
    of = np.repeat(np.arange(len(images)), indices.shape[1])
    near = images.iloc[indices.ravel()].reset_index(drop=True)
    return (
        images[["data", "sample"]]
        .iloc[of]
        .reset_index(drop=True)
        .assign(
            rank=np.tile(np.arange(1, indices.shape[1] + 1), len(images)),
            neighbour_data=near["data"], neighbour=near["sample"], distance=distances.ravel(),
        )
    )  # fmt: skip
