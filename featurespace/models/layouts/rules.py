"""Every known layout, by the name under which the match report tells it."""

from __future__ import annotations

from featurespace.models.layouts import huggingface, towers
from featurespace.models.renames import (
    Rule,
    efficientnet_pytorch,
    same_names,
    torchvision_convnext,
    torchvision_mbconv,
    torchvision_regnet,
    torchvision_swin,
    torchvision_vit,
)

CHILDREN = "children by number"

RULES: dict[str, Rule] = {
    "": same_names,
    "efficientnet_pytorch": efficientnet_pytorch,
    CHILDREN: towers.children_by_number,
    "torchvision mobilenet/efficientnet": torchvision_mbconv,
    "torchvision convnext": torchvision_convnext,
    "torchvision vit": torchvision_vit,
    "torchvision swin": torchvision_swin,
    "torchvision regnet": torchvision_regnet,
    "Hugging Face ViT": huggingface.VIT,
    "Hugging Face DINOv2": huggingface.DINOV2,
    "Hugging Face CLIP": huggingface.CLIP,
    "Hugging Face Swin": huggingface.SWIN,
    "Hugging Face ConvNeXt": huggingface.CONVNEXT,
    "Hugging Face ResNet": huggingface.RESNET,
    "OpenCLIP": towers.CLIP,
    "DINOv2": towers.DINOV2,
    "VISSL RegNet": towers.VISSL_REGNET,
    "featurespace U-Net": towers.unet_over_backbone,
    "segmentation_models_pytorch": towers.flattened_stages,
}


def method_name(layout: str) -> str:
    """Return how the match report calls a match by a layout's rule."""
    if not layout:
        return "names"
    return f"renamed: {layout}" if layout == CHILDREN else f"renamed: {layout} to timm"


def layout_of(method: str) -> str:
    """Return the layout whose rule made a match, or an empty string."""
    return next((layout for layout in RULES if layout and method == method_name(layout)), "")
