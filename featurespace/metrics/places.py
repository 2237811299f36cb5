"""Where features lie: what NumPy arrays, and torch tensors on a GPU, call by different names.

Formulas are written once, with operators and names that both libraries have (``library(X).exp``); what is here is the
rest. Everything large stays where the features are, what is of length n or smaller goes to NumPy.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = Any
"""A NumPy array, or a float64 torch tensor on one of `DEVICES`."""
DEVICES = ("cuda",)
"""Types of torch devices that are worked on in place (AMD's go by the same name). Features on all others go to NumPy:
Apple's MPS has no float64, in which all sums here are taken."""


def stays(X: Any) -> bool:
    """Whether X is a tensor that is worked on where it lies; everything else is worked on as a NumPy array."""
    return hasattr(X, "detach") and X.device.type in DEVICES


def together(*arrays: Any) -> tuple[Any, ...]:
    """Return the arrays as they are, or tensors as NumPy arrays where not all lie on one device: an operation has one."""
    if len({str(X.device) if stays(X) else "" for X in arrays}) <= 1:
        return arrays
    return tuple(from_tensor(X) if hasattr(X, "detach") else X for X in arrays)


def from_tensor(X: Any) -> np.ndarray:
    """Return a torch tensor of any device as a float64 NumPy array; bfloat16 has no counterpart there."""
    X = X.detach().cpu()  # first, since MPS has no float64
    return (X if X.is_complex() else X.double()).numpy()


def library(X: Array) -> Any:
    """Return numpy, or torch for a tensor; torch is not imported for arrays."""
    if isinstance(X, np.ndarray):
        return np
    import torch

    return torch


def to_numpy(X: Array) -> np.ndarray:
    """Return values as a NumPy array."""
    return X.cpu().numpy() if hasattr(X, "detach") else np.asarray(X)


def like(values: np.ndarray, X: Array) -> Array:
    """Return NumPy values where X lies."""
    if isinstance(X, np.ndarray):
        return values
    return library(X).tensor(np.ascontiguousarray(values), device=X.device)


def empty(shape: tuple[int, ...], X: Array) -> Array:
    """Return memory of this shape where X lies."""
    return library(X).empty(shape, dtype=X.dtype, device=X.device)


def shaped(memory: Array, shape: tuple[int, ...]) -> Array:
    """Return the first part of a vector of memory in this shape."""
    return memory[: math.prod(shape)].reshape(shape)


def vecdot(A: Array, B: Array) -> Array:
    """Return the inner product of each row of A with that of B."""
    return library(A).linalg.vecdot(A, B)


def inner(A: Array, B: Array) -> float:
    """Return the sum over all elements of A times B."""
    return float(library(A).vdot(A.ravel(), B.ravel()))


def ldexp(X: Array, exponent: int) -> Array:
    """Return X times a power of two."""
    if isinstance(X, np.ndarray):
        return np.ldexp(X, exponent)
    first = exponent // 2  # 2^1074, as the smallest numbers need it, is no float64
    return X * 2.0**first * 2.0 ** (exponent - first)


def fill_diagonal(K: Array, value: float) -> None:
    """Write a value on the diagonal."""
    if isinstance(K, np.ndarray):
        np.fill_diagonal(K, value)
    else:
        K.fill_diagonal_(value)


def run_sums(X: Array, starts: np.ndarray, *, axis: int = 0) -> Array:
    """Return the sums over runs of rows (axis 0) or columns (axis 1), each from its start to the next."""
    if isinstance(X, np.ndarray):
        return np.add.reduceat(X, starts, axis=axis)
    lengths = like(np.diff(starts, append=X.shape[axis]), X)
    rows = X if axis == 0 else X.T.contiguous()
    sums = library(X).segment_reduce(rows, "sum", lengths=lengths, axis=0)  # adding by index is not deterministic there
    return sums if axis == 0 else sums.T


def middle(values: Array) -> tuple[float, float]:
    """Return the two values in the middle of a vector, the same twice where their number is odd; the vector's order goes."""
    low, high = (len(values) - 1) // 2, len(values) // 2
    if isinstance(values, np.ndarray):
        values.partition([low, high])
    else:
        values = values.sort().values
    return float(values[low]), float(values[high])


def cholesky(S: Array) -> Array | None:
    """Return the lower triangular factor, or None where S is not positive definite."""
    if isinstance(S, np.ndarray):
        try:
            return np.linalg.cholesky(S)
        except np.linalg.LinAlgError:
            return None
    L, problem = library(S).linalg.cholesky_ex(S)
    return None if int(problem) else L


def triangle(Z: Array) -> Array:
    """Return R of Z = QR, so that R'R = Z'Z."""
    return np.linalg.qr(Z, mode="r") if isinstance(Z, np.ndarray) else library(Z).linalg.qr(Z, mode="r").R
