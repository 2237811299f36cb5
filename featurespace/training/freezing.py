"""The first layers of a network held as they are while the rest is trained."""

from __future__ import annotations

import torch
from torch import nn

from featurespace.errors import unknown
from featurespace.models.load import Model
from featurespace.models.trace import trace_layers


def modules_up_to(start: Model, layer: str) -> list[str]:
    """Return the modules that have finished when a layer gives its output; their parameters are what comes before it.

    Raises FeaturespaceError for a layer that the network has not.
    """
    example = torch.zeros(2, *start.preprocessing.input_size)
    names = [call.name for call in trace_layers(start.network, example)]
    if layer not in names or not layer:
        hint = f"`featurespace inspect {start.arch}` lists them"
        raise unknown("layer", layer, dict.fromkeys(filter(None, names)), where=start.arch, hint=hint)
    last = len(names) - 1 - names[::-1].index(layer)
    return list(dict.fromkeys(names[: last + 1]))


def freeze(network: nn.Module, modules: list[str]) -> list[nn.Module]:
    """Let the parameters of modules keep their values, and those that the network itself owns; return the modules.

    What a network owns directly stands at its input: class token and position embedding.
    """
    frozen = [network.get_submodule(name) for name in modules]
    for module in frozen:
        module.requires_grad_(False)
    for parameter in network.parameters(recurse=False):
        parameter.requires_grad_(False)
    return frozen
