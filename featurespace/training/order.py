"""Which images come at which step: a function of the seed and the step alone, so that a training can go on anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from featurespace import seeding


class Order:
    """The rows of every batch of every epoch, for one process of several.

    An epoch shows each image once, in an order of its own; what is left after the last whole batch is shown in
    another epoch. With ``weights`` an epoch has as many images, each data set has its share of every batch up to one
    image, and its images are used evenly.

    Parameters
    ----------
    sizes : images of each data set, whose rows follow each other
    batch_size : images a step, over all processes and parts
    parts : how many pieces a step's batch is worked on in, one after the other
    rank, world : this process and how many there are; each takes its slice of every piece
    """

    def __init__(
        self,
        sizes: Sequence[int],
        batch_size: int,
        *,
        seed: int,
        weights: Sequence[float] | None = None,
        parts: int = 1,
    ):
        self.sizes, self.batch_size, self.seed, self.weights, self.parts = sizes, batch_size, seed, weights, parts
        self.rank, self.world = 0, 1
        self.steps = sum(sizes) // batch_size  # an epoch

    def batch(self, step: int) -> np.ndarray:
        """Return the rows of a step, over all processes; steps are counted from the beginning of the training."""
        epoch, place = divmod(step, self.steps)
        if self.weights is None:
            rows = seeding.child(self.seed, "order", str(epoch)).permutation(sum(self.sizes))
            return rows[place * self.batch_size : (place + 1) * self.batch_size]
        return self._mixed(step)

    def _mixed(self, step: int) -> np.ndarray:
        assert self.weights is not None
        shares = np.cumsum(self.weights) / np.sum(self.weights)
        first, last = step * self.batch_size, (step + 1) * self.batch_size
        counts = [np.floor(edge * np.append(0, shares)).astype(int) for edge in (first, last)]
        counts = [np.append(np.diff(count)[:-1], edge - count[-2]) for count, edge in zip(counts, (first, last))]
        starts = np.append(0, np.cumsum(self.sizes))
        rows = [
            starts[source] + self._stream(source, int(counts[0][source]), int(counts[1][source]))
            for source in range(len(self.sizes))
        ]
        return seeding.child(self.seed, "mix", str(step)).permutation(np.concatenate(rows))

    def _stream(self, source: int, first: int, last: int) -> np.ndarray:
        """Return places ``first`` to ``last`` of the endless stream of one data set, permutation after permutation."""
        size = self.sizes[source]
        rounds = range(first // size, (last - 1) // size + 1) if last > first else ()
        pieces = [seeding.child(self.seed, "stream", str(source), str(each)).permutation(size) for each in rounds]
        offset = first // size * size
        return np.concatenate([*pieces, np.empty(0, int)])[first - offset : last - offset].astype(int)

    def pieces(self, step: int) -> Iterator[tuple[int, np.ndarray, slice]]:
        """Yield number, rows of the whole piece, and this process's slice of it."""
        for part, rows in enumerate(np.array_split(self.batch(step), self.parts)):
            own = len(rows) // self.world
            yield step * self.parts + part, rows, slice(self.rank * own, (self.rank + 1) * own)
