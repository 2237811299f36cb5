"""Canonical correlations from the papers' formulas; nothing of the package is imported here."""

import numpy as np


def _root_inverse(S):
    values, vectors = np.linalg.eigh(S)
    return vectors @ np.diag(values**-0.5) @ vectors.T


def canonical(X, Y):
    """Hotelling: whiten both covariances, decompose what is between. Correlations and unit variates of X."""
    X, Y = X - X.mean(axis=0), Y - Y.mean(axis=0)
    wx, wy = _root_inverse(X.T @ X), _root_inverse(Y.T @ Y)
    U, rho, _ = np.linalg.svd(wx @ X.T @ Y @ wy)
    return rho, X @ wx @ U


def cca(X, Y):
    return canonical(X, Y)[0].mean()


def svcca(X, Y, variance):
    def leading(Z):
        Z = Z - Z.mean(axis=0)
        values, vectors = np.linalg.eigh(Z.T @ Z)
        values, vectors = values[::-1], vectors[:, ::-1]
        k = 1
        while values[:k].sum() / values.sum() < variance:
            k += 1
        return Z @ vectors[:, :k]

    return cca(leading(X), leading(Y))


def pwcca(X, Y):
    """Morcos et al. 2018, weights from X, which is not wider than Y; by loops over variates and neurons."""
    rho, H = canonical(X, Y)
    X = X - X.mean(axis=0)
    total = weight = 0.0
    for i, correlation in enumerate(rho):
        alpha = sum(abs(sum(H[m, i] * X[m, j] for m in range(len(X)))) for j in range(X.shape[1]))
        total, weight = total + alpha * correlation, weight + alpha
    return total / weight
