"""Optimizers and learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from featurespace.errors import needs_extra
from featurespace.training.settings import TrainingConfig

# lightly's LARS scales the rate of a group only where it has weight decay; this much changes no weight.
NO_DECAY = 1e-30


def parameter_groups(named: Iterable[tuple[str, nn.Parameter]], weight_decay: float) -> list[dict[str, Any]]:
    """Return two groups: biases, norms and other vectors have no weight decay and, in LARS, no scaling of the rate."""
    trained = [(name, each) for name, each in named if each.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [each for _, each in trained if each.ndim > 1], "weight_decay": weight_decay},
        {"params": [each for _, each in trained if each.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def build_optimizer(groups: list[dict[str, Any]], config: TrainingConfig) -> torch.optim.Optimizer:
    """Return the optimizer; a group with ``lr_scale`` has that share of the learning rate."""
    rate = config.peak_learning_rate
    groups = [group | {"lr": rate * group.get("lr_scale", 1.0)} for group in groups]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=rate, betas=config.betas)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=config.momentum)
    try:
        from lightly.utils.lars import LARS
    except ImportError as error:
        raise needs_extra("optimizer lars", "lightly", "train") from error
    for group in groups:
        if any(each.ndim > 1 for each in group["params"]):
            group["weight_decay"] = group["weight_decay"] or NO_DECAY
    return LARS(groups, lr=rate, momentum=config.momentum)


def schedule(config: TrainingConfig, steps: int) -> Callable[[int], float]:
    """Return the factor of the learning rate at each step, ``steps`` of them an epoch."""
    warm, total = round(config.warmup_epochs * steps), config.epochs * steps

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        if config.schedule == "cosine":
            return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))
        return config.decay ** ((step - warm) // steps) if config.schedule == "exponential" else 1.0

    return factor
