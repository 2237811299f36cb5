"""Columns in units of the training samples' deviations, as probes take them."""

from __future__ import annotations

import numpy as np


def standardised(X: np.ndarray, T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return training and test features less the training means, over the training deviations, constant columns left out.

    Parameters
    ----------
    X : (n, d) array, training features
    T : (m, d) array, test features

    Returns
    -------
    tuple
        (n, p) and (m, p) arrays, p the number of columns that vary in training.

    Raises
    ------
    ValueError
        If every column is constant in training.

    Examples
    --------
    >>> standardised(np.array([[1.0, 5.0], [3.0, 5.0]]), np.array([[2.0, 0.0]]))[1].tolist()
    [[0.0]]
    """
    moving = (X[0] != X).any(axis=0)
    if not moving.any():
        raise ValueError("X_train is constant: every sample has the same features, so there is nothing to probe")
    # by a power of two a column, which changes no digit: squares of values beyond 1e154 or below 1e-154 leave float64
    exponents = -np.frexp(np.abs(X[:, moving]).max(axis=0))[1]
    Z = np.ldexp(X[:, moving], exponents)
    mean, deviation = Z.mean(axis=0), Z.std(axis=0)
    return (Z - mean) / deviation, (np.ldexp(T[:, moving], exponents) - mean) / deviation
