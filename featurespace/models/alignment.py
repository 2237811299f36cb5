"""Alignment of two lists of tensors by order and shape, accepted only where it has exactly one reading.

Order and shape alone can place every tensor and still be wrong: a shortcut and the last convolution of a
bottleneck have the same shape, two blocks of a stage are alike. So modules are compared whole (all their
tensors at once), the two sequences must agree from end to end, and any two modules that could be exchanged
must be told apart by their names: by numbers that rise, or by words that both layouts use in the same sense.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

_BRANCH = {"downsample", "shortcut", "skip", "residual", "identity", "bypass", "sc"}
_SYNONYMS = {
    "bn": "norm",
    "ln": "norm",
    "gn": "norm",
    "batchnorm": "norm",
    "layernorm": "norm",
    "groupnorm": "norm",
    "linear": "fc",
    "dense": "fc",
    "convolution": "conv",
    **dict.fromkeys(_BRANCH, "shortcut"),
    **dict.fromkeys(("block", "blocks", "layer", "layers", "stage", "stages", "features", "s", "b"), "block"),
}
Signature = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class Alignment:
    """``pairs`` (source name to target name) if there is exactly one reading, else the reason why not.

    ``fits`` says that kinds and shapes agreed from end to end, so that only the names stood in the way.
    """

    pairs: dict[str, str]
    reason: str
    fits: bool = False


def align(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> Alignment:
    """Align the tensors of ``source`` with those of ``target`` one to one, in order."""
    ours, theirs = _by_module(target), _by_module(source)
    if len(ours) != len(theirs):
        return Alignment({}, f"{len(theirs)} modules with weights where the network has {len(ours)}")
    for (old, a), (new, b) in zip(theirs.items(), ours.items()):
        if a != b:
            return Alignment({}, f"the order of shapes differs first at {old} {_words(a)} and {new} {_words(b)}")
    twins = _doubtful(list(theirs), list(ours), list(ours.values()))
    if twins is not None:
        return Alignment({}, f"{twins[0]} and {twins[1]} could be exchanged: {twins[2]}", fits=True)
    pairs = {}
    for old, new in zip(theirs, ours):
        for kind, _ in theirs[old]:
            pairs[_join(old, kind)] = _join(new, kind)
    return Alignment(pairs, "", fits=True)


def _by_module(tensors: Mapping[str, Tensor]) -> dict[str, Signature]:
    grouped: dict[str, list[tuple[str, tuple[int, ...]]]] = {}
    for name, value in tensors.items():
        module, _, kind = name.rpartition(".")
        grouped.setdefault(module, []).append((kind, tuple(value.shape)))
    # Sorted: within one module the kind says which tensor is which, whatever their order.
    return {module: tuple(sorted(entries)) for module, entries in grouped.items()}


def _doubtful(old: Sequence[str], new: Sequence[str], signatures: Sequence[Signature]) -> tuple[str, str, str] | None:
    """Return the first two source modules with equal signatures that names do not tell apart, and why."""
    last: dict[Signature, int] = {}
    for index, signature in enumerate(signatures):
        if signature in last:
            before = last[signature]
            why = _contradiction((old[before], old[index]), (new[before], new[index]))
            if why:
                return old[before], old[index], why
        last[signature] = index
    return None


def _contradiction(old: tuple[str, str], new: tuple[str, str]) -> str:
    """Return why the names do not confirm the order of two alike modules, or an empty string."""
    branches = [tuple(_is_branch(name) for name in pair) for pair in (old, new)]
    if branches[0] != branches[1]:
        return f"in the network they would be {new[0]} and {new[1]}, and one of these is a shortcut"
    if branches[0][0] != branches[0][1]:
        return ""
    first, second = _tokens(old[0]), _tokens(old[1])
    differing = next((pair for pair in zip(first, second) if pair[0] != pair[1]), None)
    if differing is None:
        return "their names differ in length only"
    a, b = differing
    if isinstance(a, int) and isinstance(b, int):
        return "" if a < b else f"their numbers fall ({a}, then {b})"
    here, there = _kinds(old), _kinds(new)
    if here == there and here[0] != here[1]:
        return ""
    depth = [tuple(_in_numbered(name) for name in pair) for pair in (old, new)]
    if depth[0] == depth[1] and depth[0][0] != depth[0][1]:
        return ""
    return f"nothing in their names says which is {new[0]} and which is {new[1]}"


def _tokens(name: str) -> list[str | int]:
    """Split a name into words and numbers: ``_blocks.3._bn1`` is block, 3, norm, 1."""
    parts = re.findall(r"\d+|[A-Za-z]+", name)
    return [int(part) if part.isdigit() else _SYNONYMS.get(part.lower(), part.lower()) for part in parts]


def _kinds(pair: tuple[str, str]) -> list[str | int]:
    """Return the first token at which the two names differ, for each."""
    for a, b in zip(_tokens(pair[0]), _tokens(pair[1])):
        if a != b:
            return [a, b]
    return []


def _is_branch(name: str) -> bool:
    return "shortcut" in _tokens(name)


def _in_numbered(name: str) -> bool:
    return any(part.isdigit() for part in name.split("."))


def _join(module: str, kind: str) -> str:
    return f"{module}.{kind}" if module else kind


def _words(signature: Signature) -> str:
    return ", ".join(f"{kind} {'x'.join(map(str, shape)) or 'scalar'}" for kind, shape in signature)
