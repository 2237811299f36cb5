"""From a config.json of Hugging Face's transformers to timm's name of the network and how to build it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from featurespace.errors import FeaturespaceError

_SIZES = {(192, 12): "tiny", (384, 12): "small", (768, 12): "base", (1024, 24): "large", (1280, 32): "huge"}
_VIT = ("vit", "vit_mae", "vit_msn")
_RESNETS = {
    ("basic", 2, 2, 2, 2): "resnet18",
    ("basic", 3, 4, 6, 3): "resnet34",
    ("bottleneck", 2, 2, 2, 2): "resnet26",
    ("bottleneck", 3, 4, 6, 3): "resnet50",
    ("bottleneck", 3, 4, 23, 3): "resnet101",
    ("bottleneck", 3, 8, 36, 3): "resnet152",
}
_CONVNEXTS = {(96, 9): "tiny", (96, 27): "small", (128, 27): "base", (192, 27): "large", (256, 27): "xlarge"}
_SWINS = {(96, 6): "tiny", (96, 18): "small", (128, 18): "base", (192, 18): "large"}
MODEL_TYPES = (
    *_VIT, "deit", "dinov2", "dinov2_with_registers", "clip", "clip_vision_model", "resnet", "convnext", "convnextv2", "swin",
)  # fmt: skip


def read_config(directory: Path) -> dict[str, Any] | None:
    """Return the config.json of a directory if transformers wrote it for a network known here, else None."""
    file = directory / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
    except (ValueError, OSError):
        return None
    return config if isinstance(config, dict) and config.get("model_type") in MODEL_TYPES else None


def architecture(config: Mapping[str, Any], where: str) -> tuple[str, dict[str, Any]]:
    """Return timm's name and the options that build the network of a config.

    A network that timm has under no name is built from the nearest name and options.
    """
    kind = config["model_type"]
    config = config.get("vision_config") or config
    try:
        if kind == "resnet":
            return _resnet(config, where)
        if kind in ("convnext", "convnextv2"):
            return _convnext(config, kind)
        if kind == "swin":
            return _swin(config)
        return _vit(config, kind)
    except (KeyError, TypeError, IndexError, AttributeError, ZeroDivisionError) as error:
        raise FeaturespaceError(
            f"{where} is incomplete ({type(error).__name__}: {error}); write ARCH@FILE instead"
        ) from error


def config_options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a config says of arithmetic that leaves no tensor behind, as options of ``create_network``."""
    kind = config["model_type"]
    config = config.get("vision_config") or config
    options: dict[str, Any] = {}
    if kind in ("convnext", "convnextv2"):
        options["norm_eps"] = {"head.norm": float(config.get("layer_norm_eps", 1e-12))}
    elif kind != "resnet":
        default = {"clip": 1e-5, "clip_vision_model": 1e-5, "swin": 1e-5}.get(kind, 1e-6 if "dino" in kind else 1e-12)
        options["norm_eps"] = {"": float(config.get("layer_norm_eps", default))}
    action = config.get("hidden_act", "quick_gelu" if kind.startswith("clip") else "gelu")
    if kind.startswith("clip") or (kind != "resnet" and action != "gelu"):
        options["act_layer"] = action
    return options


def _vit(config: Mapping[str, Any], kind: str) -> tuple[str, dict[str, Any]]:
    import timm

    width, depth, patch = config["hidden_size"], config["num_hidden_layers"], config["patch_size"]
    side = config["image_size"]
    giant = bool(config.get("use_swiglu_ffn"))
    size = "giant" if giant else _SIZES.get((width, depth), "base")
    names = {
        "deit": f"deit_{size}_distilled_patch{patch}_{side}",
        "dinov2": f"vit_{size}_patch{patch}_dinov2",
        "dinov2_with_registers": f"vit_{size}_patch{patch}_reg4_dinov2",
        "clip": f"vit_{size}_patch{patch}_clip_{side}",
        "clip_vision_model": f"vit_{size}_patch{patch}_clip_{side}",
    }
    near = {
        "deit": "deit_base_distilled_patch16_224",
        "dinov2": f"vit_{'giant' if giant else 'base'}_patch14_dinov2",
        "dinov2_with_registers": f"vit_{'giant' if giant else 'base'}_patch14_reg4_dinov2",
        "clip": "vit_base_patch16_clip_224",
        "clip_vision_model": "vit_base_patch16_clip_224",
    }
    arch = names.get(kind, f"vit_{size}_patch{patch}_{side}")
    options: dict[str, Any] = {}
    named = (width, depth) == (1536, 40) if giant else (width, depth) in _SIZES
    if not named or not timm.is_model(arch):
        arch = near.get(kind, "vit_base_patch16_224")
        hidden = config.get("intermediate_size") or width * config.get("mlp_ratio", 4)
        if giant:  # two linear layers in one, of two thirds of the width rounded up to eights
            hidden = 2 * ((int(hidden * 2 / 3) + 7) // 8 * 8)
        options = {"embed_dim": width, "depth": depth, "num_heads": config["num_attention_heads"]}
        options |= {"mlp_ratio": hidden / width, "patch_size": patch}
    if kind.startswith("dinov2") or options:
        options["img_size"] = side
    return arch, options


def _resnet(config: Mapping[str, Any], where: str) -> tuple[str, dict[str, Any]]:
    arch = _RESNETS.get((config["layer_type"], *config["depths"]))
    if arch is None or config.get("downsample_in_bottleneck") or config.get("hidden_act", "relu") != "relu":
        raise FeaturespaceError(
            f"{where} describes a ResNet that timm has not (layers {config['depths']}, {config['layer_type']}, stride in the "
            f"first convolution: {bool(config.get('downsample_in_bottleneck'))}); its features cannot be computed here"
        )
    return arch, {}


def _convnext(config: Mapping[str, Any], kind: str) -> tuple[str, dict[str, Any]]:
    depths, widths = tuple(config["depths"]), tuple(config["hidden_sizes"])
    size = _CONVNEXTS.get((widths[0], depths[2])) if depths[:2] == (3, 3) else None
    arch = f"{kind}_{size or 'tiny'}"
    return arch, {} if size else {"depths": depths, "dims": widths}


def _swin(config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    import timm

    depths, width, window, side = config["depths"], config["embed_dim"], config["window_size"], config["image_size"]
    size = _SWINS.get((width, depths[2]))
    arch = f"swin_{size or 'tiny'}_patch{config['patch_size']}_window{window}_{side}"
    if size and timm.is_model(arch):
        return arch, {}
    options = {"embed_dim": width, "depths": tuple(depths), "num_heads": tuple(config["num_heads"])}
    return "swin_tiny_patch4_window7_224", {
        **options, "window_size": window, "img_size": side, "patch_size": config["patch_size"],
        "mlp_ratio": config.get("mlp_ratio", 4.0),
    }  # fmt: skip
