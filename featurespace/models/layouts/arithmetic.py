"""What a network computes that no tensor tells: epsilon of norms, padding, activation; and what is said where it is open."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_MBCONV = "torchvision mobilenet/efficientnet"
_BOTTLENECK = re.compile(r"(wide_)?resnet(50|101|152)(_2)?$|resnext(50|101)_\d+x\d+d$")


def layout_options(layout: str, arch: str) -> dict[str, Any]:
    """Return the options of ``create_network`` that make timm's network compute as a layout's own library does."""
    if arch.startswith(("torchvision/", "smp/")):
        return {}
    if layout == _MBCONV:
        slow = re.search(r"efficientnet_b[567]|efficientnetv2|mobilenetv3", arch)
        padding = {"pad_type": ""} if arch.startswith("tf_") else {}
        return {**padding, "norm_eps": {"": 1e-3}} if slow else {**padding, "norm_eps": {"": 1e-5}} if padding else {}
    if layout == "efficientnet_pytorch" and not arch.startswith("tf_"):
        return {"pad_type": "same", "norm_eps": {"": 1e-3}}
    if layout == "Hugging Face ViT":
        return {"norm_eps": {"": 1e-12}}
    if layout == "Hugging Face ConvNeXt":
        return {"norm_eps": {"head.norm": 1e-12}}
    return {}


def option_notes(options: Mapping[str, Any], whose: str) -> list[str]:
    """Return in words what of a network was built otherwise than timm builds it by default."""
    notes = []
    for where, value in (options.get("norm_eps") or {}).items():
        notes.append(f"{where or 'norms'} built with epsilon {value:g}, as {whose}")
    if "pad_type" in options:
        notes.append(f"padded {'symmetrically' if not options['pad_type'] else 'as TensorFlow does'}, as {whose}")
    if "act_layer" in options:
        notes.append(f"built with the activation {options['act_layer']}, as {whose}")
    return notes


def open_questions(layout: str, arch: str, options: Mapping[str, Any]) -> list[str]:
    """Return what the file leaves open: other networks with the same tensors, which compute something else."""
    import timm

    name = arch.split(".")[0]
    if not layout and re.match(r"(tf_)?(efficientnet|mobilenetv3|mixnet)", name):
        twin = name.removeprefix("tf_") if name.startswith("tf_") else f"tf_{name}"
        if timm.is_model(twin):
            ported = "TensorFlow's padding and epsilon" if twin.startswith("tf_") else "symmetric padding, epsilon 1e-5"
            return [f"{twin} has the same tensors and computes otherwise ({ported}): name the one that was trained"]
    if "_clip_" in name and "act_layer" not in options:
        quick = "_clip_quickgelu_" in name
        twin = name.replace("_clip_quickgelu_", "_clip_") if quick else name.replace("_clip_", "_clip_quickgelu_")
        if timm.is_model(twin):
            who = "most of OpenCLIP's other networks" if quick else "OpenAI's own networks and some others"
            return [
                f"{twin} has the same tensors and {'GELU' if quick else 'QuickGELU'}, with which {who} were trained"
            ]
    if not layout and _BOTTLENECK.match(name):
        return [
            f"{name} strides in its 3x3 convolutions (v1.5) and does not blur; networks that stride in the first 1x1 "
            "(v1, Caffe) or blur have the same tensors"
        ]
    if name.endswith("inception_v3"):
        return [
            "whether pixels were scaled to -1..1 (TensorFlow's, and torchvision's own weights) or by ImageNet's mean "
            "leaves no tensor behind"
        ]
    return []
