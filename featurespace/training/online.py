"""A look at the embedding while pretraining goes on: kNN accuracy where there are labels, and effective rank."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from featurespace import seeding
from featurespace.data.splits import stratified_rows, train_test_rows
from featurespace.errors import FeaturespaceError
from featurespace.metrics import effective_rank, knn_probe
from featurespace.training import augment
from featurespace.training.method import PretrainingMethod
from featurespace.training.pixels import Pixels

BANK, QUERIES, NEIGHBOURS = 4000, 1000, 20  # images at most
CHUNK = 256


class Online:
    """Scores of the embedding of a fixed choice of the training images of the first data set.

    kNN asks images of some groups for the labels of images of other groups. The network has seen both, without labels
    unless its method is given them: the accuracy tells whether the training gets on, and is no test result.

    Attributes
    ----------
    metrics : names of what `scores` returns
    """

    def __init__(self, pixels: Pixels, *, seed: int):
        data = pixels.data[0]
        rng = seeding.child(seed, "online", data.name)
        self.pixels, self.labels = pixels, None
        try:
            train, test, _ = train_test_rows(data.samples.assign(split=pd.NA), rng=rng)
            both = np.unique(data.samples["label"].iloc[train]).size > 1
        except FeaturespaceError:  # no labels, or too few
            both = False
        if both:
            labels = data.samples["label"].to_numpy(object)
            train = train[stratified_rows(data.samples.iloc[train].reset_index(drop=True), BANK, rng=rng)]
            test = test[stratified_rows(data.samples.iloc[test].reset_index(drop=True), QUERIES, rng=rng)]
            self.labels = labels[train].astype(str), labels[test].astype(str)
        else:
            train, test = np.empty(0, int), np.sort(rng.permutation(len(data))[:QUERIES])
        self.train, self.test = train, test

    def scores(self, module: PretrainingMethod) -> dict[str, float]:
        """Return effective rank and, where there are labels, kNN accuracy of the module's features in eval mode.

        Neither is defined where an embedding has collapsed to zero, whose rank and direction are those of nothing.
        """
        features = _features(module, self.pixels, np.concatenate([self.train, self.test]))
        bank, queries = np.split(features, [len(self.train)])
        found = {"effective_rank": effective_rank(queries)} if queries.any() else {}
        if self.labels is not None and features.any(axis=1).all():
            predictions = knn_probe(bank, self.labels[0], queries, k=min(NEIGHBOURS, len(bank))).predictions
            found["knn_accuracy"] = float((predictions == self.labels[1]).mean())
        return found


def _features(module: PretrainingMethod, pixels: Pixels, rows: Sequence[int] | np.ndarray) -> np.ndarray:
    size, training = module.form.input_size[1], module.training
    module.eval()
    found = []
    with torch.no_grad():
        for start in range(0, len(rows), CHUNK):
            images = torch.from_numpy(pixels.fetch(np.asarray(rows[start : start + CHUNK]))).permute(0, 3, 1, 2)
            images = images.to(module.device).float() / 255
            crops = augment.whole(len(images))
            found.append(module.embed(module.normalised(augment.crop(images, crops, size))).float().cpu().numpy())
    module.train(training)
    return np.concatenate(found)
