"""Sums of products of layers side by side, by block, from which CKA of all images follows."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from featurespace import distributed
from featurespace.metrics.arrays import magnitude
from featurespace.metrics.moments import Moments, hsic_of_moments, moments, parts_of
from featurespace.metrics.sketch import CountSketch
from featurespace.metrics.streaming import BlockHSIC

BLOCKS = 20
"""Blocks that are left out in turn: an image, or a group, goes to one of them by its name."""

Place = tuple[str, str]  # model and layer
Column = tuple[str, str, str]  # model, layer, and which sketch of it: "" where it is taken as it is, else "a" or "b"


class TileSums:
    """Sums of products of two tiles of layers, by block, from which the HSIC of each layer of one with each of the other follows.

    Parameters
    ----------
    first, second : the layers (or sketches of them), whose features stand side by side
    widths : features of each
    """

    def __init__(self, first: Sequence[Column], second: Sequence[Column], widths: Mapping[Column, int]):
        self.first, self.second = first, second
        self.left, self.right = (parts_of([widths[each] for each in tile]) for tile in (first, second))
        self.sums: list[Moments] = []

    @property
    def bytes(self) -> int:
        """Memory that the sums take."""
        return 8 * BLOCKS * self.left[-1].stop * self.right[-1].stop

    def add(self, Z: Any, W: Any, block: np.ndarray) -> None:
        """Add shifted and scaled features of some images, and the block of each."""
        self.sums = self.sums or [Moments.zero(self.left, self.right, Z) for _ in range(BLOCKS)]
        for number in np.unique(block).tolist():
            of = np.flatnonzero(block == number)
            self.sums[number].plus(moments(Z[of], W[of], self.left, self.right))

    def hsic(self, sizes: np.ndarray) -> Iterator[tuple[tuple[Column, Column], BlockHSIC]]:
        """Yield each two columns with their HSIC, of the images of all processes, of which each block holds so many."""
        own = [each.to_numpy() for each in self.sums]
        own = own or [Moments.zero(self.left, self.right, np.empty(0)) for _ in range(BLOCKS)]  # summed up in place
        blocks = [Moments(*distributed.total(each)) for each in own]
        whole = Moments(*(sum(each[1:], 1 * each[0]) for each in zip(*blocks)))
        n = int(sizes.sum())
        value = hsic_of_moments(whole, n, self.left, self.right)
        left_out = [(each, n - size) for each, size in zip(blocks, sizes.tolist()) if size]
        without = np.stack(
            [hsic_of_moments(whole.minus(each), m, self.left, self.right, of=whole) for each, m in left_out]
        )
        for (a, one), (b, other) in product(enumerate(self.first), enumerate(self.second)):
            yield (one, other), BlockHSIC(float(value[a, b]), without[:, a, b])


class Scaling:
    """What is taken off the features of layers, and the power of two they are divided by: exact, and far from overflow.

    Parameters
    ----------
    width : features of a sketch
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self.known: dict[Column, tuple[np.ndarray, float]] = {}
        self._sketches: dict[Column, CountSketch] = {}

    def begin(self, column: Column, features: np.ndarray) -> None:
        """Choose them for a layer by some of its images."""
        start = self._narrow(column, features)
        size = np.ldexp(1.0, -int(np.frexp(magnitude(start - start.mean(axis=0)))[1]))
        self.known[column] = start.mean(axis=0), float(size)

    def __call__(self, column: Column, features: np.ndarray) -> np.ndarray:
        """Return shifted and scaled features of a layer, or of a sketch of it, in float64."""
        shift, size = self.known[column]
        return (self._narrow(column, features) - shift) * size

    def _narrow(self, column: Column, features: np.ndarray) -> np.ndarray:
        if not column[2]:
            return np.asarray(features, dtype=np.float64)
        if column not in self._sketches:  # the same in every process and command
            rng = np.random.default_rng(zlib.crc32("\0".join(column).encode()))
            self._sketches[column] = CountSketch(features.shape[1], width=self.width, rng=rng)
        return self._sketches[column](features)


def placed(features: np.ndarray, device: str) -> Any:
    """Return features on a device."""
    if device == "cpu":
        return features
    import torch

    return torch.from_numpy(features).to(device)
