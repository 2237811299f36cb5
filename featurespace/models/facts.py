"""What a checkpoint tells of the training that wrote it."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

_SETTINGS = ("args", "hyper_parameters", "hparams", "config", "cfg", "opt", "options")
_PLAIN = (str, int, float, bool)
MOST = 60  # values kept of one group of settings


def training_facts(value: Any) -> dict[str, Any]:
    """Return the plain values beside the weights: epoch, arguments, optimizer, averaged weights, versions.

    Arguments are named ``args.lr``; an optimizer's kind is told from the values it keeps for each weight.
    """
    if not isinstance(value, Mapping):
        return {}
    facts: dict[str, Any] = {str(key): each for key, each in value.items() if isinstance(each, _PLAIN)}
    for name in _SETTINGS:
        settings = value.get(name)
        settings = vars(settings) if isinstance(settings, argparse.Namespace) else settings
        if isinstance(settings, Mapping):
            facts |= {f"{name}.{key}": _plain(each) for key, each in list(settings.items())[:MOST]}
    optimizers = [each for key, each in value.items() if isinstance(key, str) and key.startswith("optim")]
    for each in optimizers:
        each = each[0] if isinstance(each, list | tuple) and each else each  # Lightning's is a list
        if isinstance(each, Mapping) and (kind := optimizer_kind(each)):
            facts["optimizer"] = kind
    averaged = [str(key) for key, each in value.items() if isinstance(each, Mapping) and _is_averaged(str(key))]
    if averaged:
        facts["averaged weights"] = ", ".join(averaged)
    if "pytorch-lightning_version" in value:
        facts["framework"] = f"pytorch-lightning {value['pytorch-lightning_version']}"
    return facts


def optimizer_kind(state: Mapping[Any, Any]) -> str:
    """Return what an optimizer's state is of, with its learning rate and weight decay; "" for none known."""
    groups = state.get("param_groups")
    if not isinstance(groups, list | tuple) or not groups or not isinstance(groups[0], Mapping):
        return ""
    group = groups[0]
    marks = {
        "betas": "Adam or AdamW",
        "trust_coefficient": "LARS",
        "centered": "RMSprop",
        "nesterov": "SGD",
        "momentum": "SGD",
    }
    kind = next((name for mark, name in marks.items() if mark in group), "of unknown kind")
    told = [
        f"{key} {group[key]:g}" for key in ("lr", "momentum", "weight_decay") if isinstance(group.get(key), int | float)
    ]
    return ", ".join([kind, *told])


def _is_averaged(name: str) -> bool:
    return bool(re.search(r"(^|_)(ema|teacher|swa|averaged)(_|$)", name.lower()))


def _plain(value: Any) -> Any:
    if isinstance(value, _PLAIN) or value is None:
        return value
    return "tensor" if isinstance(value, Tensor) else str(value)[:200]
