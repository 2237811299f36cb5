"""Metrics of one representation and of embeddings as slow loops from the papers; nothing of the package is here."""

from itertools import permutations
from math import exp, log

import numpy as np


def effective_rank(X):
    """Roy and Vetterli 2007, equations 1 to 4; singular values from the eigenvalues of X'X."""
    values = np.sqrt(np.maximum(np.linalg.eigvalsh(X.T @ X), 0))
    return exp(-sum(v / values.sum() * log(v / values.sum()) for v in values if v > 1e-7 * values.max()))


def participation_ratio(X):
    values = np.linalg.eigvalsh(np.cov(X.T))
    return values.sum() ** 2 / (values**2).sum()


def participation_ratio_debiased(X, groups=None):
    """Ratio of U-statistics over four samples of different groups, each group counting once."""
    n = len(X)
    groups = list(range(n)) if groups is None else list(groups)
    weight = {g: 1 / groups.count(g) for g in groups}
    above = below = 0.0
    for four in permutations(range(n), 4):
        if len({groups[i] for i in four}) < 4:
            continue
        a, b, c, d = (X[i] for i in four)
        w = np.prod([weight[groups[i]] for i in four])
        above += w * 0.25 * ((a - b) @ (a - b)) * ((c - d) @ (c - d))
        below += w * (a @ b * (a @ b) - 2 * (a @ b) * (a @ c) + (a @ b) * (c @ d))
    return above / below


def power_law(X, first, last):
    """Weighted least squares of log eigenvalue on log rank by the normal equations, weights 1 / rank."""
    values = np.sort(np.linalg.eigvalsh(np.cov(X.T)))[::-1]
    s = np.zeros((2, 2))
    t = np.zeros(2)
    for rank in range(first, last + 1):
        row = np.array([1, log(rank)])
        s += np.outer(row, row) / rank
        t += row * log(values[rank - 1]) / rank
    return -np.linalg.solve(s, t)[1]
