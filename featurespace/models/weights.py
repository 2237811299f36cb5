"""The weights of a network's convolutions and linear layers, by name."""

from __future__ import annotations

from torch import Tensor, nn

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
"""Those with weights (out, in, ...); transposed convolutions have theirs the other way round and are left out."""


def layer_weights(network: nn.Module) -> dict[str, Tensor]:
    """Return the weights (out, in, ...) of every convolution and linear layer, in the order of the network's modules.

    Named by the module's path; the joint projection of torch's own attention by its parameter (``attn.in_proj_weight``).
    Weights are as they are stored: what a layer does to them in its forward pass (weight standardisation) is not done.
    """
    found: dict[str, Tensor] = {}
    for name, module in network.named_modules():
        if isinstance(module, LAYERS):
            found[name] = module.weight
        elif isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
            found[f"{name}.in_proj_weight"] = module.in_proj_weight
    return {name: value.detach() for name, value in found.items()}
