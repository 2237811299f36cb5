"""Multinomial logistic regression for probes: all folds at once, a path of C with warm starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import softmax


def principal_axes(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return an orthonormal basis V of the rows' span, (d, r) with r = min(n, d), and the column sums of (X V)^2.

    The L2 penalty does not see a rotation, so fitting X V gives the same predictions; its columns are orthogonal,
    which is what the preconditioner of `softmax_path` needs, and wide features shrink to n columns.
    """
    n, d = X.shape
    basis = None
    if d > n:
        basis, _ = np.linalg.qr(X.T)
        X = X @ basis
    squares, axes = np.linalg.eigh(X.T @ X)
    return (axes if basis is None else basis @ axes), np.maximum(squares, 0)


def softmax_path(
    Z: np.ndarray,
    squares: np.ndarray,
    onehot: np.ndarray,
    masks: np.ndarray,
    *,
    C: Sequence[float],
    tolerances: Sequence[float],
) -> Iterator[np.ndarray]:
    """Fit softmax regression on every mask for one C after the other; yield the logits' coefficients.

    Minimises ``sum_i -log p(y_i) + |W|^2 / (2 C)``, the intercept free, for each column of `masks` by itself.

    Parameters
    ----------
    Z : (n, r) array, features with orthogonal columns
    squares : (r,) sums of squares of the columns
    onehot : (n, K) labels
    masks : (n, F) booleans, the training samples of each of F fits
    C : ascending inverse penalties
    tolerances : for each C, the largest gradient in preconditioned coordinates, about the largest error of a logit

    Yields
    ------
    ndarray
        (r + 1, F, K) coefficients, the intercepts last.

    Notes
    -----
    The F problems share each product with Z; they are one separable problem for L-BFGS. In coordinates scaled by the
    root of ``squares * p (1 - p) + 1 / C`` the Hessian is near the identity, so that a strongly correlated layer
    takes tens of iterations, not hundreds. Cost O(n r F K) an iteration.
    """
    n, r = Z.shape
    folds, classes = masks.shape[1], onehot.shape[1]
    keep = masks[:, :, None].astype(float)
    samples, labels = np.arange(n), onehot.argmax(axis=1)
    coefficients = np.zeros((r + 1, folds, classes))
    for inverse, tolerance in zip(C, tolerances):
        curvature = _curvature(logits_of(Z, coefficients))
        # one intercept column of ones; its own scale, and no penalty
        scale = 1 / np.sqrt(np.append(curvature * squares + 1 / inverse, curvature * n))
        scaled = np.concatenate([Z * scale[:r], np.full((n, 1), scale[r])], axis=1)
        penalty = np.append(scale[:r] ** 2 / inverse, 0.0)[:, None]

        def loss(
            flat: np.ndarray, scaled: np.ndarray = scaled, penalty: np.ndarray = penalty
        ) -> tuple[float, np.ndarray]:
            V = flat.reshape(r + 1, folds * classes)
            logits = (scaled @ V).reshape(n, folds, classes)
            logits -= logits.max(axis=2, keepdims=True)
            picked = float(logits[samples, :, labels][masks].sum())
            np.exp(logits, out=logits)
            total = logits.sum(axis=2, keepdims=True)
            shrunk = penalty * V
            value = float((np.log(total) * keep).sum() - picked + 0.5 * np.vdot(shrunk, V))
            logits /= total
            logits -= onehot[:, None]
            logits *= keep
            return value, (scaled.T @ logits.reshape(n, -1) + shrunk).ravel()

        start = (coefficients / scale[:, None, None]).ravel()
        options = {"gtol": tolerance, "ftol": 0.0, "maxiter": 1000, "maxfun": 2000, "maxcor": 10}
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
        coefficients = found.x.reshape(r + 1, folds, classes) * scale[:, None, None]
        yield coefficients


def _curvature(logits: np.ndarray) -> float:
    """Return the mean p (1 - p) at the start; it falls by orders of magnitude where the classes separate."""
    p = softmax(logits, axis=2)
    return max(float((p * (1 - p)).mean()), 1e-6)  # only the speed depends on it


def logits_of(Z: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Return (n, F, K) logits."""
    r, folds, classes = coefficients.shape
    product = Z @ coefficients[:-1].reshape(r - 1, -1)
    return product.reshape(len(Z), folds, classes) + coefficients[-1]
