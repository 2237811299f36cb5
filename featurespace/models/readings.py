"""The ways to read a checkpoint's names: each known layout behind each wrapper prefix that the names suggest."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from featurespace.models.layouts.rules import RULES, method_name

_WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}


@dataclass(frozen=True)
class Reading:
    """One way to read the names: a rule and a wrapper prefix, and the new name of every tensor it knows."""

    method: str
    prefix: str
    names: dict[str, str]
    notes: tuple[str, ...] = ()


def all_readings(model_state: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> list[Reading]:
    """Return the readings of every rule, plain names first."""
    return [reading for layout in RULES for reading in _readings(layout, model_state, tensors)]


def _readings(layout: str, model_state: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> list[Reading]:
    """Return the readings of one rule, one for each wrapper prefix that the checkpoint's names suggest."""
    model_names = list(model_state)
    found = []
    for prefix in prefixes(tensors, model_names, plain=not layout):
        short = {_unwrapped(name[len(prefix) :]): name for name in tensors if name.startswith(prefix)}
        for variant in (short, _first_child(short)):
            renamed = RULES[layout](list(variant), model_names) if variant else {}
            if renamed or (not layout and variant is short):
                names = {variant[old]: new for old, new in renamed.items()}
                found.append(Reading(method_name(layout), prefix, names))
    return found


def _first_child(short: Mapping[str, str]) -> dict[str, str]:
    """Read ``Sequential(*network.children())`` of torchvision networks whose first child is ``features``."""
    if not any(re.match(r"0\.0\.", name) for name in short):
        return {}
    return {re.sub(r"^0\.", "features.", name): old for name, old in short.items()}


def _unwrapped(name: str) -> str:
    """Remove what torch.compile and activation checkpointing put into the middle of names."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def prefixes(tensors: Mapping[str, Tensor], model_names: Sequence[str], *, plain: bool) -> list[str]:
    """Return "" and the dotted beginnings of names worth trying, at most the eight most frequent ones."""
    counts: Counter[str] = Counter()
    endings = set(model_names)
    for name in tensors:
        parts = name.split(".")
        for depth in range(1, min(5, len(parts))):
            if not plain or _unwrapped(".".join(parts[depth:])) in endings:
                counts[".".join(parts[:depth]) + "."] += 1
    return ["", *(prefix for prefix, count in counts.most_common(8) if count > 1)]
