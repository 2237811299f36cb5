"""A layout as a list of substitutions, known by one name that only it has."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Substitution = tuple[str, str | Callable[[re.Match[str]], str]]


@dataclass(frozen=True)
class Patterns:
    """A rule made of substitutions, each applied to every name in turn.

    ``sign`` must match the beginning of some name: so a wrapper before the names does not go unnoticed, and a
    checkpoint of another layout costs one look at its names.
    """

    sign: str
    substitutions: Sequence[Substitution]

    def __call__(self, names: Sequence[str], model_names: Sequence[str]) -> dict[str, str]:
        """Return the new name of every tensor, or nothing where the layout is another one."""
        sign = re.compile(self.sign)
        if not any(sign.match(name) for name in names):
            return {}
        return {name: self._renamed(name) for name in names}

    def _renamed(self, name: str) -> str:
        for pattern, new in self.substitutions:
            name = re.sub(pattern, new, name)
        return name


def next_number(before: str, after: str = "") -> Callable[[re.Match[str]], str]:
    """Return a replacement by ``before``, the number found plus one, and ``after``."""
    return lambda found: f"{before}{int(found[1]) + 1}{after}"
