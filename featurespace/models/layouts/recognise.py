"""Whose layout a checkpoint has, how the network is then built, and what the match report says of both."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from featurespace.models.checkpoint import CheckpointTensors
from featurespace.models.layouts.arithmetic import layout_options, open_questions, option_notes
from featurespace.models.layouts.configs import config_options
from featurespace.models.layouts.joins import prepared
from featurespace.models.layouts.rules import layout_of
from featurespace.models.matching import best_match
from featurespace.models.networks import first_convolution
from featurespace.models.report import MatchReport, shape_text

# Codes whose backbone has timm's or torchvision's names, by a name that only they use; the first that is found.
_CODES = (
    ("MoCo", r"encoder_q\."),
    ("MoCo v3", r"base_encoder\."),
    ("MAE", r"(^|\.)decoder_blocks\.0\."),
    ("SwAV", r"(^|\.)prototypes\."),
    ("OpenCLIP", r"(^|\.)visual\.trunk\."),
    ("VISSL", r"_feature_blocks\."),
    ("DINOv2", r"(^|\.)(ibot_head\.|register_tokens$)"),
    ("DINO", r"(^|\.)head\.last_layer\.weight"),
    ("BYOL", r"online_network\.|online_encoder\."),
    ("segmentation_models_pytorch", r"(^|\.)segmentation_head\."),
)


def building_options(
    network: nn.Module, tensors: Mapping[str, Tensor], arch: str, *, config: Mapping[str, Any] | None
) -> tuple[dict[str, Any], str]:
    """Return the options with which to build the network again for this checkpoint, and the layout that a rule knew.

    Parameters
    ----------
    network : as timm builds it, with its classifier
    config : transformers' own, where it lies beside the file
    """
    state = network.state_dict()
    report = best_match(state, prepared(tensors, list(state))).report
    layout = layout_of(report.method)
    options = layout_options(layout, arch)
    if config is not None and layout.startswith("Hugging Face"):
        options |= config_options(config)
    channels = _input_channels(network, report)
    if hasattr(network, "fc_norm") and any(
        (e.target or e.source or "").endswith("fc_norm.weight") for e in report.unexpected
    ):
        options["global_pool"] = "avg"  # a transformer finetuned on the average of its patches: MAE's, BEiT's
    return {**options, **({"in_chans": channels} if channels else {})}, layout


def told(
    report: MatchReport, checkpoint: CheckpointTensors, arch: str, layout: str, options: Mapping[str, Any]
) -> MatchReport:
    """Return the report with the layout's name and notes on what else the reader should know."""
    layout = layout or layout_of(report.method)
    notes = [*report.notes, *option_notes(options, _whose(layout))]
    if options.get("global_pool") == "avg":
        notes.append("pools the average of the patches, for which the file has a norm")
    if "in_chans" in options:
        notes.append(f"built for {options['in_chans']} input channels, as the file's first convolution has")
    for entry in report.reshaped:
        old, new = entry.source_shape or (), entry.target_shape or ()
        if [n for n in old if n != 1] != [n for n in new if n != 1]:
            notes.append(f"{entry.target} resampled from {shape_text(old)} to {shape_text(new)}")
    types = Counter(str(value.dtype).removeprefix("torch.") for value in checkpoint.tensors.values())
    notes += [f"{word} weights are used as float32" for word in ("float16", "bfloat16", "float64") if word in types]
    if not arch.startswith("smp/") and any(
        re.search(r"(^|\.)decoder\.(aspp|0\.convs)\.", n) for n in checkpoint.tensors
    ):
        notes.append(
            f"DeepLab widens the last convolutions of its encoder, {arch} does not; smp/DeepLabV3Plus-ENCODER does"
        )
    if not checkpoint.metadata.get("manifest"):  # what featurespace wrote was trained in the network that it names
        notes += open_questions(layout, arch, options)
    return replace(report, layout=layout or _code(checkpoint, arch, report), notes=tuple(_few(notes)))


def _input_channels(network: nn.Module, report: MatchReport) -> int | None:
    """Return the number of input channels of a checkpoint whose first convolution differs in that from the network's."""
    first = first_convolution(network)
    for entry in report.mismatched:
        old, new = entry.source_shape or (), entry.target_shape or ()
        if entry.target == f"{first}.weight" and len(old) == len(new) == 4 and old[:1] + old[2:] == new[:1] + new[2:]:
            return old[1]
    return None


def _whose(layout: str) -> str:
    if layout.startswith("Hugging Face"):
        return "Hugging Face's network"
    if layout.startswith("torchvision"):
        return "torchvision's network"
    return f"{layout}'s network" if layout else "the file says"


def _code(checkpoint: CheckpointTensors, arch: str, report: MatchReport) -> str:
    if checkpoint.metadata.get("manifest"):
        return "featurespace"
    for code, pattern in _CODES:
        if any(re.search(pattern, name) for name in checkpoint.tensors):
            return code
    if "lightning" in checkpoint.layout.lower():
        return "Lightning"
    if report.method != "names":
        return ""
    return arch.split("/")[0] if "/" in arch else "timm"


def _few(notes: list[str]) -> list[str]:
    """Return the notes with resampled tensors after the second counted only."""
    resampled = [note for note in notes if " resampled from " in note]
    if len(resampled) <= 2:
        return notes
    rest = [note for note in notes if note not in resampled]
    return [*rest[:1], resampled[0], f"{len(resampled) - 1} more are resampled alike", *rest[1:]]
