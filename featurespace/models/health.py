"""Whether weights look trained and whole: what is not finite, dead, or still as networks begin."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from featurespace.models.matching import HEAD_PREFIXES

DEAD = 1e-5  # of the largest scale, or of the median variance, of its layer
_NORM = re.compile(r"(^|[._])(bn|norm|ln|gn)\w*\.|(^|\.)(downsample|shortcut)\.1\.")
_HEAD = re.compile(rf"(^|\.)({'|'.join(HEAD_PREFIXES)})(\.\w+)*\.weight$")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or noteworthy: what, in how many of how many, and where first."""

    what: str
    count: int
    total: int
    places: tuple[str, ...]

    def __str__(self) -> str:
        more = f" and {len(self.places) - 3} more" if len(self.places) > 3 else ""
        return f"{self.what}: {self.count:,} of {self.total:,} ({', '.join(self.places[:3])}{more})"


def health(tensors: Mapping[str, Tensor]) -> list[Finding]:
    """Return what of a checkpoint's tensors is not as a trained network's; none where all is well."""
    floating = {name: value for name, value in tensors.items() if value.is_floating_point()}
    return [
        *_not_finite(floating),
        *_initial_statistics(floating),
        *_dead_channels(floating),
        *_initial_norms(floating),
        *_initial_heads(floating),
    ]


def is_head(name: str) -> bool:
    """Whether a tensor belongs to a classifier, by its name."""
    return bool(re.search(rf"(^|\.)({'|'.join(HEAD_PREFIXES)})\.", name))


def _found(what: str, counts: Mapping[str, int], total: int) -> list[Finding]:
    places = tuple(name for name, count in counts.items() if count)
    return [Finding(what, sum(counts.values()), total, places)] if places else []


def _not_finite(tensors: Mapping[str, Tensor]) -> list[Finding]:
    total = sum(value.numel() for value in tensors.values())
    kinds = {"NaN": torch.isnan, "infinite": torch.isinf}
    # A sum is finite where all values are (or nearly overflow): most tensors need no second look.
    odd = {name: value.float() for name, value in tensors.items() if not bool(torch.isfinite(value.float().sum()))}
    return [
        each
        for kind, test in kinds.items()
        for each in _found(
            f"values that are {kind}", {name: int(test(value).sum()) for name, value in odd.items()}, total
        )
    ]


def _initial_statistics(tensors: Mapping[str, Tensor]) -> list[Finding]:
    layers = [name.removesuffix("running_var") for name in tensors if name.endswith("running_var")]
    initial = {
        layer: int(
            bool((tensors[f"{layer}running_var"] == 1).all())
            and bool((tensors.get(f"{layer}running_mean", torch.zeros(1)) == 0).all())
        )
        for layer in layers
    }
    return _found(
        "BatchNorm statistics at their initial values", {k.rstrip("."): v for k, v in initial.items()}, len(layers)
    )


def _dead_channels(tensors: Mapping[str, Tensor]) -> list[Finding]:
    scales, variances, filters = {}, {}, {}
    total = dict.fromkeys(("scales", "variances", "filters"), 0)
    for name, value in tensors.items():
        size = value.float().abs()
        if name.endswith("running_var"):
            total["variances"] += value.numel()
            variances[name] = int((size <= DEAD * size.median()).sum()) if value.numel() else 0
        elif value.ndim == 1 and name.endswith("weight") and _NORM.search(name) and float(size.max()) > 0:
            total["scales"] += value.numel()
            scales[name] = int((size <= DEAD * size.max()).sum())
        elif value.ndim >= 2 and name.endswith("weight") and value.numel():
            total["filters"] += len(value)
            filters[name] = int((size.flatten(1).amax(1) == 0).sum())
    return [
        *_found("filters that are all zero", filters, total["filters"]),
        *_found("channels that a normalisation scales to nothing", scales, total["scales"]),
        *_found("channels without variance in BatchNorm's statistics", variances, total["variances"]),
    ]


def _initial_norms(tensors: Mapping[str, Tensor]) -> list[Finding]:
    """Find networks whose normalisations all scale by exactly 1, or 0, and shift by 0: what no training leaves."""
    norms = [
        name for name, value in tensors.items() if value.ndim == 1 and name.endswith("weight") and _NORM.search(name)
    ]
    initial = {name: int(bool((tensors[name] == tensors[name][0]).all()) and float(tensors[name][0]) in (0.0, 1.0)
                         and bool((tensors.get(name[:-6] + "bias", torch.zeros(1)) == 0).all())) for name in norms}  # fmt: skip
    if norms and all(initial.values()):
        return _found("never trained: normalisations are as they are initialised", initial, len(norms))
    return []


def _initial_heads(tensors: Mapping[str, Tensor]) -> list[Finding]:
    heads = {name: value for name, value in tensors.items() if value.ndim == 2 and _HEAD.search(name)}
    looks = {name: _initial_values(value, tensors.get(name[:-6] + "bias")) for name, value in heads.items()}
    return [
        each
        for why in ("torch's uniform", "a normal of 0.01 or 0.02, bias exactly zero")
        for each in _found(
            f"classifiers that look untrained ({why})",
            {name: int(look == why) for name, look in looks.items()},
            len(heads),
        )
    ]


def _initial_values(weight: Tensor, bias: Tensor | None) -> str:
    """Return which initial distribution a linear layer's values look like: by range and deviation."""
    values = weight.float()
    if values.numel() < 200:
        return ""
    bound, deviation = 1 / math.sqrt(weight.shape[1]), float(values.std())
    tolerance = 4 / math.sqrt(values.numel())  # four standard errors of a deviation, at least
    within = float(values.abs().max()) <= bound * 1.001 and (bias is None or float(bias.abs().max()) <= bound * 1.001)
    if within and abs(deviation * math.sqrt(3) / bound - 1) < tolerance:
        return "torch's uniform"
    if (
        bias is not None
        and bool((bias == 0).all())
        and any(abs(deviation / std - 1) < tolerance for std in (0.01, 0.02))
    ):
        return "a normal of 0.01 or 0.02, bias exactly zero"
    return ""
