"""RSA and distance correlation by loops from the papers' formulas; nothing of the package is imported here."""

import numpy as np


def _dissimilarity(a, b, kind):
    if kind == "euclidean":
        return np.sqrt(sum((p - q) ** 2 for p, q in zip(a, b)))
    if kind == "correlation":
        a, b = a - a.mean(), b - b.mean()
    return 1 - (a @ b) / np.sqrt((a @ a) * (b @ b))


def _ranks(v):
    """The rank of each value, the mean rank where values are equal."""
    v = np.round(v, 12)
    return np.array([(v < x).sum() + ((v == x).sum() + 1) / 2 for x in v])


def rsa(X, Y, rdm="correlation", compare="spearman"):
    pairs = [(i, j) for i in range(len(X)) for j in range(i)]
    v, w = (np.array([_dissimilarity(Z[i], Z[j], rdm) for i, j in pairs]) for Z in (X, Y))
    if compare == "spearman":
        v, w = _ranks(v), _ranks(w)
    if compare != "cosine":
        v, w = v - v.mean(), w - w.mean()
    return (v @ w) / np.sqrt((v @ v) * (w @ w))


def distance_correlation2(X, Y, debiased=True):
    """Szekely, Rizzo 2014 (U-centring) or Szekely, Rizzo, Bakirov 2007, entry by entry; squared."""
    n = len(X)

    def centred(Z):
        a = np.array([[np.sqrt(((Z[i] - Z[j]) ** 2).sum()) for j in range(n)] for i in range(n)])
        A = np.zeros((n, n))
        for i in range(n):
            for j in range(n):
                if not debiased:
                    A[i, j] = a[i, j] - a[i].mean() - a[:, j].mean() + a.mean()
                elif i != j:
                    A[i, j] = a[i, j] - a[i].sum() / (n - 2) - a[:, j].sum() / (n - 2) + a.sum() / ((n - 1) * (n - 2))
        return A

    A, B = centred(X), centred(Y)
    return (A * B).sum() / np.sqrt((A * A).sum() * (B * B).sum())


def leave_out(f, X, Y, units, **options):
    return np.array([f(X[units != u], Y[units != u], **options) for u in np.unique(units)])
