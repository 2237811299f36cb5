"""CKA of large data sets: exact, of all images, from chunks of their features, so that memory is bounded whatever n."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

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
Matrix = list[list[Estimate | None]]
Problems = dict[str, str]  # by layer


def is_streamed(stores: Stores, data: str) -> bool:
    """Whether the CKA of a data set is computed from chunks, with blocks left out in turn."""
    return len(stores.samples(data)) > AT_ONCE or not stores.kept


def block_sizes(stores: Stores, data: str) -> np.ndarray:
    """Return how many images each block holds."""
    return np.bincount(blocks_of(stores, data), minlength=BLOCKS)


def blocks_of(stores: Stores, data: str) -> np.ndarray:
    """Return the block of each image."""
    samples = stores.samples(data)
    groups = samples["group"].fillna("\0" + samples["id"]) if samples["group"].notna().any() else samples["id"]
    codes, names = pd.factorize(groups)
    return np.array([zlib.crc32(name.encode()) % BLOCKS for name in names.tolist()], dtype=np.int8)[codes]


class TileSums:
    """Sums of products of two tiles of layers, by block, from which the HSIC of each layer of one with each of the other follows.

    Parameters
    ----------
    first, second : the layers, whose features stand side by side
    widths : features of each layer
    """

    def __init__(self, first: Sequence[Place], second: Sequence[Place], widths: Mapping[Place, int]):
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

    def hsic(self, sizes: np.ndarray) -> Iterator[tuple[tuple[Place, Place], BlockHSIC]]:
        """Yield each two layers with their HSIC, of the images of all processes, of which each block holds so many."""
        nothing = [Moments.zero(self.left, self.right, np.empty(0))] * BLOCKS
        own = [each.to_numpy() for each in self.sums] or nothing
        blocks = [Moments(*distributed.total(each)) for each in own]
        whole = Moments(*(sum(each[1:], 1 * each[0]) for each in zip(*blocks)))
        n = int(sizes.sum())
        value = hsic_of_moments(whole, n, self.left, self.right)
        left_out = [(each, n - size) for each, size in zip(blocks, sizes.tolist()) if size]
        without = np.stack([hsic_of_moments(whole.minus(each), m, self.left, self.right) for each, m in left_out])
        for (a, one), (b, other) in product(enumerate(self.first), enumerate(self.second)):
            yield (one, other), BlockHSIC(float(value[a, b]), without[:, a, b])


class Scaling:
    """What is taken off the features of layers, and the power of two they are divided by: exact, and far from overflow."""

    def __init__(self) -> None:
        self.known: dict[Place, tuple[np.ndarray, float]] = {}

    def begin(self, place: Place, features: np.ndarray) -> None:
        """Choose them for a layer by some of its images."""
        start = np.asarray(features, dtype=np.float64)
        size = np.ldexp(1.0, -int(np.frexp(magnitude(start - start.mean(axis=0)))[1]))
        self.known[place] = start.mean(axis=0), float(size)

    def __call__(self, place: Place, features: np.ndarray) -> np.ndarray:
        """Return shifted and scaled features of a layer in float64."""
        shift, size = self.known[place]
        return (np.asarray(features, dtype=np.float64) - shift) * size


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
    chunks, and the sums are added up.
    """

    def __init__(self, stores: Stores, data: str):
        self.stores, self.data = stores, data
        self.blocks = blocks_of(stores, data)
        self.sizes = np.bincount(self.blocks, minlength=BLOCKS)
        self.widths = {
            (model, layer): width for model in stores.models for layer, width in stores.widths(model).items()
        }
        self.hsic: dict[tuple[Place, Place], BlockHSIC] = {}
        self._scaling = Scaling()

    def problem(self, model: str, layer: str) -> str:
        """Return why a layer has no CKA; empty where it has one."""
        width = self.widths[model, layer]
        if width > WIDEST:
            return (
                f"has {width:,} features an image; from chunks of images CKA takes layers of up to {WIDEST:,} "
                f"(--pool avg makes them narrower, --limit takes at most {AT_ONCE:,} images)"
            )
        own = self.hsic.get(((model, layer), (model, layer)))
        still = own is not None and own.value <= ROUNDING
        return "is constant: every sample has the same features, so CKA with it is undefined" if still else ""

    def tiles(self, model: str) -> list[list[Place]]:
        """Return the layers of a model in tiles."""
        tiles: list[list[Place]] = []
        width = TILE
        for layer in self.stores.layers(model):
            if self.problem(model, layer):
                continue
            own = self.widths[model, layer]
            if width + own > TILE:
                tiles.append([])
                width = 0
            tiles[-1].append((model, layer))
            width += own
        return tiles

    def passes(self, pairs: Sequence[tuple[str, str]]) -> list[TileSums]:
        """Return the pairs of tiles that give the CKA of pairs of models; each tile with itself is among them."""
        models = list(dict.fromkeys(model for pair in pairs for model in pair))
        tiles = {model: self.tiles(model) for model in models}
        found = [(tile, tile) for model in models for tile in tiles[model]]
        for a, b in pairs:
            wanted = list(product(enumerate(tiles[a]), enumerate(tiles[b])))
            found += [(first, second) for (i, first), (j, second) in wanted if a != b or i < j]
        return [TileSums(first, second, self.widths) for first, second in found]

    def add(self, sums: TileSums) -> None:
        """Go through the features of two tiles, and keep their HSIC; all processes take part."""
        mine = range(CHUNK * distributed.rank(), len(self.blocks), CHUNK * distributed.size())
        for start in mine:
            rows = slice(start, start + CHUNK)
            Z = self._chunk(sums.first, rows)
            sums.add(Z, Z if sums.first is sums.second else self._chunk(sums.second, rows), self.blocks[rows])
        self.keep(sums)

    def keep(self, sums: TileSums) -> None:
        """Keep the HSIC that follow from sums over all images."""
        for (one, other), found in sums.hsic(self.sizes):
            self.hsic[one, other] = self.hsic[other, one] = found

    def _chunk(self, tile: Sequence[Place], rows: slice) -> Any:
        """Return shifted and scaled features of a tile's layers side by side, on the device of the statistics."""
        columns = []
        for place in tile:
            features = self.stores.stores[place[0], self.data][place[1]]
            if place not in self._scaling.known:
                self._scaling.begin(place, features[:CHUNK])
            columns.append(self._scaling(place, features[rows]))
        return placed(np.concatenate(columns, axis=1), self.stores.device)

    def estimate(self, first: Place, second: Place) -> Estimate | None:
        """Return the CKA of two layers, None where one is constant."""
        groups = self.stores.column(self.data, "group")
        unit = "sample" if groups is None else "group"
        count = len(self.blocks) if groups is None else len(np.unique(groups))
        hsic = [self.hsic[pair] for pair in ((first, second), (first, first), (second, second))]
        sizes = self.sizes[self.sizes > 0]
        reason = "" if len(sizes) >= 5 else f"{len(sizes)} blocks of groups, at least 5 needed"
        about: Any = {"n": len(self.blocks), "unit": unit, "same": first == second, "reason": reason}
        found = cka_of_blocks(*hsic, sizes=sizes, **about)
        return found and replace(found, n_groups=count)

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


def placed(features: np.ndarray, device: str) -> Any:
    """Return features on a device."""
    if device == "cpu":
        return features
    import torch

    return torch.from_numpy(features).to(device)


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
