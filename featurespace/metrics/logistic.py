"""Logistic regression for probes, multinomial or of many labels: all folds at once, a path of C with warm starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, softmax


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


def binary_path(
    Z: np.ndarray,
    squares: np.ndarray,
    Y: np.ndarray,
    masks: np.ndarray,
    *,
    C: Sequence[np.ndarray],
    tolerances: Sequence[float],
) -> Iterator[np.ndarray]:
    """Fit F independent logistic regressions of one design for one C after the other; yield the logits' coefficients.

    Minimises ``sum_i log(1 + exp(-s_i logit_i)) + |w|^2 / (2 C)``, s_i = 1 or -1, the intercept free, for each column.

    Parameters
    ----------
    Z : (n, r) array, features with orthogonal columns
    squares : (r,) sums of squares of the columns
    Y : (n, F) zeros and ones; what is outside the masks does not matter
    masks : (n, F) booleans, the training samples of each problem
    C : for each step, (F,) inverse penalties
    tolerances : for each step, the largest gradient in preconditioned coordinates, about the largest error of a logit

    Yields
    ------
    ndarray
        (r + 1, F) coefficients, the intercepts last.

    Notes
    -----
    As `softmax_path`, with a preconditioner of its own for each problem. Cost O(n r F) an iteration.
    """
    n, r = Z.shape
    keep, A = masks.astype(float), np.concatenate([Z, np.ones((n, 1))], axis=1)
    counts = keep.sum(axis=0)
    coefficients = np.zeros((r + 1, Y.shape[1]))
    for inverse, tolerance in zip(C, tolerances):
        p = expit(A @ coefficients)
        curvature = np.maximum((p * (1 - p) * keep).sum(axis=0) / counts, 1e-6)  # only the speed depends on it
        share = squares[:, None] * (counts / n)
        scale = 1 / np.sqrt(np.concatenate([curvature * share + 1 / inverse, [curvature * counts]]))
        penalty = np.concatenate([scale[:r] ** 2 / inverse, np.zeros((1, Y.shape[1]))])

        def loss(
            flat: np.ndarray, scale: np.ndarray = scale, penalty: np.ndarray = penalty
        ) -> tuple[float, np.ndarray]:
            V = flat.reshape(scale.shape)
            logits = A @ (scale * V)
            small = np.exp(-np.abs(logits))
            shrunk = penalty * V
            losses = np.maximum(logits, 0) + np.log1p(small) - Y * logits
            value = float(np.vdot(losses, keep) + 0.5 * np.vdot(shrunk, V))
            p = np.where(logits >= 0, 1.0, small) / (1 + small)
            return value, (scale * (A.T @ ((p - Y) * keep)) + shrunk).ravel()

        options = {"gtol": tolerance, "ftol": 0.0, "maxiter": 1000, "maxfun": 2000, "maxcor": 10}
        found = minimize(loss, (coefficients / scale).ravel(), jac=True, method="L-BFGS-B", options=options)
        coefficients = found.x.reshape(scale.shape) * scale
        yield coefficients
