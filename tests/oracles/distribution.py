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


def median_distance(Z):
    return np.median([np.linalg.norm(Z[i] - Z[j]) for i in range(len(Z)) for j in range(i)])


def frechet(X, Y):
    S, T = np.cov(X.T), np.cov(Y.T)
    root = scipy.linalg.sqrtm(S @ T)
    shift = X.mean(axis=0) - Y.mean(axis=0)
    return shift @ shift + np.trace(S) + np.trace(T) - 2 * np.trace(root).real
