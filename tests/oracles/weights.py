"""Reuse and uniqueness of filters by loops over their definition; nothing of the package is imported here."""

import numpy as np


def rows_of(W):
    """One row for each output channel and place in the filter, one column for each input channel."""
    out, channels, height, width = W.shape
    return [[W[o, c, y, x] for c in range(channels)] for o in range(out) for y in range(height) for x in range(width)]


def gram(rows, width=None):
    """RBF kernel and its 2 sigma^2, twice the median of the squared distances that are not zero."""
    n = len(rows)
    squared = [[sum((p - q) ** 2 for p, q in zip(rows[i], rows[j])) for j in range(n)] for i in range(n)]
    positive = sorted(squared[i][j] for i in range(n) for j in range(n) if squared[i][j] > 0)
    middle = (positive[(len(positive) - 1) // 2] + positive[len(positive) // 2]) / 2
    width = 2 * middle if width is None else width
    return np.array([[np.exp(-squared[i][j] / width) for j in range(n)] for i in range(n)])


def hsic(K, L):
    """Plug-in HSIC from the sums over all pairs, triples and quadruples, without centring."""
    n = len(K)
    pairs = triples = 0.0
    for i in range(n):
        for j in range(n):
            pairs += K[i, j] * L[i, j]
        triples += sum(K[i, j] for j in range(n)) * sum(L[i, j] for j in range(n))
    return pairs / n**2 - 2 * triples / n**3 + K.sum() * L.sum() / n**4


def cka(K, L):
    return hsic(K, L) / np.sqrt(hsic(K, K) * hsic(L, L))


def feature_reuse(before, after):
    return cka(gram(rows_of(before)), gram(rows_of(after)))


def reuse_without_each_filter(before, after):
    """Rows of a filter really deleted, from kernels whose widths are those of all filters."""
    K, L = gram(rows_of(before)), gram(rows_of(after))
    size = len(K) // len(before)
    found = []
    for f in range(len(before)):
        kept = [row for row in range(len(K)) if row // size != f]
        found.append(cka(K[np.ix_(kept, kept)], L[np.ix_(kept, kept)]))
    return np.array(found)


def split_uniqueness(W, splits):
    rows = rows_of(W)
    size = len(rows) // splits
    kernels = [gram(rows[size * split : size * (split + 1)]) for split in range(splits)]
    return [1 - cka(kernels[i], kernels[j]) for i in range(splits) for j in range(i + 1, splits)]
