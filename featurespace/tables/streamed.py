"""CKA of large data sets: exact, of all images, from chunks of their features, so that memory is bounded whatever n."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from featurespace import distributed
from featurespace.metrics.arrays import magnitude
from featurespace.metrics.moments import Moments, hsic_of_moments, moments, parts_of
from featurespace.metrics.streaming import ROUNDING, BlockHSIC, cka_of_blocks
from featurespace.progress import Progress
from featurespace.stats.estimate import Estimate
from featurespace.tables.stores import Stores

AT_ONCE = 20_000
"""Images of a data set up to which the features are in memory and each image, or group, is left out in turn."""
BLOCKS = 20
"""Blocks that are left out of more images: an image, or a group, goes to one of them by its name."""
TILE = 2048
"""Features of layers side by side whose sums are in memory at once: 22 x 8 TILE^2 bytes, 0.7 GB."""
WIDEST = 8192
"""Features of one layer, whose sums take 12 GB."""
CHUNK = 8192
"""Images whose features are in memory at once."""

Place = tuple[str, str]  # model and layer


def is_streamed(stores: Stores, data: str) -> bool:
    """Whether the CKA of a data set is computed from chunks, with blocks left out in turn."""
    return len(stores.samples(data)) > AT_ONCE


def block_sizes(stores: Stores, data: str) -> np.ndarray:
    """Return how many images each block holds."""
    return np.bincount(_blocks(stores, data), minlength=BLOCKS)


def _blocks(stores: Stores, data: str) -> np.ndarray:
    groups = stores.column(data, "group")
    names = stores.samples(data)["id"].to_numpy(str) if groups is None else groups
    unique, codes = np.unique(names, return_inverse=True)
    return np.array([zlib.crc32(name.encode()) % BLOCKS for name in unique.tolist()])[codes]


class StreamedCKA:
    """CKA of layers of models on one data set; `add` what is wanted, then ask for estimates.

    Parameters
    ----------
    stores : the stores
    data : the data set

    Notes
    -----
    A tile is some layers of a model side by side, `TILE` features at most (or one wider layer). Each two tiles are one pass over
    their features, with sums of products in float64 for each block: O(n D E) time. Of several processes each takes its share of the
    chunks, and the sums are added up.
    """

    def __init__(self, stores: Stores, data: str):
        self.stores, self.data = stores, data
        self.blocks = _blocks(stores, data)
        self.sizes = np.bincount(self.blocks, minlength=BLOCKS)
        self.hsic: dict[tuple[Place, Place], BlockHSIC] = {}
        self._scaling: dict[Place, tuple[np.ndarray, float]] = {}

    def problem(self, model: str, layer: str) -> str:
        """Return why a layer has no CKA; empty where it has one."""
        width = self.stores.stores[model, self.data][layer].shape[1]
        if width > WIDEST:
            return (
                f"has {width:,} features an image; of more than {AT_ONCE:,} images CKA takes layers of up to {WIDEST:,} "
                "(--pool avg makes them narrower, --limit takes fewer images)"
            )
        own = self.hsic.get(((model, layer), (model, layer)))
        return (
            "is constant: every sample has the same features, so CKA with it is undefined"
            if own and own.value <= ROUNDING
            else ""
        )

    def tiles(self, model: str) -> list[list[Place]]:
        """Return the layers of a model in tiles."""
        tiles: list[list[Place]] = []
        width = TILE
        for layer in self.stores.layers(model):
            if self.problem(model, layer):
                continue
            own = self.stores.stores[model, self.data][layer].shape[1]
            if width + own > TILE:
                tiles.append([])
                width = 0
            tiles[-1].append((model, layer))
            width += own
        return tiles

    def passes(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[list[Place], list[Place]]]:
        """Return the pairs of tiles that give the CKA of pairs of models; each tile with itself is among them."""
        models = list(dict.fromkeys(model for pair in pairs for model in pair))
        tiles = {model: self.tiles(model) for model in models}
        found = [(tile, tile) for model in models for tile in tiles[model]]
        for a, b in pairs:
            wanted = list(product(enumerate(tiles[a]), enumerate(tiles[b])))
            found += [(first, second) for (i, first), (j, second) in wanted if a != b or i < j]
        return found

    def add(self, first: list[Place], second: list[Place]) -> None:
        """Compute the HSIC of each layer of one tile with each of another; all processes take part."""
        left, right = (
            [slice_ for slice_ in parts_of([self._width(each) for each in tile])] for tile in (first, second)
        )
        sums: list[Moments] | None = None
        mine = range(CHUNK * distributed.rank(), len(self.blocks), CHUNK * distributed.size())
        for start in mine:
            rows = slice(start, start + CHUNK)
            Z = self._chunk(first, rows)
            W = Z if first is second else self._chunk(second, rows)
            sums = sums or [Moments.zero(left, right, Z) for _ in range(BLOCKS)]
            block = self.blocks[rows]
            for number in np.unique(block).tolist():
                of = np.flatnonzero(block == number)
                sums[number].plus(moments(Z[of], W[of], left, right))
        own = [each.to_numpy() for each in sums] if sums else [Moments.zero(left, right, np.empty(0))] * BLOCKS
        blocks = [Moments(*distributed.total(each)) for each in own]
        whole = Moments(*(sum(each[1:], 1 * each[0]) for each in zip(*blocks)))
        n = len(self.blocks)
        value = hsic_of_moments(whole, n, left, right)
        without = np.stack([
            hsic_of_moments(whole.minus(each), n - size, left, right)
            for each, size in zip(blocks, self.sizes.tolist()) if size
        ])  # fmt: skip
        for (a, one), (b, other) in product(enumerate(first), enumerate(second)):
            self.hsic[one, other] = BlockHSIC(float(value[a, b]), without[:, a, b])
            self.hsic[other, one] = self.hsic[one, other]

    def _width(self, place: Place) -> int:
        return int(self.stores.stores[place[0], self.data][place[1]].shape[1])

    def _chunk(self, tile: list[Place], rows: slice) -> Any:
        """Return shifted and scaled features of a tile's layers side by side, on the device of the statistics."""
        columns = []
        for model, layer in tile:
            features = self.stores.stores[model, self.data][layer]
            if (model, layer) not in self._scaling:
                start = np.asarray(features[:CHUNK], dtype=np.float64)
                # a power of two for each layer: exact, and fourth powers stay far from overflow
                size = np.ldexp(1.0, -int(np.frexp(magnitude(start - start.mean(axis=0)))[1]))
                self._scaling[model, layer] = start.mean(axis=0), float(size)
            shift, size = self._scaling[model, layer]
            columns.append((np.asarray(features[rows], dtype=np.float64) - shift) * size)
        chunk = np.concatenate(columns, axis=1)
        if self.stores.device == "cpu":
            return chunk
        import torch

        return torch.from_numpy(chunk).to(self.stores.device)

    def estimate(self, first: Place, second: Place) -> Estimate | None:
        """Return the CKA of two layers, None where one has none."""
        groups = self.stores.column(self.data, "group")
        unit = "sample" if groups is None else "group"
        count = len(self.blocks) if groups is None else len(np.unique(groups))
        hsic = [self.hsic[pair] for pair in ((first, second), (first, first), (second, second))]
        sizes = self.sizes[self.sizes > 0]
        reason = "" if len(sizes) >= 5 else f"{len(sizes)} blocks of groups, at least 5 needed"
        found = cka_of_blocks(*hsic, sizes=sizes, n=len(self.blocks), unit=unit, same=first == second, reason=reason)
        return found and replace(found, n_groups=count)


def streamed_matrices(
    stores: Stores, data: str, pairs: Sequence[tuple[str, str]], progress: Progress
) -> Iterator[tuple[tuple[str, str], list[list[Estimate | None]], dict[str, dict[str, str]]]]:
    """Yield each pair of models with the CKA of all their usable layers, and why other layers have none."""
    distributed.told((data, list(pairs)))
    cka = StreamedCKA(stores, data)
    passes = cka.passes(pairs)
    with progress.bar(f"CKA on {data}", len(passes), "passes") as advance:
        for first, second in passes:
            cka.add(first, second)
            advance(1)
    problems = {
        model: {layer: why for layer in stores.layers(model) if (why := cka.problem(model, layer))}
        for model in dict.fromkeys(model for pair in pairs for model in pair)
    }
    for a, b in pairs:
        places = [
            [(model, layer) for layer in stores.layers(model) if layer not in problems[model]] for model in (a, b)
        ]
        yield (a, b), [[cka.estimate(one, other) for other in places[1]] for one in places[0]], problems


def help_with_cka(stores: Stores) -> None:
    """Take part in what the first process computes by `streamed_matrices`, until it says that it needs no help."""
    while (job := distributed.told(None)) is not None:
        data, pairs = job
        cka = StreamedCKA(stores, data)
        for first, second in cka.passes(pairs):
            cka.add(first, second)
