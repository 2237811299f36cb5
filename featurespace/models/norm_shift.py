"""Whether the statistics that BatchNorm layers keep are those of the images at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

SHIFT, RATIO = 1.0, 4.0
"""Statistics are far where the mean is off by more standard deviations than this, or the variance by more than this factor."""


@dataclass(frozen=True)
class NormShift:
    """How far the images at hand lie from the statistics of one BatchNorm layer.

    Parameters
    ----------
    layer : its name
    shift : mean over channels of the difference of the means, in standard deviations that the layer keeps
    ratio : median over channels of the variance of the images over the one that the layer keeps
    """

    layer: str
    shift: float
    ratio: float

    @property
    def far(self) -> bool:
        """Whether features of these images are scaled by statistics that are not theirs."""
        return self.shift > SHIFT or not 1 / RATIO <= self.ratio <= RATIO


def norm_shifts(network: nn.Module, batches: Iterable[Tensor]) -> list[NormShift]:
    """Return the shift of every BatchNorm layer that keeps statistics, in the order of the network; none for others.

    Parameters
    ----------
    network : in eval mode, so that later layers see what they see in use
    batches : (b, c, h, w) inputs; all of them count alike
    """
    layers = {
        name: module for name, module in network.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_var is not None
    }  # fmt: skip
    sums: dict[str, tuple[Tensor, Tensor, int]] = {}

    def hook_for(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            values = inputs[0].double().transpose(0, 1).flatten(1)
            total, squares, count = sums.get(name, (torch.zeros(()), torch.zeros(()), 0))
            sums[name] = total + values.sum(1), squares + values.square().sum(1), count + values.shape[1]

        return hook

    handles = [module.register_forward_pre_hook(hook_for(name)) for name, module in layers.items()]
    try:
        with torch.inference_mode():
            for batch in batches:
                network(batch)
    finally:
        for handle in handles:
            handle.remove()
    return [_shift(name, layers[name], *sums[name]) for name in layers if name in sums]


def _shift(name: str, layer: Any, total: Tensor, squares: Tensor, count: int) -> NormShift:
    mean = total / count
    variance = squares / count - mean.square()
    kept_mean, kept = layer.running_mean.double(), layer.running_var.double() + layer.eps
    shift = float(((mean - kept_mean).abs() / kept.sqrt()).mean())
    return NormShift(name, shift, float((variance / kept).median()))
