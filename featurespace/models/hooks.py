"""Features out of a running network: pooled or copied inside the hook, before anything can overwrite them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from featurespace.errors import FeaturespaceError
from featurespace.models.layers import Layer
from featurespace.models.trace import first_tensor, network_name

POOLS = ("avg", "cls", "none")


@dataclass
class Captured:
    """``features`` maps layer names to (batch, d) float32 tensors of the last forward pass."""

    features: dict[str, Tensor] = field(default_factory=dict)


@contextmanager
def capture(network: nn.Module, layers: Sequence[Layer], *, pool: str = "avg") -> Iterator[Captured]:
    """Fill ``features`` at every forward pass inside the ``with`` block.

    Parameters
    ----------
    network, layers : from ``select_layers``
    pool : ``avg``, the mean over space, or over patch tokens without the prefix tokens; ``cls``, the class
        token; ``none``, everything, flattened. Vectors (``pooled``) are copied as they are

    Notes
    -----
    Means accumulate in float32 also under bfloat16 autocast. Residual networks add and rectify in place, so a
    kept reference to an activation would show a later layer's values.
    """
    check_pool(network, layers, pool)
    captured = Captured()
    counts: Counter[str] = Counter()
    wanted: dict[str, dict[int, Layer]] = {}
    for layer in layers:
        wanted.setdefault(layer.module, {})[layer.call] = layer

    def begin(module: nn.Module, inputs: Any) -> None:
        counts.clear()
        captured.features = {}

    def finish(module: nn.Module, inputs: Any, output: Any) -> None:
        absent = [layer.name for layer in layers if layer.name not in captured.features]
        if absent:
            raise FeaturespaceError(
                f"layers {', '.join(absent)} of {network_name(network)} did not run in this forward pass, though "
                "they did for the example they were selected with; select them again with images like these"
            )
        captured.features = {layer.name: captured.features[layer.name] for layer in layers}

    handles = [network.register_forward_pre_hook(begin)]
    for path, calls in wanted.items():
        hook = _hook(path, calls, counts, captured, pool)
        handles.append(network.get_submodule(path).register_forward_hook(hook))
    handles.append(network.register_forward_hook(finish))
    try:
        yield captured
    finally:
        for handle in handles:
            handle.remove()


def pooled(output: Tensor, layer: Layer, pool: str) -> Tensor:
    """Return a feature as a new (batch, d) float32 tensor that shares no memory with ``output``."""
    output = output.detach()
    if pool == "none" or layer.kind == "vector":
        return output.flatten(1).to(torch.float32, copy=True).contiguous()
    if pool == "cls":
        return output[:, 0].to(torch.float32, copy=True)
    if layer.kind == "tokens":
        return output[:, layer.num_prefix_tokens :].mean(dim=1, dtype=torch.float32)
    return output.mean(dim=(2, 3) if layer.kind == "nchw" else (1, 2), dtype=torch.float32)


def _hook(
    path: str, calls: dict[int, Layer], counts: Counter[str], captured: Captured, pool: str
) -> Callable[[nn.Module, Any, Any], None]:
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        layer = calls.get(counts[path])
        counts[path] += 1
        if layer is None:
            return
        tensor = first_tensor(output)
        if tensor is None:
            raise FeaturespaceError(f"layer {layer.name!r} returned no floating tensor; choose another layer")
        captured.features[layer.name] = pooled(tensor, layer, pool)

    return hook


def feature_width(layer: Layer, pool: str) -> int:
    """Return d, the numbers an image has in a layer after `pooled`."""
    if pool == "none" or layer.kind == "vector":
        return math.prod(layer.shape)
    return layer.shape[0] if layer.kind == "nchw" and pool == "avg" else layer.shape[-1]


def check_pool(network: nn.Module, layers: Sequence[Layer], pool: str) -> None:
    """Raise FeaturespaceError where a layer cannot be pooled in this way."""
    if pool not in POOLS:
        raise FeaturespaceError(f"pool {pool!r} is not known; allowed: {', '.join(POOLS)}")
    if not layers:
        raise FeaturespaceError("no layers to capture; select some, e.g. blocks")
    for layer in layers:
        if pool == "cls" and layer.kind != "vector" and not layer.has_class_token:
            raise FeaturespaceError(
                f"pool 'cls' needs a class token, and layer {layer.name!r} of {network_name(network)} has none; "
                f"use pool 'avg', or select layers that have one"
            )
        if pool == "avg" and layer.kind == "other":
            raise FeaturespaceError(
                f"layer {layer.name!r} of {network_name(network)} has features of shape {layer.shape}, in which no "
                "axes of space were recognised; use pool 'none', or the block that holds it"
            )
