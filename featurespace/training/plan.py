"""What a training will take, told before it starts: steps, and the memory of a device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from featurespace.training.batches import Batch, Batches
from featurespace.training.module import TrainingModule
from featurespace.training.settings import TrainingConfig

TRIED = 2  # images whose activations are measured
STATES = {"adamw": 2, "sgd": 1, "lars": 1}  # numbers the optimizer keeps for each weight


@dataclass(frozen=True)
class TrainingPlan:
    """Sizes of a training; memory in bytes, of one device, without what the library itself takes."""

    images: int
    steps: int
    epochs: int
    parameters: int
    decoded_bytes: int
    kept: str
    weights_bytes: int
    activations_bytes: int


def plan_training(module: TrainingModule, batches: Batches, config: TrainingConfig) -> TrainingPlan:
    """Return the sizes; activations are those that two images leave for the backward pass, scaled to a device's part."""
    pixels = batches.pixels
    rows = np.arange(TRIED) % len(pixels)
    images = torch.from_numpy(pixels.fetch(rows)).permute(0, 3, 1, 2)
    batch = Batch(images, batches.target(rows).clamp(min=0), rows, 0, TRIED, slice(0, TRIED))
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.random.fork_rng(devices=[]), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        module.loss(batch, np.random.default_rng(0))
    trained = [each for each in module.parameters() if each.requires_grad]
    for each in module.parameters():
        kept.pop(each.untyped_storage().data_ptr(), None)
    part = config.batch_size // (config.accumulate * config.devices * config.nodes)
    half = 1 if config.precision == "fp32" else 2
    count = sum(each.numel() for each in trained)
    return TrainingPlan(
        images=sum(batches.order.sizes), steps=batches.order.steps, epochs=config.epochs, parameters=count,
        decoded_bytes=len(pixels) * int(np.prod(pixels.shape)) * pixels.dtype.itemsize, kept=pixels.kept,
        weights_bytes=4 * count * (2 + STATES[config.optimizer]),
        activations_bytes=sum(kept.values()) * part // TRIED // half,
    )  # fmt: skip
