"""Layers by selection: ``blocks``, ``stages``, names and globs, as modules to hook and how to pool them."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from featurespace.errors import FeaturespaceError, unknown
from featurespace.models.blocks import block_names, stage_names, stem_call
from featurespace.models.trace import LayerCall, Shape, Visit, network_name, run, trace_layers, watch

__all__ = ["POOLED", "Layer", "LayerCall", "select_layers", "trace_layers"]

POOLED = "pooled"
WORDS = ("blocks", "stages")  # which stand for several layers


@dataclass(frozen=True)
class Layer:
    """One place in a network.

    ``name`` is the module's path, with ``:0``, ``:1`` where it is called several times, or ``pooled`` for the
    network's own output (``module`` is "" then). ``shape`` is that of one sample's feature. ``kind`` says how
    to pool it: ``nchw``, ``nhwc``, ``tokens``, ``vector``, or ``other`` where no average makes sense.
    """

    name: str
    module: str
    call: int
    shape: Shape
    kind: str
    num_prefix_tokens: int = 0
    has_class_token: bool = False


def select_layers(network: nn.Module, selection: str | Sequence[str], example: Tensor) -> list[Layer]:
    """Return the selected layers in order of execution.

    Parameters
    ----------
    network : without its classifier, so that its output is the pooled feature
    selection : ``blocks``, ``stages``, names and globs (``layer1.*``; a star also crosses dots), in a list or
        separated by commas; ``50%`` is the block at that depth, ``pooled`` is the network's own output, ``relu:1`` the second
        call of ``relu``
    example : (2, C, H, W) images; two, because a batch axis of one is easily mistaken for another
    """
    if example.shape[0] < 2:
        raise FeaturespaceError(f"the example has {example.shape[0]} image; give two, so that the batch axis shows")
    words = [word.strip() for word in (selection.split(",") if isinstance(selection, str) else selection)]
    words = [word for word in words if word]
    if not words:
        raise FeaturespaceError("no layers are selected; write blocks, stages, or names separated by commas")
    with watch(network) as visits, torch.no_grad():
        run(network, example)
    layers = _all_layers(network, visits, example)
    chosen: set[str] = set()
    for word in words:
        chosen |= _expand(word, network, visits, layers, example)
    return [layer for name, layer in layers.items() if name in chosen]


def _all_layers(network: nn.Module, visits: Sequence[Visit], example: Tensor) -> dict[str, Layer]:
    """Return every call that returned a tensor, by layer name, in order of execution."""
    totals = Counter(visit.call.name for visit in visits)
    tokens = _TokenFacts.of(network, visits)
    layers = {}
    for visit in visits:
        call = visit.call
        if visit.output is None:
            continue
        kind = feature_kind(call.shapes[0], example, getattr(network, "output_fmt", None))
        prefix, has_class = tokens.prefix(call.shapes[0]) if kind == "tokens" else (0, False)
        name = call_name(call, totals[call.name]) or POOLED
        layers[name] = Layer(name, call.name, call.call, call.shapes[0][1:], kind, prefix, has_class)
    return layers


def _expand(
    word: str, network: nn.Module, visits: Sequence[Visit], layers: dict[str, Layer], example: Tensor
) -> set[str]:
    if word == "blocks":
        return set(_blocks(network, visits, example)) | {POOLED}
    if word == "stages":
        return set(stage_names(network, example)) | {POOLED}
    if word.endswith("%"):
        return {_at_depth(word, [name for name in layers if name in {*_blocks(network, visits, example), POOLED}])}
    calls: dict[str, list[str]] = {}
    for layer in layers.values():
        calls.setdefault(layer.module or POOLED, []).append(layer.name)
    rows = {visit.call.name or POOLED: visit.call.shapes for visit in visits if visit.output is not None}
    usable = {name for name, layer in layers.items() if rows[layer.module or POOLED][0][:1] == (example.shape[0],)}
    if any(sign in word for sign in "*?["):
        found = {name for name in usable if name != POOLED and fnmatch.fnmatchcase(name, word)}
        found |= {n for m, names in calls.items() if m != POOLED and fnmatch.fnmatchcase(m, word) for n in names}
        found &= usable
        if not found:
            raise unknown("layer pattern", word, [*layers, *WORDS], where=network_name(network), hint=_hint(network))
        return found
    names = set(calls.get(word, [word] if word in layers else []))
    if not names:
        raise _unknown_layer(word, network, layers)
    if not names <= usable:
        shape = layers[sorted(names)[0]].shape
        raise FeaturespaceError(
            f"layer {word!r} of {network_name(network)} does not return one row an image (its rows are of shape "
            f"{shape}, as for windows of attention); choose the block that holds it. {_hint(network)}"
        )
    return names


def _at_depth(word: str, names: Sequence[str]) -> str:
    """Return the layer nearest to a share of the depth, from the stem (0%) to the pooled output (100%), as figures draw it."""
    try:
        share = float(word[:-1]) / 100
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise FeaturespaceError(
            f"layer {word!r} is no depth; write 0% (the stem) to 100% (the pooled output), as in 50%"
        )
    return names[int(share * (len(names) - 1) + 0.5)]


def _blocks(network: nn.Module, visits: Sequence[Visit], example: Tensor) -> list[str]:
    calls: dict[str, list[LayerCall]] = {}
    for visit in visits:
        if visit.output is not None:
            calls.setdefault(visit.call.name, []).append(visit.call)
    blocks = [name for name in block_names(network) if name in calls]
    # MobileViT's transformer blocks see patches as rows: the block around them has one row an image.
    blocks = list(dict.fromkeys(_with_rows(name, calls, len(example)) for name in blocks))
    if not blocks:  # plain stacks of convolutions, such as VGG and Inception
        return stage_names(network, example)
    names = [call_name(call, len(calls[name])) for name in blocks for call in calls[name]]
    stem = stem_call(visits, blocks)
    return names + ([call_name(stem, len(calls[stem.name]))] if stem else [])


def _with_rows(name: str, calls: dict[str, list[LayerCall]], rows: int) -> str:
    """Return the nearest module around ``name``, or itself, whose output has one row an image."""
    while name and not (name in calls and calls[name][0].shapes[0][0] == rows):
        name = name.rpartition(".")[0]
    return name


def call_name(call: LayerCall, total: int) -> str:
    """Return a layer's name: the module's path, and the number of the call where there are several."""
    return call.name if total == 1 else f"{call.name}:{call.call}"


@dataclass(frozen=True)
class _TokenFacts:
    """Prefix tokens of a transformer, its class token, and the number of patches."""

    count: int
    has_class: bool
    patches: int | None

    @classmethod
    def of(cls, network: nn.Module, visits: Sequence[Visit]) -> _TokenFacts:
        token = any(getattr(network, name, None) is not None for name in ("cls_token", "class_token"))
        count = getattr(network, "num_prefix_tokens", None)
        shapes = {v.call.name: v.call.shapes[0] for v in visits if v.output is not None}
        patches = None
        if len(shapes.get("patch_embed", ())) == 3:
            patches = shapes["patch_embed"][1]
        elif len(shapes.get("patch_embed", ())) == 4:
            patches = shapes["patch_embed"][1] * shapes["patch_embed"][2]
        elif len(shapes.get("conv_proj", ())) == 4:  # torchvision
            patches = shapes["conv_proj"][2] * shapes["conv_proj"][3]
        return cls(int(count) if count is not None else int(token), token, patches)

    def prefix(self, shape: Shape) -> tuple[int, bool]:
        """Return how many tokens of a (batch, tokens, channels) output precede the patches."""
        tokens = shape[1]
        without = self.patches is not None and tokens == self.patches
        if without or not self.count or tokens < self.count:
            return 0, False
        # A layer that holds the class token only (CaiT's last blocks) has nothing else to average.
        return (0 if tokens == self.count else self.count), self.has_class


def feature_kind(shape: Shape, example: Tensor, declared: str | None = None) -> str:
    """Return how an output of this shape is laid out, from the proportions of the image.

    (B, C, H, W) and (B, H, W, C) are told apart by which two axes have the image's proportions; where both or
    neither have, ``declared`` (timm's ``output_fmt``) decides, and attention maps come out as ``other``.
    """
    if len(shape) == 2:
        return "vector"
    if len(shape) == 3:
        return "tokens"
    if len(shape) != 4:
        return "other"
    first, last = _like_image(shape[2:], example), _like_image(shape[1:3], example)
    if first and last:
        return "nhwc" if (declared or "").upper() == "NHWC" else "nchw"
    return "nchw" if first else "nhwc" if last else "other"


def _like_image(sides: Shape, example: Tensor) -> bool:
    height, width = example.shape[2:]
    # Rounding at each halving moves a side by at most one.
    expected = sides[0] * width / height
    return sides[0] <= height and sides[1] <= width and abs(sides[1] - expected) <= (0 if height == width else 1)


def _unknown_layer(word: str, network: nn.Module, layers: dict[str, Layer]) -> FeaturespaceError:
    name = network_name(network)
    modules = dict(network.named_modules())
    module = word if word in modules else word.rpartition(":")[0]
    if module and module in modules:
        calls = sum(layer.module == module for layer in layers.values())
        return FeaturespaceError(
            f"layer {word!r} of {name} gives no feature: in one forward pass {module!r} returns a tensor {calls} "
            f"times; {_hint(network)}"
        )
    return unknown("layer", word, [*layers, *WORDS], where=name, hint=_hint(network))


def _hint(network: nn.Module) -> str:
    return f"`featurespace inspect {network_name(network)}` lists them"
