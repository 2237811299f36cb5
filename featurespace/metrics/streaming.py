"""Exact debiased linear CKA of any number of samples in one pass over chunks of them, without keeping features."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations_with_replacement
from typing import Any, NamedTuple

import numpy as np

from featurespace.metrics.arrays import as_placed, magnitude
from featurespace.metrics.hsic import ROUNDING
from featurespace.metrics.moments import Moments, hsic_of_moments, moments, parts_of
from featurespace.metrics.places import Array, library, like, to_numpy, together
from featurespace.stats.checks import check_counts
from featurespace.stats.estimate import Estimate, too_few
from featurespace.stats.resampling import jackknife_estimate


class StreamingCKA:
    """Exact debiased linear CKA of all layers of all models, from chunks of samples that are seen once.

    The value is that of `cka_matrices` over all samples at once, not a mean over chunks. The interval is a jackknife
    over blocks: a chunk, or where there are groups each of its groups, goes to one of ``blocks`` blocks.

    Parameters
    ----------
    blocks : number of blocks of the jackknife, at least 5

    Raises
    ------
    ValueError
        If there are fewer than 5 blocks; in `update`, if rows or columns differ between layers or chunks, or a value
        is not finite, or chunks lie on different devices; in `matrices`, if there were fewer than 4 samples.

    Notes
    -----
    For D features in all layers together: O(n D^2) time, and 8 blocks D^2 bytes whatever n. The first chunk's mean is
    taken off all chunks, so that a large common offset costs no digits. The sums of tensors on a CUDA device are taken
    and kept there, in float64.

    References
    ----------
    Song et al. 2012, JMLR 13, 1393-1434 (unbiased HSIC); Busing et al. 1999 (units of unequal size). Nguyen et al. 2021,
    arXiv:2010.15327, average the HSIC of minibatches, which is a different and noisier estimate.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> stream = StreamingCKA(blocks=5)
    >>> for _ in range(10):
    ...     X = rng.standard_normal((100, 3))
    ...     stream.update([[X], [X + rng.standard_normal((100, 3))]])
    >>> estimate = dict(stream.matrices())[0, 1][0][0]
    >>> estimate.n, estimate.ci_low < estimate.value < estimate.ci_high
    (1000, True)
    """

    def __init__(self, *, blocks: int = 20):
        check_counts(blocks=blocks)
        if blocks < 5:
            raise ValueError(f"blocks is {blocks}; a jackknife over blocks needs at least 5")
        self.blocks = blocks
        self.n = 0
        self._unit = "sample"
        self._counts = np.zeros(blocks, dtype=np.int64)
        self._sums: list[Moments | None] = [None] * blocks
        self._shape: tuple[tuple[int, ...], ...] = ()  # widths of the layers of each model
        self._shift = np.empty(0)
        self._scale = np.empty(0)
        self._device: Any = None

    def update(self, models: Sequence[Sequence[Any]], *, groups: Any = None) -> None:
        """Add a chunk of samples.

        Parameters
        ----------
        models : features (rows, d) of each layer of each model, all of the same samples; the same layers in each chunk
        groups : (rows,) labels (patients) of the samples; a group may be spread over chunks. In all chunks or in none
        """
        names = [f"layer {place} of model {i}" for i, each in enumerate(models) for place in range(len(each))]
        given = together(*(X for each in models for X in each))
        layers = [as_placed(X, name) for X, name in zip(given, names)]
        rows = {len(X) for X in layers}
        if len(rows) != 1:
            raise ValueError(f"the layers of a chunk have {sorted(rows)} rows; all need the same samples")
        shape = tuple(tuple(np.shape(X)[1] for X in each) for each in models)
        if not self.n:
            self._begin(layers, shape, groups)
        if shape != self._shape or (self._unit == "group") != (groups is not None):
            raise ValueError(
                f"a chunk has layers of widths {shape}, {'without' if groups is None else 'with'} groups; the chunks "
                f"before have {self._shape}, {'with' if self._unit == 'group' else 'without'} groups"
            )
        if layers[0].device != self._device:
            raise ValueError(
                f"a chunk lies on {layers[0].device} and the chunks before on {self._device}; give all on one"
            )
        Z = library(layers[0]).concatenate(layers, axis=1)
        Z = (Z - like(self._shift, Z)) * like(self._scale, Z)
        if groups is None:
            self._add(int(self._counts.argmin()), Z)
        else:
            labels = np.asarray(groups)
            if labels.shape != (len(Z),):
                raise ValueError(f"groups has shape {labels.shape}; it needs one label for each of the {len(Z)} rows")
            block = np.array([zlib.crc32(str(label).encode()) % self.blocks for label in labels.tolist()])
            for each in np.unique(block):
                self._add(int(each), Z[block == each])
        self.n += len(Z)

    def _begin(self, layers: list[Array], shape: tuple[tuple[int, ...], ...], groups: Any) -> None:
        self._shape, self._unit = shape, "sample" if groups is None else "group"
        self._device = layers[0].device
        self._shift = np.concatenate([to_numpy(X.mean(axis=0)) for X in layers])
        spread = [magnitude(X - X.mean(axis=0)) for X in layers]
        # a power of two for each layer: exact, and fourth powers stay far from overflow
        factors = [np.ldexp(1.0, -int(np.frexp(each)[1])) for each in spread]
        self._scale = np.repeat(factors, [X.shape[1] for X in layers])

    def _add(self, block: int, Z: Array) -> None:
        parts = self._parts()
        new, known = moments(Z, Z, parts, parts), self._sums[block]
        self._sums[block] = new if known is None else known.plus(new)
        self._counts[block] += len(Z)

    def _parts(self) -> list[slice]:
        return parts_of([width for widths in self._shape for width in widths])

    def matrices(
        self, pairs: Sequence[tuple[int, int]] | None = None, *, level: float = 0.95
    ) -> Iterator[tuple[tuple[int, int], list[list[Estimate | None]]]]:
        """Yield the estimates of all samples seen so far, as `cka_matrices` does; more chunks may follow."""
        if self.n < 4:
            raise ValueError(f"{self.n} samples were given; debiased CKA is defined from 4 samples on")
        filled = [each for each in self._sums if each is not None]
        counts = self._counts[self._counts > 0]
        sums = Moments(*(sum(each[1:], 1 * each[0]) for each in zip(*filled)))
        parts, whole = self._parts(), sums.to_numpy()
        value = hsic_of_moments(whole, self.n, parts, parts)
        reason = too_few(len(counts), self._unit) and f"{len(counts)} blocks, at least 5 needed: give smaller chunks"
        left = [] if reason else zip(filled, counts)
        without = [hsic_of_moments(sums.minus(each).to_numpy(), self.n - m, parts, parts, of=whole) for each, m in left]
        places = np.split(np.arange(len(parts)), np.cumsum([len(widths) for widths in self._shape])[:-1])
        wanted = combinations_with_replacement(range(len(places)), 2) if pairs is None else pairs
        about: Any = {"n": self.n, "unit": self._unit, "reason": reason, "level": level}
        left_out = np.stack(without) if without else np.empty((0, *value.shape))

        def estimate(a: int, b: int) -> Estimate | None:
            hsic = [BlockHSIC(value[place], left_out[:, place[0], place[1]]) for place in ((a, b), (a, a), (b, b))]
            return cka_of_blocks(*hsic, sizes=counts, same=a == b, **about)

        for i, j in wanted:
            yield (i, j), [[estimate(a, b) for b in places[j]] for a in places[i]]


class BlockHSIC(NamedTuple):
    """The HSIC of two layers, of all samples and without each block."""

    value: float
    without: np.ndarray


def cka_of_blocks(
    between: BlockHSIC, first: BlockHSIC, second: BlockHSIC, *, sizes: np.ndarray, n: int, unit: str, same: bool = False,
    reason: str = "", level: float = 0.95,
) -> Estimate | None:  # fmt: skip
    """Return the CKA of two layers with its jackknife over blocks, None where one of them is constant.

    Parameters
    ----------
    between, first, second : HSIC of the two layers, and of each with itself, each scaled to a mean square length of 1
    sizes : samples in each block
    unit : what was assigned to blocks, ``"sample"`` or ``"group"``
    same : whether both are one layer, whose CKA is 1
    reason : why there is no interval; empty where there is one
    """
    if min(first.value, second.value) <= ROUNDING:
        return None
    cka = 1.0 if same else float(between.value / math.sqrt(first.value * second.value))
    if not reason and min(first.without.min(), second.without.min()) <= ROUNDING:
        reason = "features are constant when one block is left out"
    if reason:
        return Estimate.without_interval(cka, n=n, unit=unit, n_groups=len(sizes), reason=reason, level=level)
    leave_out = between.without / np.sqrt(first.without * second.without)
    found = jackknife_estimate(cka, leave_out, n=n, sizes=sizes, unit=unit, level=level)
    kind = " of groups" if unit == "group" else ""
    return replace(found, interval=f"jackknife over {len(sizes)} blocks{kind}")
