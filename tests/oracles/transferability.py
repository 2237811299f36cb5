"""LogME by its fixed point, H-score and LEEP as loops, written from the papers; nothing of the package is imported here."""

import numpy as np


def evidence(F, y, a, b):
    """Equation 2 of You et al. 2021, for one target, with the matrices as they stand, per sample."""
    n, d = F.shape
    A = a * np.eye(d) + b * F.T @ F
    m = b * np.linalg.solve(A, F.T @ y)
    value = n / 2 * np.log(b) + d / 2 * np.log(a) - n / 2 * np.log(2 * np.pi)
    return (value - b / 2 * ((F @ m - y) ** 2).sum() - a / 2 * m @ m - np.linalg.slogdet(A)[1] / 2) / n


def log_me(F, Y, steps=2000):
    """MacKay's updates of a and b until nothing changes, the mean over targets."""
    found = []
    for y in Y.T:
        a = b = 1.0
        for _ in range(steps):
            if (
                a > 1e10
            ):  # where features tell nothing the updates never end: a grows without bound, the evidence has a limit
                break
            d = F.shape[1]
            A = a * np.eye(d) + b * F.T @ F
            m = b * np.linalg.solve(A, F.T @ y)
            eigenvalues = np.linalg.eigvalsh(b * F.T @ F)
            gamma = (eigenvalues / (a + eigenvalues)).sum()
            a, b = gamma / (m @ m), (len(y) - gamma) / ((F @ m - y) ** 2).sum()
        found.append(evidence(F, y, a, b))
    return np.mean(found)


def h_score(F, y, shrinkage=0.0):
    n, d = F.shape
    mean = F.mean(axis=0)
    S, between = np.zeros((d, d)), np.zeros((d, d))
    for row, label in zip(F, y):
        S += np.outer(row - mean, row - mean) / n
        own = F[y == label].mean(axis=0) - mean
        between += np.outer(own, own) / n
    S = (1 - shrinkage) * S + shrinkage * np.trace(S) / d * np.eye(d)
    return np.trace(np.linalg.pinv(S, rcond=1e-12) @ ((1 - shrinkage) * between))


def leep(P, y):
    n, Z = P.shape
    joint = {(label, z): sum(P[i, z] for i in range(n) if y[i] == label) / n for label in set(y) for z in range(Z)}
    source = [sum(joint[label, z] for label in set(y)) for z in range(Z)]
    total = 0.0
    for i in range(n):
        total += np.log(sum(joint[y[i], z] / source[z] * P[i, z] for z in range(Z) if source[z] > 0))
    return total / n
