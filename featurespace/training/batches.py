"""Batches for a training, in the order of `Order`, read ahead by a thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from featurespace import files
from featurespace.progress import Progress
from featurespace.training.masks import Masks
from featurespace.training.order import Order
from featurespace.training.pixels import Pixels

AHEAD = 3  # batches


class Batch(NamedTuple):
    """A piece of a step for one process.

    ``pixels`` (b, c, h, w) as decoded, 0..255; ``targets`` (b,) class numbers, -1 for none; ``rows`` of the data;
    ``number`` of the piece since the beginning; ``whole`` images in it over all processes; ``own``, which of these.
    """

    pixels: Tensor
    targets: Tensor
    rows: np.ndarray
    number: int
    whole: int
    own: slice


class Batches:
    """The pieces of one epoch; ``next_piece`` is where the training stands, and iterating begins there."""

    def __init__(self, pixels: Pixels, targets: np.ndarray | Masks, order: Order):
        self.pixels, self.order = pixels, order
        self.targets = targets if isinstance(targets, Masks) else torch.tensor(targets)
        self.next_piece = 0

    def __len__(self) -> int:
        return self.order.steps * self.order.parts

    def target(self, rows: np.ndarray) -> Tensor:
        """Return the targets of rows of the data: class numbers, answers or masks."""
        if isinstance(self.targets, Masks):
            return torch.from_numpy(self.targets.fetch(rows)[..., 0]).long()
        return self.targets[rows]

    def known_targets(self, rows: np.ndarray) -> Tensor | None:
        """Return the targets of rows, but for masks, which are not needed twice."""
        return None if isinstance(self.targets, Masks) else self.targets[rows]

    @property
    def stamp(self) -> str:
        """What tells these images and targets from others, without reading them."""
        if isinstance(self.targets, Masks):
            return self.pixels.stamp + self.targets.stamp
        return self.pixels.stamp + files.hash_array(self.targets.numpy())

    def prepare(self, progress: Progress) -> None:
        """Decode images and masks, unless they are read anew each time."""
        self.pixels.prepare(progress)
        if isinstance(self.targets, Masks):
            self.targets.prepare(progress)

    def __iter__(self) -> Iterator[Batch]:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            self.order.rank, self.order.world = torch.distributed.get_rank(), torch.distributed.get_world_size()
        first = self.next_piece
        steps = range(first // self.order.parts, (first // len(self) + 1) * self.order.steps)
        pieces = (piece for step in steps for piece in self.order.pieces(step) if piece[0] >= first)
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(self.pixels.workers) as pool:
            waiting: deque[Future[Batch]] = deque()
            for piece in pieces:
                waiting.append(reader.submit(self._read, piece, pool))
                if len(waiting) >= AHEAD:
                    yield self._hand_over(waiting)
            while waiting:
                yield self._hand_over(waiting)

    def _hand_over(self, waiting: deque[Future[Batch]]) -> Batch:
        batch = waiting.popleft().result()
        self.next_piece = batch.number + 1
        return batch

    def _read(self, piece: tuple[int, np.ndarray, slice], pool: ThreadPoolExecutor) -> Batch:
        number, rows, own = piece
        images = self.pixels.fetch(rows[own], pool.map)
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2)  # channels last in memory
        return Batch(pixels, self.target(rows[own]), rows[own], number, len(rows), own)
