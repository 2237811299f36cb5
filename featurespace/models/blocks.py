"""Which modules of a network are its blocks, its stem and its stages, found by structure rather than by name."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from featurespace.errors import FeaturespaceError
from featurespace.models.trace import LayerCall, Visit, network_name, run, watch

_SIDE = re.compile(r"(stem|patch_embed|conv_stem|head|heads|classifier|downsamp|transition|pos_embed|incre)", re.I)
_SIDE_CLASS = re.compile(r"(Downsample|PatchMerging|PatchEmbed|Transition|SqueezeExcit)")


def block_names(network: nn.Module) -> list[str]:
    """Return the paths of all residual, inverted-residual, dense or transformer blocks.

    A block is a child of a container (Sequential, ModuleList, ModuleDict or a class named ...Stage) with
    children and at least one convolution or linear layer, outside the stem, the head and the downsampling
    paths. Where such modules are nested, the inner ones are the blocks if the outer one holds several of one
    class (a stage under another name), else the outer one is.
    """
    modules = dict(network.named_modules())
    candidates = [name for name in modules if name and _is_candidate(name, modules)]
    tops = [name for name in candidates if not _inside(name, candidates)]
    return [name for top in tops for name in _resolve(top, candidates, modules)]


def stem_call(visits: Sequence[Visit], blocks: Sequence[str]) -> LayerCall | None:
    """Return the call of the outermost module that finishes last before the first block starts and contains no block.

    Where that one only passes its input on (Identity, dropout), the module that made the tensor is named.
    """
    first = min((i for i, v in enumerate(visits) if _within(v.call.name, blocks)), default=0)
    before = [v for v in visits[:first] if v.output is not None and v.call.name]
    if not before:
        return None
    last = before[-1]
    same = [v for v in before if v.output is last.output and v.version == last.version]
    name = _outermost(same[0], before, blocks) if same else last.call.name
    return [v.call for v in before if v.call.name == name][-1]


def stage_names(network: nn.Module, example: Tensor) -> list[str]:
    """Return the modules whose outputs are the tensors of timm's ``forward_intermediates``, in its order.

    For networks without that method (torchvision): the last top-level module at each resolution.
    """
    if not hasattr(network, "forward_intermediates"):
        return _by_resolution(network, example)
    with watch(network) as visits, torch.no_grad():
        try:
            tensors = network.forward_intermediates(example, intermediates_only=True)  # type: ignore[operator]
        except Exception as error:
            raise _no_stages(network) from error
    names: list[str] = []
    start = 0
    for tensor in tensors:
        # The same memory before equal values: residual branches that start at zero make equal outputs.
        tests = (_is_same, _is_view, _is_equal)
        found = next((i for test in tests for i in range(start, len(visits)) if test(visits[i], tensor)), None)
        if found is None:
            raise _no_stages(network)
        top = _outermost(visits[found], visits, [])
        start = 1 + max(i for i in range(len(visits)) if visits[i].call.name == top)
        names.append(top)
    return names


def _is_candidate(name: str, modules: dict[str, nn.Module]) -> bool:
    module, parent = modules[name], modules[name.rpartition(".")[0]]
    if not _is_container(parent) or _is_container(module) or not any(True for _ in module.children()):
        return False
    if any(_SIDE.match(part) for part in name.split(".")) or _SIDE_CLASS.search(type(module).__name__):
        return False
    layers = sum(parameter.ndim >= 2 for parameter in module.parameters())
    # A single layer with its norm counts where only containers surround it (EfficientNetV2's first stage),
    # not beside the blocks of a stage (CSP) or as one of several kernels (RepVGG, MobileOne).
    parts = name.split(".")
    around = [modules[".".join(parts[:depth])] for depth in range(1, len(parts))]
    plain = all(isinstance(outer, (nn.Sequential, nn.ModuleList, nn.ModuleDict)) for outer in around)
    return layers > 1 or (layers == 1 and plain)


def _is_container(module: nn.Module) -> bool:
    return isinstance(module, (nn.Sequential, nn.ModuleList, nn.ModuleDict)) or type(module).__name__.endswith("Stage")


def _resolve(top: str, candidates: Sequence[str], modules: dict[str, nn.Module]) -> list[str]:
    below = [name for name in candidates if name.startswith(top + ".")]
    inner = [name for name in below if not _inside(name, below)]
    resolved = [leaf for name in inner for leaf in _resolve(name, candidates, modules)]
    weighty = [n for n in resolved if sum(p.ndim >= 2 for p in modules[n].parameters()) > 1]
    classes = [type(modules[name]) for name in weighty]
    repeated = any(classes.count(kind) > 1 for kind in classes)
    return weighty if repeated else [top]


def _inside(name: str, others: Sequence[str]) -> bool:
    return any(name.startswith(other + ".") for other in others)


def _within(name: str, blocks: Sequence[str]) -> bool:
    return name in blocks or _inside(name, blocks)


def _outermost(visit: Visit, visits: Sequence[Visit], blocks: Sequence[str]) -> str:
    """Return the outermost module around a visited one that returned the very same tensor and holds no block."""
    best = visit.call.name
    same = {v.call.name for v in visits if v.output is visit.output and v.version == visit.version}
    name = best
    while "." in name:
        name = name.rpartition(".")[0]
        if any(block.startswith(name + ".") for block in blocks) or name not in same:
            continue
        best = name
    return best


def _is_same(visit: Visit, tensor: Tensor) -> bool:
    """Tell whether a module returned this very tensor, and nothing has overwritten it since."""
    output = _lasting(visit)
    return output is not None and output.shape == tensor.shape and output.data_ptr() == tensor.data_ptr()


def _is_view(visit: Visit, tensor: Tensor) -> bool:
    """Tell whether the tensor is a module's output with its axes exchanged."""
    views = _layouts(_lasting(visit), tensor)
    return any(view.data_ptr() == tensor.data_ptr() and view.stride() == tensor.stride() for view in views)


def _is_equal(visit: Visit, tensor: Tensor) -> bool:
    """Tell whether the tensor is a copy of a module's output, perhaps in another layout."""
    return any(bool(torch.equal(view, tensor)) for view in _layouts(_lasting(visit), tensor))


def _lasting(visit: Visit) -> Tensor | None:
    """Return a module's output, or None if it was overwritten in place and holds a later result by now."""
    intact = visit.output is not None and visit.call.name and visit.output._version == visit.version
    return visit.output if intact else None


def _layouts(output: Tensor | None, tensor: Tensor) -> list[Tensor]:
    """Return an output as it is, with channels first, or with the patch tokens as an image; of the tensor's shape."""
    if output is None or output.shape[:1] != tensor.shape[:1]:
        return []
    views = [output]
    if tensor.ndim == 4 and output.ndim == 4:
        views.append(output.permute(0, 3, 1, 2))
    elif tensor.ndim == 4 and output.ndim == 3:
        batch, channels, height, width = tensor.shape
        if output.shape[2] == channels and output.shape[1] >= height * width:
            patches = output[:, output.shape[1] - height * width :]
            views.append(patches.reshape(batch, height, width, channels).permute(0, 3, 1, 2))
        elif tuple(output.shape[1:]) == (channels, height * width):
            views.append(output.reshape(tensor.shape))
    return [view for view in views if view.shape == tensor.shape]


def _by_resolution(network: nn.Module, example: Tensor) -> list[str]:
    with watch(network) as visits, torch.no_grad():
        run(network, example)
    children = []
    for name, module in network.named_children():
        nested = name in ("features", "trunk_output", "blocks")
        children += [f"{name}.{child}" for child, _ in module.named_children()] if nested else [name]
    calls = [v.call for v in visits if v.call.name in children and v.output is not None and v.output.ndim == 4]
    names, sides = [], [_side(call, example) for call in calls]
    for index, call in enumerate(calls):
        if sides[index] > 1 and (index + 1 == len(calls) or sides[index + 1] != sides[index]):
            names.append(call.name)
    if len(names) < 2:
        raise _no_stages(network)
    return names


def _side(call: LayerCall, example: Tensor) -> int:
    """Return the height of an output, whether channels come first or last."""
    _, a, b, c = call.shapes[0]
    square = example.shape[2] == example.shape[3]
    return a if square and a == b and b != c else b


def _no_stages(network: nn.Module) -> FeaturespaceError:
    tops = ", ".join(name for name, module in network.named_children() if any(True for _ in module.parameters()))
    return FeaturespaceError(
        f"{network_name(network)} has no stages that timm's forward_intermediates gives; name layers instead: "
        f"its parts are {tops}, and `featurespace inspect` lists all"
    )
