"""A checkpoint brought to a network: names, joins, resampled positions, and timm's own conversion where they do not do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from featurespace.models.guess import suggestion
from featurespace.models.layouts.joins import prepared
from featurespace.models.matching import HEAD_PREFIXES, Match, best_match, check, is_sufficient, match
from featurespace.models.networks import checkpoint_filter
from featurespace.models.report import MatchReport, TensorMatch
from featurespace.models.resampling import resampled


def match_network(
    network: nn.Module, tensors: Mapping[str, Tensor], *, heads: Sequence[str], where: str, arch: str
) -> Match:
    """Match a checkpoint with a network; timm's own conversion is tried where known names do not do it all."""
    state = network.state_dict()
    tensors = prepared(tensors, list(state))
    all_heads = tuple(dict.fromkeys([*heads, *HEAD_PREFIXES]))
    hint = partial(suggestion, tensors, arch)
    plain = best_match(state, tensors, head_prefixes=all_heads, resize=partial(resampled, network))
    if is_sufficient(plain.report) and not plain.report.mismatched:
        check(plain, where=where, arch=arch, hint=hint)
        return plain
    for origin in _origins(plain, tensors):
        converted = _converted(network, {new: tensors[old] for new, old in origin.items()})
        if converted is None:
            continue
        found = best_match(state, converted, head_prefixes=all_heads)
        better = found.report.share_of_parameters > plain.report.share_of_parameters
        if better and is_sufficient(found.report):
            found = _with_origin(found, tensors, plain.report, origin)
            check(found, where=where, arch=arch, hint=hint)
            return found
    return match(state, tensors, head_prefixes=heads, where=where, arch=arch, hint=hint)


def _origins(plain: Match, tensors: Mapping[str, Tensor]) -> list[dict[str, str]]:
    """Return the names to give to timm's conversion, and those in the file: renamed by a known layout, and as they are."""
    report = plain.report
    entries = (*report.matched, *report.reshaped, *report.mismatched, *report.unexpected)
    renamed = {entry.target: entry.source for entry in entries if entry.target and entry.source}
    short = {name[len(report.prefix) :]: name for name in tensors if name.startswith(report.prefix)}
    return [short] if report.method == "names" else [renamed, short]


def _converted(network: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor] | None:
    convert = checkpoint_filter(network)
    if convert is None:
        return None
    try:
        with torch.no_grad():
            return convert(tensors)
    except Exception:  # a layout that the filter does not know; the plain match then explains what is missing
        return None


def _with_origin(found: Match, tensors: Mapping[str, Tensor], plain: MatchReport, origin: Mapping[str, str]) -> Match:
    """Set the names and shapes of the file where timm's conversion changed them, and say so."""
    matched: list[TensorMatch] = []
    reshaped = list(found.report.reshaped)
    for entry in found.report.matched:
        name = origin.get(entry.source or "")
        before = tuple(tensors[name].shape) if name is not None else entry.source_shape
        new = TensorMatch(name or entry.source, entry.target, before, entry.target_shape)
        (matched if before == entry.target_shape else reshaped).append(new)
    report = replace(
        found.report,
        prefix=plain.prefix,
        matched=tuple(matched),
        reshaped=tuple(reshaped),
        notes=("converted by timm's own checkpoint filter",),
    )
    return replace(found, report=report)
