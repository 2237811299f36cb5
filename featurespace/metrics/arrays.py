"""Arrays at the boundary: one conversion and one check for every metric."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from featurespace.metrics.places import Array, from_tensor, ldexp, library, stays, together


def as_features(X: Any, name: str = "X", *, first_column: int = 0) -> np.ndarray:
    """Return features as a finite float64 array of shape (n, d); the input is never modified.

    Parameters
    ----------
    X : (n, d) array or torch tensor, features, one row a sample
    name : what to call it in an error
    first_column : number of the first column, where X is a part of wider features

    Returns
    -------
    ndarray
        (n, d) float64; the same memory if the input already was float64.

    Raises
    ------
    ValueError
        If the shape is not (n, d) with n, d >= 1, the values are not real numbers, or one is not finite.

    Notes
    -----
    Cost O(n d). float32 features are widened before any sum, so that a large common offset costs no digits.

    Examples
    --------
    >>> as_features([[1, 2], [3, 4]]).dtype
    dtype('float64')
    """
    array = np.asarray(from_tensor(X) if hasattr(X, "detach") else X)  # a tensor, known without importing torch
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"{name} has shape {array.shape}; features are (n, d): one row a sample, one column a feature")
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} has dtype {array.dtype}; features are real numbers")
    array = array.astype(np.float64, copy=False)
    finite = np.isfinite(array)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise ValueError(
            f"{name} has {int((~finite).sum())} values that are not finite, "
            f"the first in row {row}, column {first_column + column} ({array[row, column]})"
        )
    return array


def as_placed(X: Any, name: str = "X", *, first_column: int = 0) -> Array:
    """Return the same as `as_features`, but of a tensor on a GPU a float64 tensor there.

    Raises
    ------
    ValueError
        As `as_features`.
    """
    if stays(X) and X.ndim == 2 and X.numel() and not X.is_complex():
        Z = X.detach().double()
        if bool(library(Z).isfinite(Z).all()):
            return Z
    return as_features(X, name, first_column=first_column)


def as_pair(X: Any, Y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return paired features: row i of X and row i of Y are the same sample.

    Raises
    ------
    ValueError
        As `as_features`, or if the numbers of rows differ.
    """
    return _paired(as_features(X, "X"), as_features(Y, "Y"))


def as_placed_pair(X: Any, Y: Any) -> tuple[Array, Array]:
    """Return the same as `as_pair`, but of two tensors on one GPU tensors there.

    Raises
    ------
    ValueError
        As `as_pair`.
    """
    X, Y = together(X, Y)
    return _paired(as_placed(X, "X"), as_placed(Y, "Y"))


def _paired(X: Array, Y: Array) -> tuple[Array, Array]:
    if len(X) != len(Y):
        raise ValueError(f"X has {len(X)} rows and Y {len(Y)}; paired features have the same samples in the same order")
    return X, Y


def as_two_samples(X: Any, Y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return unpaired features: the same columns, different samples.

    Raises
    ------
    ValueError
        As `as_features`, if the widths differ, or if a sample has fewer than 2 rows.
    """
    return _of_one_space(as_features(X, "X"), as_features(Y, "Y"))


def as_placed_samples(X: Any, Y: Any) -> tuple[Array, Array]:
    """Return the same as `as_two_samples`, but of two tensors on one GPU tensors there.

    Raises
    ------
    ValueError
        As `as_two_samples`.
    """
    X, Y = together(X, Y)
    return _of_one_space(as_placed(X, "X"), as_placed(Y, "Y"))


def _of_one_space(X: Array, Y: Array) -> tuple[Array, Array]:
    if X.shape[1] != Y.shape[1]:
        raise ValueError(f"X has {X.shape[1]} columns and Y {Y.shape[1]}; two samples share one feature space")
    if min(len(X), len(Y)) < 2:
        raise ValueError(f"X has {len(X)} rows and Y {len(Y)}; at least 2 each are needed")
    return X, Y


def centred(X: Array, *, in_place: bool = False) -> Array:
    """Return X less its column means; a constant column becomes exactly zero, not rounding noise."""
    constant = (X[0] == X).all(axis=0)
    mean = X.mean(axis=0)
    if in_place:
        X -= mean
    Z = X if in_place else X - mean
    Z[:, constant] = 0.0
    return Z


def tamed(X: Array) -> Array:
    """Return X, times a power of two where its largest value is so extreme that squares would over- or underflow.

    For metrics that do not depend on the scale: the factor is exact, so no digit changes.
    """
    exponent = extreme(X)
    return ldexp(X, -exponent) if exponent else X


def extreme(X: Array) -> int:
    """Return the exponent of the largest value where it is so extreme that squares or sums could leave float64, or 0."""
    exponent = math.frexp(magnitude(X))[1]
    return exponent if abs(exponent) >= 200 else 0


def to_scale(value: Any, exponent: int) -> Any:
    """Return a value, or values, times a power of two that was taken off the features.

    Raises
    ------
    ValueError
        If the result leaves the range of float64.
    """
    with np.errstate(over="ignore"):
        found = np.ldexp(value, exponent)
    if not np.isfinite(found).all():
        raise ValueError("the value leaves the range of float64 (1e308); divide all features by one factor")
    return found if np.ndim(value) else float(found)


def magnitude(X: Array) -> float:
    """Return the largest absolute value."""
    return max(float(X.max()), -float(X.min()))


def unit_scaled(X: Array, name: str) -> Array:
    """Return X centred and of unit Frobenius norm.

    Raises
    ------
    ValueError
        If X is constant: nothing is left of it, so nothing has a relation to it.
    """
    Z = centred(tamed(X))
    largest = magnitude(Z)
    if largest == 0:
        raise ValueError(f"{name} is constant: every sample has the same features, so similarity to it is undefined")
    Z /= largest  # first, since squares of values beyond 1e154 or below 1e-154 leave the range of float64
    Z /= library(Z).linalg.norm(Z)
    return Z


def narrow(X: np.ndarray) -> np.ndarray:
    """Return X rotated into at most n columns, which changes neither its singular values nor those of X'Y."""
    n, d = X.shape
    return X if d <= n else np.asarray(np.linalg.qr(X.T, mode="r")).T


def tamed_rows(X: np.ndarray) -> np.ndarray:
    """Return X, each row times the power of two that takes its largest value to between 0.5 and 1: no digit changes."""
    return np.ldexp(X, -np.frexp(np.abs(X).max(axis=1, keepdims=True))[1])


def normalised_rows(X: np.ndarray, name: str) -> np.ndarray:
    """Return X with rows of unit length.

    Raises
    ------
    ValueError
        If a row is zero: it has no direction, hence no cosine.
    """
    X = tamed_rows(X)  # squares of values beyond 1e154 or below 1e-154 leave float64
    length = np.linalg.norm(X, axis=1, keepdims=True)
    if (length == 0).any():
        raise ValueError(
            f"{name} has {int((length == 0).sum())} rows of zeros, the first is row {int((length == 0).argmax())}; "
            "the cosine to such a row is undefined"
        )
    return X / length
