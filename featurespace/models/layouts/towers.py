"""Names of pretraining codes whose networks timm has under its own: CLIP's towers, DINOv2's chunks, VISSL's trunks."""

from __future__ import annotations

import re
from collections.abc import Sequence

from featurespace.models.layouts.patterns import Patterns

CLIP = Patterns(
    r"class_embedding$",
    (
        (r"^conv1\.", "patch_embed.proj."),
        (r"^class_embedding$", "cls_token"),
        (r"^positional_embedding$", "pos_embed"),
        (r"^transformer\.resblocks\.", "blocks."),
        (r"^ln_pre\.", "norm_pre."),
        (r"^ln_post\.", "norm."),
        (r"\.ln_(\d)\.", r".norm\1."),
        (r"\.ls_(\d)\.", r".ls\1."),
        (r"\.attn\.in_proj_(weight|bias)$", r".attn.qkv.\1"),
        (r"\.attn\.out_proj\.", ".attn.proj."),
        (r"\.mlp\.c_fc\.", ".mlp.fc1."),
        (r"\.mlp\.c_proj\.", ".mlp.fc2."),
        (r"^proj$", "head.weight"),
    ),
)
# Blocks keep their number over all chunks: the one before it is the chunk's.
DINOV2 = Patterns(
    r"blocks\.\d+\.(\d+\.norm1\.|mlp\.w12\.)",
    (
        (r"^blocks\.\d+\.(\d+)\.", r"blocks.\1."),
        (r"\.mlp\.w12\.", ".mlp.fc1."),
        (r"\.mlp\.w3\.", ".mlp.fc2."),
        (r"^register_tokens$", "reg_token"),
    ),
)
VISSL_REGNET = Patterns(
    r"conv1\.stem\.0\.",
    (
        (r"^conv1\.stem\.0\.", "stem.conv."),
        (r"^conv1\.stem\.1\.", "stem.bn."),
        (r"^res\d+\.block(\d+)-(\d+)\.", lambda found: f"s{found[1]}.b{int(found[2]) + 1}."),
        (r"^(s\d+\.b\d+)\.proj\.", r"\1.downsample.conv."),
        (r"^(s\d+\.b\d+)\.bn\.", r"\1.downsample.bn."),
        (r"\.f\.a\.0\.", ".conv1.conv."),
        (r"\.f\.a\.1\.", ".conv1.bn."),
        (r"\.f\.b\.0\.", ".conv2.conv."),
        (r"\.f\.b\.1\.", ".conv2.bn."),
        (r"\.f\.c\.", ".conv3.conv."),
        (r"\.f\.final_bn\.", ".conv3.bn."),
        (r"\.f\.se\.excitation\.0\.", ".se.fc1."),
        (r"\.f\.se\.excitation\.2\.", ".se.fc2."),
    ),
)


def children_by_number(names: Sequence[str], model_names: Sequence[str]) -> dict[str, str]:
    """``Sequential(*network.children())``, as in lightly, RadImageNet and many SimCLR codes: 0 is the first child.

    Children without weights take numbers too, so those with weights are counted on either side. Inception's
    auxiliary classifier, which timm builds only on request, is no child here.
    """
    split = {name: name.partition(".") for name in names if re.match(r"\d+\.", name)}
    auxiliary = {first for name, (first, _, _) in split.items() if re.fullmatch(r"\d+\.fc\.weight", name)}
    numbers = sorted({int(first) for first, _, _ in split.values() if first not in auxiliary})
    children = list(dict.fromkeys(name.partition(".")[0] for name in model_names))
    if not numbers or len(numbers) > len(children):
        return {}
    targets = dict(zip(map(str, numbers), children))
    return {name: f"{targets[first]}.{rest}" for name, (first, _, rest) in split.items() if first in targets}


def unet_over_backbone(names: Sequence[str], model_names: Sequence[str]) -> dict[str, str]:
    """A U-Net that featurespace wrote: the encoder under the backbone's own names, the decoder beside it."""
    if not any(name.startswith("encoder.model.") for name in model_names) or any(
        n.startswith("encoder.") for n in names
    ):
        return {}
    known, renamed = set(model_names), {}
    for name in names:
        flat = re.sub(r"^([a-z]+)\.(\d+)\.", r"\1_\2.", name)  # a list of stages is flattened to stages_0
        targets = (name, f"encoder.model.{name}", f"encoder.model.{flat}")
        found = next((target for target in targets if target in known), None)
        if found is not None:
            renamed[name] = found
    return renamed


def flattened_stages(names: Sequence[str], model_names: Sequence[str]) -> dict[str, str]:
    """An encoder of timm inside segmentation-models-pytorch, where a list of stages is flattened to ``stages_0``."""
    renamed = {name: re.sub(r"^([a-z]+)_(\d+)\.", r"\1.\2.", name) for name in names}
    return renamed if any(old != new and new in model_names for old, new in renamed.items()) else {}
