"""Two checkpoints tensor by tensor: what differs, by how much, and whether one is the other finetuned."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from featurespace.errors import FeaturespaceError
from featurespace.models.checkpoint import read_tensors
from featurespace.models.health import is_head
from featurespace.models.report import Shape

NEAR = 0.7  # of the norm; two independent trainings are about 1.4 apart
_WRAPPERS = re.compile(r"^((module|_orig_mod|model|net|network|backbone|encoder)\.)+")


@dataclass(frozen=True)
class TensorDifference:
    """One tensor of two files. ``status``: equal, differs, shape, only_a or only_b.

    ``max_abs`` is the largest absolute difference, ``relative`` is |b - a| / |a| in the Euclidean norm (NaN
    where a is all zero and b is not).
    """

    name: str
    status: str
    shape_a: Shape | None
    shape_b: Shape | None
    max_abs: float | None = None
    relative: float | None = None


@dataclass(frozen=True)
class BlockDifference:
    """The tensors of one block: how many, how many of them equal bit for bit, and the largest relative change."""

    block: str
    tensors: int
    equal: int
    largest: float | None


def compare_files(a: str | Path, b: str | Path, *, trust: bool = False) -> list[TensorDifference]:
    """Compare two checkpoints by the names of their tensors, wrappers in front left out where that finds more.

    The largest relative change comes first, then other shapes and what one of them lacks, then what is equal.
    """
    first, second = (read_tensors(each, trust=trust).tensors for each in (a, b))
    first, second = _alike(first, second)
    if not first.keys() & second.keys():
        raise FeaturespaceError(
            f"{a} and {b} have no tensor name in common ({next(iter(first))}, {next(iter(second))}); they are of "
            "different layouts: load both as ARCH@FILE and compare their features"
        )
    rows = [_difference(name, value, second.get(name)) for name, value in first.items()]
    rows += [TensorDifference(n, "only_b", None, tuple(v.shape)) for n, v in second.items() if n not in first]
    order = ("differs", "shape", "only_a", "only_b", "equal")
    return sorted(rows, key=lambda row: (order.index(row.status), -_size(row)))


def blocks(rows: Sequence[TensorDifference]) -> list[BlockDifference]:
    """Return the differences by block, the largest first; a block is a name up to its last number."""
    grouped: dict[str, list[TensorDifference]] = {}
    for row in rows:
        found = re.match(r"(.*?\.\d+(\.\d+)?)\.", row.name)
        grouped.setdefault(found[1] if found else row.name.rpartition(".")[0] or row.name, []).append(row)
    summaries = [
        BlockDifference(
            name, len(each), sum(row.status == "equal" for row in each),
            max((row.relative for row in each if row.relative is not None and row.relative == row.relative), default=None),
        )
        for name, each in grouped.items()
    ]  # fmt: skip
    return sorted(summaries, key=lambda block: -(block.largest or 0.0))


def verdict(rows: Sequence[TensorDifference]) -> str:
    """Return in one sentence whether the second file may be the first one finetuned."""
    body = [row for row in rows if not is_head(row.name)]
    shared = [row for row in body if row.relative is not None]
    weights = [row for row in shared if len(row.shape_a or ()) > 1]  # scales and shifts begin alike in any two networks
    if not shared or len(shared) < 0.9 * len(body):
        return "not the same architecture: less than nine tenths of the tensors have the same name and shape"
    equal = sum(row.status == "equal" for row in shared)
    if equal == len(shared):
        return "the same encoder: every tensor but the classifier's is equal bit for bit"
    sizes = sorted(_size(row) for row in weights) or [0.0]
    middle = sizes[len(sizes) // 2]
    told = f"{equal} of {len(shared)} tensors are equal bit for bit (frozen), the middle weight moved by {middle:.2%}"
    if middle < NEAR:
        return f"the second is probably the first trained further, or both come from one start: {told}"
    return f"the same architecture, trained independently: {told}"


def _alike(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return both under the names, with or without their wrappers, of which most are common."""
    pairs = [(x, y) for x in (dict(first), _unwrapped(first)) for y in (dict(second), _unwrapped(second))]
    return max(pairs, key=lambda pair: len(pair[0].keys() & pair[1].keys()))  # the first of equals: names as they are


def _unwrapped(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    short = {_WRAPPERS.sub("", name): value for name, value in tensors.items()}
    return short if len(short) == len(tensors) else dict(tensors)


def _difference(name: str, a: Tensor, b: Tensor | None) -> TensorDifference:
    if b is None:
        return TensorDifference(name, "only_a", tuple(a.shape), None)
    if a.shape != b.shape:
        return TensorDifference(name, "shape", tuple(a.shape), tuple(b.shape))
    if torch.equal(a, b):
        return TensorDifference(name, "equal", tuple(a.shape), tuple(b.shape), 0.0, 0.0)
    kind = torch.complex128 if a.is_complex() or b.is_complex() else torch.float64
    x, y = a.to(kind), b.to(kind)
    change, base = float((y - x).norm()), float(x.norm())
    relative = change / base if base else (0.0 if change == 0 else float("nan"))
    largest = float((y - x).abs().max()) if x.numel() else 0.0
    status = "equal" if torch.equal(x, y) else "differs"
    return TensorDifference(name, status, tuple(a.shape), tuple(b.shape), largest, relative)


def _size(row: TensorDifference) -> float:
    if row.relative is None:
        return 0.0
    return float("inf") if row.relative != row.relative else row.relative
