"""One forward pass, watched: which modules ran, in what order, and what they returned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from featurespace import memory
from featurespace.errors import FeaturespaceError

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LayerCall:
    """One call of one module.

    ``name`` is the module's path ("" for the network itself), ``call`` counts its calls from 0, ``shapes`` are
    those of all floating tensors in its output; the first of them is what featurespace takes as the feature.
    """

    name: str
    call: int
    class_name: str
    shapes: tuple[Shape, ...]


@dataclass(frozen=True)
class Visit:
    """A call with its first floating output still held (``output``), for telling tensors apart by identity."""

    call: LayerCall
    output: Tensor | None
    version: int


def trace_layers(network: nn.Module, example: Tensor) -> list[LayerCall]:
    """Return every call of every module in order of execution (of finishing: children before parents)."""
    with watch(network) as visits, torch.no_grad():
        run(network, example)
    return [visit.call for visit in visits]


def run(network: nn.Module, example: Tensor) -> Any:
    """Call the network on an example; what goes wrong inside is reported with the input's shape."""
    try:
        return network(example)
    except FeaturespaceError:
        raise
    except Exception as error:  # any layer may object to the input
        if memory.out_of_memory(error):
            raise
        first = (str(error).strip().splitlines() or [""])[0][:200]
        raise FeaturespaceError(
            f"{network_name(network)} cannot process images of shape {tuple(example.shape[1:])} "
            f"({type(error).__name__}: {first}); give the size that `featurespace inspect` shows for it"
        ) from error


@contextmanager
def watch(network: nn.Module) -> Iterator[list[Visit]]:
    """Record every call while the network runs in eval mode; modes are set back afterwards."""
    visits: list[Visit] = []
    counts: Counter[str] = Counter()
    modes = {module: module.training for module in network.modules()}

    def hook_for(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            tensors = list(floating_tensors(output))
            shapes = tuple(tuple(tensor.shape) for tensor in tensors)
            call = LayerCall(name, counts[name], type(module).__name__, shapes)
            counts[name] += 1
            first = tensors[0] if tensors else None
            visits.append(Visit(call, first, first._version if first is not None else 0))

        return hook

    handles = [module.register_forward_hook(hook_for(name)) for name, module in network.named_modules()]
    network.eval()
    try:
        yield visits
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes.items():
            module.training = training


def floating_tensors(output: Any) -> Iterator[Tensor]:
    """Yield the floating tensors in an output, depth first: a tensor, or tuples, lists, dicts, dataclasses of them."""
    if isinstance(output, Tensor):
        if output.is_floating_point():
            yield output
    elif isinstance(output, Mapping):
        for value in output.values():
            yield from floating_tensors(value)
    elif isinstance(output, (tuple, list)):
        for value in output:
            yield from floating_tensors(value)
    elif hasattr(output, "__dataclass_fields__"):
        for name in output.__dataclass_fields__:
            yield from floating_tensors(getattr(output, name))


def first_tensor(output: Any) -> Tensor | None:
    """Return the first floating tensor in an output, or None."""
    return next(floating_tensors(output), None)


def network_name(network: nn.Module) -> str:
    """Return the architecture if timm wrote it into the network, else the name of its class."""
    config = getattr(network, "pretrained_cfg", None) or {}
    return str(config.get("architecture") or type(network).__name__)
