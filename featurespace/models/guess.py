"""Which architecture a checkpoint may belong to, from the shapes of its tensors alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache

import torch
from torch import Tensor

Shapes = tuple[tuple[int, ...], ...]

SHORTLIST = (
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2", "resnext50_32x4d"),
    *("densenet121", "densenet169", "vgg16", "vgg16_bn", "inception_v3"),
    *("efficientnet_b0", "efficientnet_b1", "efficientnet_b2", "efficientnet_b3", "efficientnet_b4"),
    *("tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnetv2_s", "mobilenetv2_100"),
    *("mobilenetv3_small_100", "mobilenetv3_large_100", "regnety_002", "regnety_004", "regnety_016"),
    *("convnext_tiny", "convnext_small", "convnext_base", "swin_tiny_patch4_window7_224"),
    *("swin_small_patch4_window7_224", "swin_base_patch4_window7_224", "vit_tiny_patch16_224"),
    *("vit_small_patch16_224", "vit_small_patch32_224", "vit_base_patch16_224", "vit_base_patch32_224"),
    *("vit_small_patch14_dinov2", "vit_base_patch14_dinov2"),
)


def guess_architectures(
    tensors: Mapping[str, Tensor], *, candidates: Iterable[str] = SHORTLIST, limit: int = 3
) -> list[tuple[str, float]]:
    """Return (timm name, share) for the nearest architectures, best first.

    The share is intersection over union of the two collections of shapes, axes of length one and tensors of
    fewer than two axes left out; 1.0 means every shape of one occurs as often in the other. About 50 ms a
    candidate the first time.
    """
    ours = _collection(tuple(value.shape) for value in tensors.values())
    scored = []
    for arch in candidates:
        theirs = _collection(_shapes(arch))
        union = (ours | theirs).total()
        if union:
            scored.append((arch, (ours & theirs).total() / union))
    return sorted(scored, key=lambda pair: -pair[1])[:limit]


def suggestion(tensors: Mapping[str, Tensor], arch: str) -> str:
    """Return a sentence on which architecture to try."""
    guesses = [(name, share) for name, share in guess_architectures(tensors) if share >= 0.5 and name != arch]
    if not guesses:
        return f"No common architecture has these shapes; `featurespace inspect {arch}` lists the network's layers."
    names = " or ".join(f"{name} ({share:.0%} of the shapes)" for name, share in guesses[:2])
    return f"By its shapes the file looks like {names}: try ARCH@FILE with that."


def _collection(shapes: Iterable[tuple[int, ...]]) -> Counter[tuple[int, ...]]:
    squeezed = (tuple(n for n in shape if n != 1) for shape in shapes)
    return Counter(shape for shape in squeezed if len(shape) >= 2)


@lru_cache(maxsize=128)
def _shapes(arch: str) -> Shapes:
    import timm

    with torch.device("meta"):  # shapes without memory or arithmetic
        network = timm.create_model(arch, num_classes=0)
    return tuple(tuple(value.shape) for value in network.state_dict().values())
