"""Rules that turn the names of other layouts into timm's; each one is checked by equal outputs in the tests.

A rule takes the names of a checkpoint (wrapper prefix removed) and those of the network, and returns the new
name for each name that it knows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

Rule = Callable[[Sequence[str], Sequence[str]], dict[str, str]]

_TV_VIT = (
    (r"class_token$", "cls_token"),
    (r"conv_proj\.", "patch_embed.proj."),
    (r"encoder\.pos_embedding$", "pos_embed"),
    (r"encoder\.layers\.encoder_layer_(\d+)\.", r"blocks.\1."),
    (r"encoder\.ln\.", "norm."),
    (r"heads\.head\.", "head."),
)
_TV_VIT_INNER = (
    (r"\.ln_(\d)\.", r".norm\1."),
    (r"\.self_attention\.in_proj_(weight|bias)$", r".attn.qkv.\1"),
    (r"\.self_attention\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.(0|linear_1)\.", ".mlp.fc1."),
    (r"\.mlp\.(3|linear_2)\.", ".mlp.fc2."),
)
_TV_REGNET = (
    (r"^stem\.0\.", "stem.conv."),
    (r"^stem\.1\.", "stem.bn."),
    (r"^fc\.", "head.fc."),
)
_TV_REGNET_INNER = (
    (r"\.f\.a\.0\.", ".conv1.conv."),
    (r"\.f\.a\.1\.", ".conv1.bn."),
    (r"\.f\.b\.0\.", ".conv2.conv."),
    (r"\.f\.b\.1\.", ".conv2.bn."),
    (r"\.f\.c\.0\.", ".conv3.conv."),
    (r"\.f\.c\.1\.", ".conv3.bn."),
    (r"\.f\.se\.", ".se."),
    (r"\.proj\.0\.", ".downsample.conv."),
    (r"\.proj\.1\.", ".downsample.bn."),
)


def natural(name: str) -> list[tuple[int, str]]:
    """Return a sort key under which ``blocks.2`` comes before ``blocks.10``."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name) if part]


def modules_of(names: Iterable[str]) -> list[str]:
    """Return the paths of the modules that own the tensors, in order of first appearance."""
    return list(dict.fromkeys(name.rpartition(".")[0] for name in names))


def same_names(names: Sequence[str], model_names: Sequence[str]) -> dict[str, str]:
    """Leave names as they are."""
    return {name: name for name in names}


def torchvision_vit(names: Sequence[str], model_names: Sequence[str]) -> dict[str, str]:
    """Layout of torchvision's VisionTransformer."""
    if not any("encoder_layer_0." in name for name in names):
        return {}
    return {name: _substitute(name, _TV_VIT, _TV_VIT_INNER) for name in names}


def torchvision_regnet(names: Sequence[str], model_names: Sequence[str]) -> dict[str, str]:
    """Layout of torchvision's RegNet."""
    block = re.compile(r"trunk_output\.block(\d+)\.block\d+-(\d+)")
    if not any(block.match(name) for name in names):
        return {}
    renamed = {}
    for name in names:
        new = block.sub(lambda found: f"s{found[1]}.b{int(found[2]) + 1}", name)
        renamed[name] = _substitute(new, _TV_REGNET, _TV_REGNET_INNER)
    return renamed


def torchvision_convnext(names: Sequence[str], model_names: Sequence[str]) -> dict[str, str]:
    """Layout of torchvision's ConvNeXt; its layer scale is (C, 1, 1) where timm's is (C)."""
    if not any(name.endswith(".layer_scale") for name in names):
        return {}
    inner = {"layer_scale": "gamma", "block.0.": "conv_dw.", "block.2.": "norm.", "block.3.": "mlp.fc1."}
    inner["block.5."] = "mlp.fc2."
    renamed = {}
    for name in names:
        found = re.match(r"features\.(\d+)\.(\d+)\.(.+)$", name)
        if name.startswith("classifier."):
            renamed[name] = name.replace("classifier.0.", "head.norm.").replace("classifier.2.", "head.fc.")
        elif found:
            stage, index, rest = int(found[1]), found[2], found[3]
            if stage == 0:
                renamed[name] = f"stem.{index}.{rest}"
            elif stage % 2 == 0:
                renamed[name] = f"stages.{stage // 2}.downsample.{index}.{rest}"
            else:
                rest = next((new + rest[len(old) :] for old, new in inner.items() if rest.startswith(old)), rest)
                renamed[name] = f"stages.{stage // 2}.blocks.{index}.{rest}"
    return renamed


def torchvision_swin(names: Sequence[str], model_names: Sequence[str]) -> dict[str, str]:
    """Layout of torchvision's Swin, both versions; the index of relative positions is a constant that timm does not store."""
    if not any(name.endswith((".relative_position_bias_table", ".cpb_mlp.0.weight")) for name in names):
        return {}
    renamed = {}
    for name in names:
        found = re.match(r"features\.(\d+)\.(.+)$", name)
        if name.startswith("head."):
            renamed[name] = name.replace("head.", "head.fc.")
        elif not found:
            renamed[name] = name
        elif found[1] == "0":
            renamed[name] = "patch_embed." + re.sub(r"^2\.", "norm.", re.sub(r"^0\.", "proj.", found[2]))
        elif int(found[1]) % 2 == 0:
            renamed[name] = f"layers.{int(found[1]) // 2}.downsample.{found[2]}"
        else:
            rest = found[2].replace(".mlp.0.", ".mlp.fc1.").replace(".mlp.3.", ".mlp.fc2.")
            rest = re.sub(r"\.qkv\.bias\[(.)\]$", r".\1_bias", rest)
            renamed[name] = f"layers.{int(found[1]) // 2}.blocks.{rest}"
    return renamed


def efficientnet_pytorch(names: Sequence[str], model_names: Sequence[str]) -> dict[str, str]:
    """The layout of ``efficientnet_pytorch``: ``_blocks.7._project_conv.weight``, blocks numbered through."""
    if not any(name.startswith("_blocks.0.") for name in names):
        return {}
    top = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    blocks = _mbconv_blocks(model_names)
    expanded = {name.split(".")[1] for name in names if "._expand_conv." in name}
    renamed = {}
    for name in names:
        parts = name.split(".")
        if parts[0] in top:
            renamed[name] = ".".join([top[parts[0]], *parts[1:]])
        elif parts[0] == "_blocks" and len(parts) > 3 and int(parts[1]) < len(blocks):
            inner = _mbconv_part(parts[2], expanded=parts[1] in expanded)
            renamed[name] = ".".join([blocks[int(parts[1])], inner, *parts[3:]])
    return renamed


def torchvision_mbconv(names: Sequence[str], model_names: Sequence[str]) -> dict[str, str]:
    """Layout of torchvision's EfficientNet and MobileNet V2, V3: numbered ``features``, blocks matched in order."""
    found = [(name, re.match(r"features\.(\d+)\.(\d+\.)?(block|conv)\.", name)) for name in names]
    blocks = _mbconv_blocks(model_names)
    sources = sorted({hit[0].rsplit(".", 2)[0] for _, hit in found if hit}, key=natural)
    if not sources or not blocks:
        return {}
    last = max(int(name.split(".")[1]) for name in names if name.startswith("features."))
    pairs = {"features.0": ("conv_stem", "bn1"), f"features.{last}": ("conv_head", "bn2")}
    if len(blocks) == len(sources) + 1:  # MobileNet V3: the last convolution is a block of its own in timm
        pairs[f"features.{last}"] = (f"{blocks[-1]}.conv", f"{blocks[-1]}.bn1")
    renamed: dict[str, str] = {}
    for prefix, modules in pairs.items():
        for part, target in enumerate(modules):
            renamed |= _move(names, f"{prefix}.{part}", target)
    for source, target in zip(sources, blocks):
        olds = sorted(modules_of(name for name in names if name.startswith(source + ".")), key=natural)
        news = modules_of(name for name in model_names if name.startswith(target + "."))
        if len(olds) == len(news):
            for old, new in zip(olds, news):
                renamed |= _move(names, old, new)
    hidden = any(name.startswith("classifier.3.") for name in names)
    head = {"classifier.0": "conv_head", "classifier.3": "classifier"} if hidden else {"classifier.1": "classifier"}
    for old, new in head.items():
        renamed |= _move(names, old, new)
    return renamed


def _mbconv_blocks(model_names: Sequence[str]) -> list[str]:
    found = [re.match(r"blocks\.\d+\.\d+(?=\.)", name) for name in model_names]
    return list(dict.fromkeys(hit[0] for hit in found if hit))


def _mbconv_part(part: str, *, expanded: bool) -> str:
    if expanded:
        convs = {"_expand_conv": "conv_pw", "_depthwise_conv": "conv_dw", "_project_conv": "conv_pwl"}
        norms = {"_bn0": "bn1", "_bn1": "bn2", "_bn2": "bn3"}
    else:
        convs = {"_depthwise_conv": "conv_dw", "_project_conv": "conv_pw"}
        norms = {"_bn1": "bn1", "_bn2": "bn2"}
    squeeze = {"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}
    return (convs | norms | squeeze).get(part, part)


def _move(names: Sequence[str], old: str, new: str) -> dict[str, str]:
    return {name: new + name[len(old) :] for name in names if name.rpartition(".")[0] == old}


def _substitute(name: str, first: Sequence[tuple[str, str]], inner: Sequence[tuple[str, str]]) -> str:
    for pattern, new in first:
        name, count = re.subn(("" if pattern.startswith("^") else "^") + pattern, new, name)
        if count:
            break
    for pattern, new in inner:
        name = re.sub(pattern, new, name)
    return name
