"""CKA of large data sets: exact, of all images, from chunks of their features, so that memory is bounded whatever n."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, product
from typing import Any

import numpy as np
import pandas as pd

from featurespace import distributed
from featurespace.metrics.hsic import ROUNDING
from featurespace.metrics.streaming import BlockHSIC, cka_of_blocks
from featurespace.progress import Progress
from featurespace.stats.estimate import Estimate
from featurespace.tables.stores import Stores
from featurespace.tables.tiles import BLOCKS, Column, Place, Scaling, TileSums, placed

AT_ONCE = 20_000
"""Images of a data set up to which the features are in memory and each image, or group, is left out in turn."""
TILE = 2048
"""Features of layers side by side whose sums are in memory at once: 22 x 8 TILE^2 bytes, 0.7 GB."""
WIDEST = 4096
"""Features of one layer, whose sums take 3 GB; a wider one, of unpooled maps, is sketched."""
SKETCH = 2048
"""Features of each of the two sketches of a wider layer."""
CHUNK = 8192
"""Images whose features are in memory at once, of layers of up to `TILE` features; fewer of wider ones."""
MEMORY = 1 << 32
"""Bytes that the features of models compared with each other take at once, unless two models take more; a data set of which one
model takes more is gone through in chunks."""

Matrix = list[list[Estimate | None]]
Problems = dict[str, str]  # by layer


def is_streamed(stores: Stores, data: str) -> bool:
    """Whether the CKA of a data set is computed from chunks, with blocks left out in turn."""
    n = len(stores.samples(data))
    return n > AT_ONCE or not stores.kept or max(bytes_at_once(stores, model, n) for model in stores.models) > MEMORY


def bytes_at_once(stores: Stores, model: str, n: int) -> int:
    """Return what the features of a model take that are prepared for CKA, or its kernels where these are smaller."""
    return sum(8 * n * min(n, width) for width in stores.widths(model).values())


def block_sizes(stores: Stores, data: str) -> np.ndarray:
    """Return how many images each block holds."""
    return np.bincount(blocks_of(stores, data), minlength=BLOCKS)


def blocks_of(stores: Stores, data: str) -> np.ndarray:
    """Return the block of each image."""
    samples = stores.samples(data)
    groups = samples["group"].fillna("\0" + samples["id"]) if samples["group"].notna().any() else samples["id"]
    codes, names = pd.factorize(groups)
    return np.array([zlib.crc32(name.encode()) % BLOCKS for name in names.tolist()], dtype=np.int8)[codes]


class StreamedCKA:
    """CKA of layers of models on one data set, from HSIC that `add` computes from the stores.

    Parameters
    ----------
    stores : the stores
    data : the data set

    Notes
    -----
    A tile is some layers of a model side by side, `TILE` features at most (or one wider layer). Each two tiles are one pass over
    their features, with sums of products in float64 for each block: O(n D E) time. Of several processes each takes its share of the
    chunks, and the sums are added up. A layer wider than `WIDEST` stands as two independent sketches: its HSIC with itself is
    theirs with each other, that with another layer their mean, and half the difference counts as a further error of the CKA.
    """

    def __init__(self, stores: Stores, data: str):
        self.stores, self.data = stores, data
        self.blocks = blocks_of(stores, data)
        self.sizes = np.bincount(self.blocks, minlength=BLOCKS)
        self.widths = {
            (model, layer): width for model in stores.models for layer, width in stores.widths(model).items()
        }
        self.hsic: dict[tuple[Column, Column], BlockHSIC] = {}
        self._scaling = Scaling(SKETCH)

    def problem(self, model: str, layer: str) -> str:
        """Return why a layer has no CKA; empty where it has one."""
        still = self._hsic((model, layer), (model, layer)).value <= ROUNDING
        return "is constant: every sample has the same features, so CKA with it is undefined" if still else ""

    def columns(self, place: Place) -> list[Column]:
        """Return what stands for a layer: itself, or two sketches."""
        return [(*place, part) for part in (("a", "b") if self.widths[place] > WIDEST else ("",))]

    def tiles(self, model: str) -> list[list[Column]]:
        """Return the layers of a model in tiles."""
        tiles: list[list[Column]] = []
        width = TILE
        for column in (each for layer in self.stores.layers(model) for each in self.columns((model, layer))):
            own = self._width(column)
            if width + own > TILE:
                tiles.append([])
                width = 0
            tiles[-1].append(column)
            width += own
        return tiles

    def _width(self, column: Column) -> int:
        return SKETCH if column[2] else self.widths[column[:2]]

    def passes(self, pairs: Sequence[tuple[str, str]]) -> list[TileSums]:
        """Return the pairs of tiles that give the CKA of pairs of models; each tile with itself is among them."""
        models = list(dict.fromkeys(model for pair in pairs for model in pair))
        tiles = {model: self.tiles(model) for model in models}
        found = [(tile, tile) for model in models for tile in tiles[model]]
        within = [
            (model, model)
            for model in models
            if any(self.widths[model, layer] > WIDEST for layer in self.stores.layers(model))
        ]
        for a, b in dict.fromkeys([*pairs, *within]):
            wanted = list(product(enumerate(tiles[a]), enumerate(tiles[b])))
            found += [(first, second) for (i, first), (j, second) in wanted if a != b or i < j]
        widths = {column: self._width(column) for tile in chain(*tiles.values()) for column in tile}
        return [TileSums(first, second, widths) for first, second in found]

    def add(self, sums: TileSums) -> None:
        """Go through the features of two tiles, and keep their HSIC; all processes take part."""
        widest = max(self.widths[column[:2]] for column in (*sums.first, *sums.second))
        count = CHUNK if widest <= TILE else max(64, CHUNK * TILE // widest)
        for start in range(count * distributed.rank(), len(self.blocks), count * distributed.size()):
            rows = slice(start, start + count)
            Z = self._chunk(sums.first, rows)
            sums.add(Z, Z if sums.first is sums.second else self._chunk(sums.second, rows), self.blocks[rows])
        self.keep(sums)

    def keep(self, sums: TileSums) -> None:
        """Keep the HSIC that follow from sums over all images, and let go of the sums."""
        for (one, other), found in sums.hsic(self.sizes):
            self.hsic[one, other] = self.hsic[other, one] = found
        sums.sums.clear()

    def _chunk(self, tile: Sequence[Column], rows: slice) -> Any:
        """Return shifted and scaled features of a tile's layers side by side, on the device of the statistics."""
        columns = []
        for column in tile:
            features = self.stores.stores[column[0], self.data][column[1]]
            if column not in self._scaling.known:
                self._scaling.begin(column, features[: rows.stop - rows.start])
            columns.append(self._scaling(column, features[rows]))
        return placed(np.concatenate(columns, axis=1), self.stores.device)

    def _hsic(self, first: Place, second: Place) -> BlockHSIC:
        """Return the HSIC of two layers; of one that is sketched with itself, that of its two sketches."""
        columns = self.columns(first), self.columns(second)
        if first == second:
            return self.hsic[columns[0][0], columns[0][-1]]
        found = [self.hsic[pair] for pair in product(*columns)]
        return BlockHSIC(
            float(np.mean([each.value for each in found])), np.mean([each.without for each in found], axis=0)
        )

    def _sketched(self, first: Place, second: Place, found: Estimate) -> Estimate:
        """Return an estimate whose interval counts that layers were sketched."""
        pairs = list(product(self.columns(first), self.columns(second)))
        if len(pairs) == 1 or first == second:
            return found
        own = self._hsic(first, first).value * self._hsic(second, second).value
        error = float(np.std([self.hsic[pair].value for pair in pairs], ddof=1) / np.sqrt(len(pairs) * own))
        half = float(np.hypot((found.ci_high - found.ci_low) / 2, 1.96 * error))
        told = f"{found.interval}; sketch of layers wider than {WIDEST:,}, its error counted"
        low, high, se = found.value - half, found.value + half, float(np.hypot(found.se, error))
        return replace(found, ci_low=low, ci_high=high, se=se, interval=told)

    def estimate(self, first: Place, second: Place) -> Estimate | None:
        """Return the CKA of two layers, None where one is constant."""
        groups = self.stores.column(self.data, "group")
        unit = "sample" if groups is None else "group"
        count = len(self.blocks) if groups is None else len(np.unique(groups))
        hsic = [self._hsic(*pair) for pair in ((first, second), (first, first), (second, second))]
        sizes = self.sizes[self.sizes > 0]
        reason = "" if len(sizes) >= 5 else f"{len(sizes)} blocks of groups, at least 5 needed"
        about: Any = {"n": len(self.blocks), "unit": unit, "same": first == second, "reason": reason}
        found = cka_of_blocks(*hsic, sizes=sizes, **about)
        return found and self._sketched(first, second, replace(found, n_groups=count))

    def matrices(
        self, pairs: Sequence[tuple[str, str]]
    ) -> Iterator[tuple[tuple[str, str], Matrix, dict[str, Problems]]]:
        """Yield each pair of models with the CKA of all their usable layers, and why other layers have none."""
        problems = {
            model: {layer: why for layer in self.stores.layers(model) if (why := self.problem(model, layer))}
            for model in dict.fromkeys(model for pair in pairs for model in pair)
        }
        for a, b in pairs:
            places = [[(m, layer) for layer in self.stores.layers(m) if layer not in problems[m]] for m in (a, b)]
            yield (a, b), [[self.estimate(one, other) for other in places[1]] for one in places[0]], problems


def streamed_matrices(
    stores: Stores, data: str, pairs: Sequence[tuple[str, str]], progress: Progress
) -> Iterator[tuple[tuple[str, str], Matrix, dict[str, Problems]]]:
    """Yield each pair of models with the CKA of all their usable layers, and why other layers have none."""
    distributed.told((data, list(pairs)))
    cka = StreamedCKA(stores, data)
    passes = cka.passes(pairs)
    with progress.bar(f"CKA on {data}", len(passes), "passes") as advance:
        for sums in passes:
            cka.add(sums)
            advance(1)
    yield from cka.matrices(pairs)


def help_with_cka(stores: Stores) -> None:
    """Take part in what the first process computes by `streamed_matrices`, until it says that it needs no help."""
    while (job := distributed.told(None)) is not None:
        data, pairs = job
        cka = StreamedCKA(stores, data)
        for sums in cka.passes(pairs):
            cka.add(sums)
