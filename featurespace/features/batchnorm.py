"""BatchNorm statistics of an untrained network, estimated on the data.

An untrained network in eval mode has BatchNorm at its initial statistics and its features collapse; a control made
so would say nothing about the architecture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from featurespace.errors import FeaturespaceError, counted
from featurespace.features.extract import input_batches
from featurespace.models.load import state_hash

if TYPE_CHECKING:
    from featurespace.data.dataset import ImageData
    from featurespace.models.load import Model

IMAGES_PER_DATA_SET = 512
BATCH = 64


def estimate_batchnorm(model: Model, data: Sequence[ImageData], *, rng: np.random.Generator) -> Model:
    """Return ``model`` with BatchNorm statistics averaged over up to 512 images of each data set.

    The images of all data sets are mixed in every batch, so that one network serves all of them. A model without
    BatchNorm is returned as it is; raises FeaturespaceError where less than two images can be read. Cost: one forward
    pass over those images.
    """
    norms = [
        module for module in model.network.modules() if isinstance(module, _BatchNorm) and module.track_running_stats
    ]
    if not norms:
        return model
    inputs = np.concatenate([_inputs(model, each, rng=rng) for each in data])
    if len(inputs) < 2:
        raise FeaturespaceError(f"BatchNorm statistics cannot be estimated on {counted(len(inputs), 'image')}")
    inputs = inputs[rng.permutation(len(inputs))]
    device = next(model.network.parameters()).device
    momentum = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over the batches
        norm.train()
    with torch.no_grad():
        for start in range(0, len(inputs), BATCH):
            batch = inputs[start : start + BATCH]
            if len(batch) > 1:
                model.network(torch.from_numpy(batch).to(device, memory_format=torch.channels_last))
    for norm, value in zip(norms, momentum, strict=True):
        norm.momentum = value
        norm.eval()
    return replace(
        model,
        weights_hash=state_hash(model.network.state_dict()),
        source=f"{model.source}, BatchNorm statistics from the data",
    )


def _inputs(model: Model, data: ImageData, *, rng: np.random.Generator) -> np.ndarray:
    rows = np.sort(rng.permutation(len(data))[:IMAGES_PER_DATA_SET])
    batches = input_batches(data.subset(rows), model.preprocessing, batch_size=BATCH, on_bad_image="skip")
    kept = [np.delete(inputs, [int(row - rows_[0]) for row in bad], axis=0) for rows_, inputs, bad in batches]
    return np.concatenate(kept)
