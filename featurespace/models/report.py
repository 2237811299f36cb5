"""What of a checkpoint went where: the record that every foreign checkpoint carries into the tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

Shape = tuple[int, ...]


@dataclass(frozen=True)
class TensorMatch:
    """One tensor of the checkpoint (``source``), of the network (``target``), or of both."""

    source: str | None
    target: str | None
    source_shape: Shape | None
    target_shape: Shape | None


@dataclass(frozen=True)
class MatchReport:
    """How a checkpoint fits the backbone of a network.

    ``reshaped`` are loaded after a change of shape (position embeddings, a linear layer as 1x1 convolution)
    and also count as loaded; ``mismatched`` have the right name and another shape, and were not loaded.
    Shares are of the backbone: ``share_of_parameters`` by number of values, ``share_of_tensors`` by number of
    tensors; running statistics count, ``num_batches_tracked`` does not. ``layout`` names whose names the file
    has, where that is known.
    """

    method: str
    prefix: str
    matched: tuple[TensorMatch, ...]
    reshaped: tuple[TensorMatch, ...]
    mismatched: tuple[TensorMatch, ...]
    missing: tuple[TensorMatch, ...]
    unexpected: tuple[TensorMatch, ...]
    ignored_head: tuple[str, ...]
    share_of_parameters: float
    share_of_tensors: float
    notes: tuple[str, ...] = ()
    layout: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values, for JSON."""
        return asdict(self)

    def to_table(self) -> list[dict[str, Any]]:
        """Return one row a tensor: status, source, target, their shapes as text, parameters, method."""
        rows = []
        for status in ("matched", "reshaped", "mismatched", "missing", "unexpected"):
            rows += [self._row(status, entry) for entry in getattr(self, status)]
        rows += [self._row("ignored_head", TensorMatch(name, None, None, None)) for name in self.ignored_head]
        return rows

    def summary(self) -> str:
        """Return the report in one line."""
        loaded, total = len(self.matched) + len(self.reshaped), len(self.missing) + len(self.mismatched)
        parts = [
            f"{loaded} of {loaded + total} backbone tensors matched ({self.share_of_parameters:.2%} of the values)",
            f"by {self.method}" + (f" without the prefix {self.prefix!r}" if self.prefix else ""),
            *([f"layout {self.layout}"] if self.layout else []),
        ]
        parts += [
            f"{len(entries)} {word}"
            for word, entries in (("reshaped", self.reshaped), ("unexpected", self.unexpected))
            if entries
        ]
        if self.missing:
            parts.append(f"left at random values: {_first(self.missing, 'target')}")
        if self.ignored_head:
            parts.append(f"classifier left out ({', '.join(self.ignored_head[:2])})")
        return ", ".join(parts) + "".join(f"; {note}" for note in self.notes)

    def _row(self, status: str, entry: TensorMatch) -> dict[str, Any]:
        shape = entry.target_shape if entry.target_shape is not None else entry.source_shape
        return {
            "status": status,
            "source": entry.source,
            "target": entry.target,
            "source_shape": shape_text(entry.source_shape),
            "target_shape": shape_text(entry.target_shape),
            "parameters": size(shape) if shape is not None else None,
            "method": self.method,
        }


def size(shape: Iterable[int]) -> int:
    """Return the number of values in a tensor of this shape."""
    total = 1
    for length in shape:
        total *= length
    return total


def shape_text(shape: Shape | None) -> str | None:
    """Return a shape as in ``64x3x7x7``; ``scalar`` for none at all."""
    if shape is None:
        return None
    return "x".join(map(str, shape)) or "scalar"


def insufficient(report: MatchReport, where: str, arch: str, *, minimum: float, refused: str = "") -> str:
    """Return why a checkpoint does not fit: the shares, the first names on either side, and differing shapes."""
    parts = [
        f"{where} does not fit {arch}: {report.share_of_parameters:.1%} of the backbone's values and "
        f"{report.share_of_tensors:.1%} of its tensors were found, {minimum:.0%} of both are needed"
    ]
    if report.missing:
        parts.append(f"missing {_first(report.missing, 'target')}")
    if report.unexpected:
        parts.append(f"not used {_first(report.unexpected, 'source')}")
    if report.mismatched:
        one = report.mismatched[0]
        shapes = f"{shape_text(one.source_shape)} in the file, {shape_text(one.target_shape)} in the network"
        parts.append(f"{len(report.mismatched)} of another shape, e.g. {one.target}: {shapes}")
    if refused:
        parts.append(f"order and shapes agree, but that is ambiguous and was refused ({refused}); rename the tensors")
    return "; ".join(parts) + "."


def _first(entries: Sequence[TensorMatch], attribute: str) -> str:
    names = [str(getattr(entry, attribute)) for entry in entries[:3]]
    return ", ".join(names) + (f" and {len(entries) - 3} more" if len(entries) > 3 else "")
