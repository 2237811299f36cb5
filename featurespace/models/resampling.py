"""Position embeddings of another image size, resampled to the one that a network is built for."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn


def resampled(network: nn.Module, name: str, value: Tensor, target: Tensor) -> Tensor | None:
    """Return a position embedding or a table of relative positions in the target's shape, or None for anything else.

    By the functions that timm uses for its own weights: bicubic, antialiased.
    """
    if name.endswith(("pos_embed", "pos_embedding")):
        return _absolute(network, value, target)
    if name.endswith("relative_position_bias_table"):
        return _relative(network, name, value, target)
    return None


def _absolute(network: Any, value: Tensor, target: Tensor) -> Tensor | None:
    from timm.layers import resample_abs_pos_embed

    value = value[None] if value.ndim == 2 else value
    if value.ndim != 3 or target.ndim != 3 or value.shape[-1] != target.shape[-1]:
        return None
    if hasattr(network, "patch_embed"):
        grid = getattr(network.patch_embed, "grid_size", None)
        prefix = 0 if getattr(network, "no_embed_class", False) else getattr(network, "num_prefix_tokens", 1)
    else:  # torchvision
        side = getattr(network, "image_size", 0) // getattr(network, "patch_size", 1)
        grid, prefix = (side, side), 1
    old = math.isqrt(max(value.shape[1] - prefix, 0))
    if grid is None or old < 1 or old**2 != value.shape[1] - prefix or grid[0] * grid[1] != target.shape[1] - prefix:
        return None
    return resample_abs_pos_embed(value.float(), new_size=list(grid), old_size=[old, old], num_prefix_tokens=prefix)


def _relative(network: nn.Module, name: str, value: Tensor, target: Tensor) -> Tensor | None:
    from timm.layers import resize_rel_pos_bias_table

    window = getattr(network.get_submodule(name.rpartition(".")[0]), "window_size", None)
    sides = math.isqrt(value.shape[0])
    if window is None or value.ndim != 2 or value.shape[1] != target.shape[1] or sides**2 != value.shape[0]:
        return None
    return resize_rel_pos_bias_table(value.float(), tuple(window), tuple(target.shape))
