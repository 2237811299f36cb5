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


def sorted_distances(X, groups=None):
    """Distances of each sample to the other groups, each by its nearest sample, ascending."""
    groups = list(range(len(X))) if groups is None else list(groups)
    found = []
    for i in range(len(X)):
        nearest = {}
        for j in range(len(X)):
            if groups[j] != groups[i]:
                distance = float(np.sqrt(((X[i] - X[j]) ** 2).sum()))
                nearest[groups[j]] = min(distance, nearest.get(groups[j], np.inf))
        found.append(sorted(nearest.values()))
    return found


def two_nearest(X, groups=None):
    """Maximum likelihood of Facco's Pareto law, times (n - 1) / n, n the number of groups."""
    mu = [each[1] / each[0] for each in sorted_distances(X, groups)]
    n = len(X) if groups is None else len(set(groups))
    return (n - 1) / n * len(X) / sum(log(each) for each in mu)


def levina_bickel(X, k, *, inverse, groups=None):
    """Equation 8 of Levina and Bickel for each sample, then MacKay's average, or theirs with k - 2."""
    local = []
    for near in sorted_distances(X, groups):
        total = sum(log(near[k - 1] / near[j]) for j in range(k - 1))
        local.append((k - 1) / total if inverse else (k - 2) / total)
    return len(X) / sum(1 / each for each in local) if inverse else sum(local) / len(X)


def unit_rows(X):
    return [x / np.sqrt((x**2).sum()) for x in X]


def uniformity(X, t, groups=None):
    groups = range(len(X)) if groups is None else groups
    U = unit_rows(X)
    values = [
        exp(-t * ((U[i] - U[j]) ** 2).sum())
        for i in range(len(U))
        for j in range(len(U))
        if i != j and groups[i] != groups[j]
    ]
    return log(sum(values) / len(values))


def anisotropy(X, groups=None):
    groups = range(len(X)) if groups is None else groups
    U = unit_rows(X)
    values = [float(U[i] @ U[j]) for i in range(len(U)) for j in range(i) if groups[i] != groups[j]]
    return sum(values) / len(values)


def alignment_loss(X, Y, alpha):
    return sum(float(np.sqrt(((u - v) ** 2).sum())) ** alpha for u, v in zip(unit_rows(X), unit_rows(Y))) / len(X)


def fisher_ratio(X, y, multivariate=False):
    m, d = X.mean(axis=0), X.shape[1]
    B, W = np.zeros((d, d)), np.zeros((d, d))
    for c in sorted(set(y)):
        rows = [x for x, label in zip(X, y) if label == c]
        mc = sum(rows) / len(rows)
        B += len(rows) * np.outer(mc - m, mc - m)
        for x in rows:
            W += np.outer(x - mc, x - mc)
    return np.trace(np.linalg.solve(W, B)) if multivariate else np.trace(B) / np.trace(W)


def ranks(X):
    """Rank of each sample for each sample, 1 the nearest; those equally far share the smallest."""
    D = np.array([[((a - b) ** 2).sum() for b in X] for a in X])
    np.fill_diagonal(D, np.inf)
    return [[1 + sum(other < D[i][j] for other in D[i]) for j in range(len(X))] for i in range(len(X))]


def trustworthiness(X, E, k):
    """Venna and Kaski 2001, equation 1."""
    of_x, of_e, n = ranks(X), ranks(E), len(X)
    total = sum(of_x[i][j] - k for i in range(n) for j in range(n) if i != j and of_e[i][j] <= k < of_x[i][j])
    return 1 - 2 / (n * k * (2 * n - 3 * k - 1)) * total


def knn_preservation(X, E, k):
    of_x, of_e, n = ranks(X), ranks(E), len(X)
    return sum(of_x[i][j] <= k and of_e[i][j] <= k for i in range(n) for j in range(n) if i != j) / (n * k)
