"""Sums over samples from which the unbiased HSIC of layers follows: they add up over chunks, blocks and processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from featurespace.metrics.places import Array, empty, library, to_numpy, vecdot


class Moments(NamedTuple):
    """Sums over samples of shifted features z, w of two lists of layers side by side, and of each layer's a = |z|^2, b = |w|^2."""

    z: Array  # (D,)
    w: Array  # (E,)
    zw: Array  # (D, E)
    a: Array  # (L,)
    b: Array  # (M,)
    ab: Array  # (L, M)
    aw: Array  # (L, E)
    bz: Array  # (M, D)

    def plus(self, other: Moments) -> Moments:
        """Add others to these, in place."""
        for mine, more in zip(self, other, strict=True):
            mine += more
        return self

    @classmethod
    def zero(cls, left: Sequence[slice], right: Sequence[slice], like: Array) -> Moments:
        """Return the sums of no samples."""
        D, E, L, M = left[-1].stop, right[-1].stop, len(left), len(right)
        shapes = (D,), (E,), (D, E), (L,), (M,), (L, M), (L, E), (M, D)
        sums = cls(*(empty(shape, like) for shape in shapes))
        for each in sums:
            each[...] = 0
        return sums

    def minus(self, other: Moments) -> Moments:
        """Return the difference, of samples that are left out."""
        return Moments(*(mine - theirs for mine, theirs in zip(self, other, strict=True)))

    def to_numpy(self) -> Moments:
        """Return the sums on the CPU."""
        return Moments(*map(to_numpy, self))


def parts_of(widths: Sequence[int]) -> list[slice]:
    """Return the columns of each layer, where layers stand side by side."""
    ends = np.cumsum([0, *widths])
    return [slice(start, stop) for start, stop in zip(ends[:-1], ends[1:])]


def moments(Z: Array, W: Array, left: Sequence[slice], right: Sequence[slice]) -> Moments:
    """Return the sums of (rows, D) and (rows, E) float64 features of the same samples; slices tell the layers apart."""
    a = library(Z).stack([vecdot(Z[:, part], Z[:, part]) for part in left])
    b = library(W).stack([vecdot(W[:, part], W[:, part]) for part in right])
    return Moments(Z.sum(axis=0), W.sum(axis=0), Z.T @ W, a.sum(axis=1), b.sum(axis=1), a @ b.T, a @ W, b @ Z)


def hsic_of_moments(
    sums: Moments, n: int, left: Sequence[slice], right: Sequence[slice], *, of: Moments | None = None
) -> np.ndarray:
    """Return the (L, M) unbiased HSIC of n samples, each layer's taken to a mean square length of 1; 0 for constant layers.

    With features centred, row sums of kernels without their diagonal are -a_i, so that |C|^2 and sums of a follow
    from those of shifted features by the binomial theorem. Where the sums are a difference ``of`` names what others
    were taken from: they bear its rounding.
    """
    dz, dw = sums.z / n, sums.w / n
    squares = [np.array([d[part] @ d[part] for part in parts]) for d, parts in ((dz, left), (dw, right))]
    lengths = sums.a - n * squares[0], sums.b - n * squares[1]
    product = np.empty((len(left), len(right)))
    ab = np.empty_like(product)
    for k, first in enumerate(left):
        for m, second in enumerate(right):
            C = sums.zw[first, second]
            crossed = sums.aw[k, second] @ dw[second] + sums.bz[m, first] @ dz[first]
            ab[k, m] = sums.ab[k, m] - 2 * crossed + 4 * (dz[first] @ C @ dw[second])
            C = C - np.outer(n * dz[first], dw[second])
            product[k, m] = np.vdot(C, C)
    ab += np.outer(sums.a, squares[1]) + np.outer(squares[0], sums.b) - 3 * n * np.outer(*squares)
    total = np.outer(*lengths)
    hsic = (product - ab + total / ((n - 1) * (n - 2)) - 2 * ab / (n - 2)) / (n * (n - 3))
    whole = sums if of is None else of
    rounding = [64 * np.finfo(float).eps * each for each in (whole.a, whole.b)]
    moving = [np.where(each > least, each / n, np.inf) for each, least in zip(lengths, rounding)]
    return hsic / np.outer(*moving)
