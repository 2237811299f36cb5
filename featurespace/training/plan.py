"""What a training will take, told before it starts: steps, time, and the memory of a device."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch

from featurespace.device import resolve_device
from featurespace.training.batches import Batch, Batches
from featurespace.training.module import TrainingModule
from featurespace.training.settings import TrainingConfig

TRIED = 2  # images whose activations are measured
TIMED, REPEATS = 32, 2  # images of a timed step, after one that is not
STATES = {"adamw": 2, "sgd": 1, "lars": 1}  # numbers the optimizer keeps for each weight


@dataclass(frozen=True)
class TrainingPlan:
    """Sizes of a training; memory in bytes, of one device, without what the library itself takes.

    ``seconds`` are those of its forward and backward passes, by a step that was timed: without reading images and testing.
    """

    images: int
    steps: int
    epochs: int
    parameters: int
    decoded_bytes: int
    kept: str
    weights_bytes: int
    activations_bytes: int
    seconds: float


def plan_training(module: TrainingModule, batches: Batches, config: TrainingConfig) -> TrainingPlan:
    """Return the sizes; activations are those that two images leave for the backward pass, scaled to a device's part."""
    pixels, batch = batches.pixels, _batch(batches, TRIED)
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
    images = batches.order.steps * config.batch_size * config.epochs
    return TrainingPlan(
        images=sum(batches.order.sizes), steps=batches.order.steps, epochs=config.epochs, parameters=count,
        decoded_bytes=len(pixels) * int(np.prod(pixels.shape)) * pixels.dtype.itemsize, kept=pixels.kept,
        weights_bytes=4 * count * (2 + STATES[config.optimizer]),
        activations_bytes=sum(kept.values()) * part // TRIED // half,
        seconds=_seconds_an_image(module, _batch(batches, min(part, TIMED)), config) * images / config.devices / config.nodes,
    )  # fmt: skip


def _batch(batches: Batches, size: int) -> Batch:
    rows = np.arange(size) % len(batches.pixels)
    images = torch.from_numpy(batches.pixels.fetch(rows)).permute(0, 3, 1, 2)
    return Batch(images, batches.target(rows).clamp(min=0), rows, 0, size, slice(0, size))


def _seconds_an_image(module: TrainingModule, batch: Batch, config: TrainingConfig) -> float:
    """Return the time of an image in a forward and backward pass, the shortest of two."""
    device = resolve_device(config.device)
    module.to(device)
    batch = batch._replace(pixels=batch.pixels.to(device), targets=batch.targets.to(device))
    precision = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[config.precision]
    took = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        with torch.random.fork_rng(), torch.autocast(device.type, dtype=precision, enabled=config.precision != "fp32"):
            module.loss(batch, np.random.default_rng(0)).backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        took.append(time.perf_counter() - start)
    return min(took[1:]) / batch.whole
