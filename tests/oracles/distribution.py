"""Slow loops and SciPy's matrix root; nothing of the package is imported here."""

import numpy as np
import scipy.linalg


def mmd2(X, Y, sigma):
    def k(a, b):
        return np.exp(-((a - b) ** 2).sum() / (2 * sigma**2))

    n, m = len(X), len(Y)
    xx = sum(k(X[i], X[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(k(Y[i], Y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    xy = sum(k(a, b) for a in X for b in Y) / (n * m)
    return xx + yy - 2 * xy


def mmd2_across(X, Y, gx, gy, sigma):
    """Pairs within a group left out."""

    def k(a, b):
        return np.exp(-((a - b) ** 2).sum() / (2 * sigma**2))

    return across(k, X, Y, gx, gy)


def across(k, X, Y, gx, gy):
    """The two-sample statistic of a kernel, over pairs of samples of different groups."""
    xx = [k(X[i], X[j]) for i in range(len(X)) for j in range(len(X)) if gx[i] != gx[j]]
    yy = [k(Y[i], Y[j]) for i in range(len(Y)) for j in range(len(Y)) if gy[i] != gy[j]]
    return np.mean(xx) + np.mean(yy) - 2 * np.mean([k(a, b) for a in X for b in Y])


def median_distance(Z):
    return np.median([np.linalg.norm(Z[i] - Z[j]) for i in range(len(Z)) for j in range(i)])


def frechet(X, Y):
    S, T = np.cov(X.T), np.cov(Y.T)
    root = scipy.linalg.sqrtm(S @ T)
    shift = X.mean(axis=0) - Y.mean(axis=0)
    return shift @ shift + np.trace(S) + np.trace(T) - 2 * np.trace(root).real


def kid(X, Y):
    def k(a, b):
        return (a @ b / len(a) + 1) ** 3

    n, m = len(X), len(Y)
    xx = sum(k(X[i], X[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(k(Y[i], Y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return xx + yy - 2 * sum(k(a, b) for a in X for b in Y) / (n * m)


def energy(X, Y, unbiased=False):
    def mean(A, B, pairs):
        return sum(np.linalg.norm(a - b) for a in A for b in B) / pairs

    n, m = len(X), len(Y)
    xx, yy = mean(X, X, n * (n - unbiased)), mean(Y, Y, m * (m - unbiased))
    return 2 * mean(X, Y, n * m) - xx - yy


def wasserstein_1d(x, y, p):
    """Transport plan of sorted samples, mass by mass."""
    x, y = np.sort(x), np.sort(y)
    i = j = 0
    left_x, left_y, cost = 1 / len(x), 1 / len(y), 0.0
    while i < len(x) and j < len(y):
        moved = min(left_x, left_y)
        cost += moved * abs(x[i] - y[j]) ** p
        left_x, left_y = left_x - moved, left_y - moved
        if left_x < 1e-12:
            i, left_x = i + 1, 1 / len(x)
        if left_y < 1e-12:
            j, left_y = j + 1, 1 / len(y)
    return cost ** (1 / p)


def prdc(X, Y, k):
    """Precision, recall, density and coverage as the papers write them."""

    def radii(A):
        return [sorted(((a - b) ** 2).sum() for b in A)[k] for a in A]  # the first is the sample itself

    real, fake = radii(X), radii(Y)
    d = [[((x - y) ** 2).sum() for y in Y] for x in X]
    n, m = len(X), len(Y)
    precision = sum(any(d[i][j] <= real[i] for i in range(n)) for j in range(m)) / m
    recall = sum(any(d[i][j] <= fake[j] for j in range(m)) for i in range(n)) / n
    density = sum(d[i][j] <= real[i] for i in range(n) for j in range(m)) / (k * m)
    coverage = sum(any(d[i][j] <= real[i] for j in range(m)) for i in range(n)) / n
    return precision, recall, density, coverage
