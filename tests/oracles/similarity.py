"""Slow loops from the papers' formulas; nothing of the package is imported here."""

import numpy as np


def hsic_unbiased(K, L):
    """Song et al. 2012, equation 5, as sums over distinct indices (a U-statistic of degree 4), by single loops."""
    n = len(K)
    trace = total_k = total_l = cross = 0.0
    for i in range(n):
        row_k = row_l = 0.0
        for j in range(n):
            if i != j:
                trace += K[i, j] * L[i, j]
                row_k += K[i, j]
                row_l += L[i, j]
        total_k += row_k
        total_l += row_l
        cross += row_k * row_l
    return (trace + total_k * total_l / ((n - 1) * (n - 2)) - 2 * cross / (n - 2)) / (n * (n - 3))


def hsic_u_centred(K, L):
    """The same by explicit U-centring (Szekely, Rizzo 2014), entry by entry."""
    n = len(K)

    def centre(A):
        U = np.zeros((n, n))
        for i in range(n):
            for j in range(n):
                if i != j:
                    row = (A[i].sum() - A[i, i]) / (n - 2)
                    column = (A[:, j].sum() - A[j, j]) / (n - 2)
                    U[i, j] = A[i, j] - row - column + (A.sum() - np.trace(A)) / ((n - 1) * (n - 2))
        return U

    return (centre(K) * centre(L)).sum() / (n * (n - 3))


def cka_debiased(X, Y, hsic=hsic_unbiased):
    K, L = X @ X.T, Y @ Y.T
    return hsic(K, L) / np.sqrt(hsic(K, K) * hsic(L, L))


def cka_biased(X, Y):
    n = len(X)
    H = np.eye(n) - 1 / n
    K, L = H @ X @ X.T @ H, H @ Y @ Y.T @ H
    return np.trace(K @ L) / np.sqrt(np.trace(K @ K) * np.trace(L @ L))


def rbf_gram(X):
    n = len(X)
    squared = np.array([[((X[i] - X[j]) ** 2).sum() for j in range(n)] for i in range(n)])
    return np.exp(-squared / (2 * np.median(squared[squared > 0])))


def leave_out(function, X, Y, units):
    """The function without each unit, by really deleting its rows."""
    return np.array([function(X[units != u], Y[units != u]) for u in np.unique(units)])


def mutual_knn(X, Y, k):
    n, shared = len(X), 0
    for i in range(n):
        sets = []
        for Z in (X, Y):
            cosine = [Z[i] @ Z[j] / np.sqrt((Z[i] @ Z[i]) * (Z[j] @ Z[j])) if j != i else -9 for j in range(n)]
            sets.append(set(np.argsort(cosine)[-k:].tolist()))
        shared += len(sets[0] & sets[1])
    return shared / (n * k)


def hsic_between(K, L, groups):
    """Mean over all ordered quadruples of different groups of k_ij l_ij + k_ij l_qr - 2 k_ij l_iq, i, j, q, r one of
    each group; each of the three terms a mean over the samples of its groups."""
    members = [np.flatnonzero(groups == name) for name in np.unique(groups)]
    total = count = 0.0
    for a in range(len(members)):
        for b in range(len(members)):
            for c in range(len(members)):
                for d in range(len(members)):
                    if len({a, b, c, d}) < 4:
                        continue
                    first = np.mean([K[i, j] * L[i, j] for i in members[a] for j in members[b]])
                    second = np.mean([K[i, j] for i in members[a] for j in members[b]])
                    second *= np.mean([L[q, r] for q in members[c] for r in members[d]])
                    third = np.mean([K[i, j] * L[i, q] for i in members[a] for j in members[b] for q in members[c]])
                    total += first + second - 2 * third
                    count += 1
    return total / count


def cka_between(X, Y, groups):
    K, L = X @ X.T, Y @ Y.T
    xy, xx, yy = (hsic_between(A, B, groups) for A, B in ((K, L), (K, K), (L, L)))
    return xy / np.sqrt(xx * yy)


def knn_jaccard(X, Y, k):
    """Jaccard index of sets of neighbours, nearest first by cosine."""
    total = 0.0
    for i in range(len(X)):
        sets = []
        for Z in (X, Y):
            others = [j for j in range(len(Z)) if j != i]
            cosine = {j: Z[i] @ Z[j] / np.sqrt((Z[i] @ Z[i]) * (Z[j] @ Z[j])) for j in others}
            sets.append(set(sorted(others, key=cosine.get)[-k:]))
        total += len(sets[0] & sets[1]) / len(sets[0] | sets[1])
    return total / len(X)
