"""What layers are turned into, kept for the pairs of models to come."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")
KEPT_BYTES = 1 << 29
"""Memory for what is kept; what was not used for longest goes first."""


class Kept(Generic[T]):
    """Things by their keys, made once and again where they had to go."""

    def __init__(self, size: Callable[[T], int]):
        self._things: OrderedDict[Hashable, T] = OrderedDict()
        self._size, self._bytes = size, 0

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the thing, made by ``make`` where it is not kept."""
        if key in self._things:
            self._things.move_to_end(key)
            return self._things[key]
        self._things[key] = made = make()
        self._bytes += self._size(made)
        while self._bytes > KEPT_BYTES and len(self._things) > 1:
            self._bytes -= self._size(self._things.popitem(last=False)[1])
        return made
