"""Ridge regression through one eigendecomposition: a path of penalties, and the exact error on units left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from featurespace.metrics.logistic import principal_axes

ALPHAS = tuple(10.0**power for power in range(-6, 7))
LEAST_ALPHA = 1e-10


@dataclass(frozen=True, eq=False)
class RidgePath:
    """Ridge regression with a free intercept, in coordinates in which every penalty is diagonal.

    Parameters
    ----------
    mean_x : (d,) means of the features
    mean_y : (t,) means of the targets
    axes : (d, r) orthonormal, r = min(n, d)
    squares : (r,) sums of squares of the coordinates, the eigenvalues of the scatter
    coordinates : (n, r) centred features along the axes
    targets : (n, t) centred targets
    moments : (r, t) products of coordinates and targets
    """

    mean_x: np.ndarray
    mean_y: np.ndarray
    axes: np.ndarray
    squares: np.ndarray
    coordinates: np.ndarray
    targets: np.ndarray
    moments: np.ndarray

    def weights(self, alpha: float | np.ndarray) -> np.ndarray:
        """Return (d, t) weights for one penalty, or for one of each target."""
        return self.axes @ (self.moments / (self.squares[:, None] + alpha))

    def predict(self, X: np.ndarray, alpha: float | np.ndarray) -> np.ndarray:
        """Return (m, t) predictions for new rows, for one penalty or for one of each target."""
        return (X - self.mean_x) @ self.weights(alpha) + self.mean_y

    def left_out(self, alpha: float, units: Sequence[np.ndarray]) -> np.ndarray:
        """Return (n, t) residuals of each sample when its unit takes no part in the fit, intercept included.

        ``(I - H_gg)^-1 r_g`` with r the residuals and H the hat matrix, or, for a unit of more samples than coordinates, the
        same through the scatter without the unit.
        """
        n, r = self.coordinates.shape
        inverse = 1 / (self.squares + alpha)
        residuals = self.targets - self.coordinates @ (inverse[:, None] * self.moments)
        if len(units) == n:
            leverage = 1 / n + np.square(self.coordinates) @ inverse
            return residuals / (1 - leverage)[:, None]
        found = np.empty_like(residuals)
        for size in {len(rows) for rows in units}:
            rows = np.array([each for each in units if len(each) == size])  # those of one size at once
            S, e = self.coordinates[rows], residuals[rows]
            if size <= r:
                hat = 1 / n + (S * inverse) @ S.transpose(0, 2, 1)
                found[rows] = np.linalg.solve(np.eye(size) - hat, e)
            else:
                A = np.concatenate([S, np.ones((*rows.shape, 1))], axis=2)
                without = np.diag(np.append(self.squares + alpha, n)) - A.transpose(0, 2, 1) @ A
                found[rows] = e + A @ np.linalg.solve(without, A.transpose(0, 2, 1) @ e)
        return found


@dataclass(frozen=True, eq=False)
class RidgeBasis:
    """What ridge regression takes of the features alone: the same for every target.

    Parameters
    ----------
    mean : (d,) means of the features
    axes : (d, r) orthonormal, r = min(n, d)
    squares : (r,) sums of squares along the axes
    """

    mean: np.ndarray
    axes: np.ndarray
    squares: np.ndarray

    def path(self, X: np.ndarray, Y: np.ndarray) -> RidgePath:
        """Return the regression of Y (n, t) on X (n, d), the features that the basis is of."""
        mean_y = Y.mean(axis=0)
        coordinates, targets = (X - self.mean) @ self.axes, Y - mean_y
        return RidgePath(self.mean, mean_y, self.axes, self.squares, coordinates, targets, coordinates.T @ targets)


def ridge_basis(X: np.ndarray) -> RidgeBasis:
    """Return the one eigendecomposition that every target and every penalty shares."""
    mean = X.mean(axis=0)
    return RidgeBasis(mean, *principal_axes(X - mean))


def ridge_path(X: np.ndarray, Y: np.ndarray) -> RidgePath:
    """Return the regression of Y (n, t) on X (n, d) for every penalty at once; X is not constant."""
    return ridge_basis(X).path(X, Y)


def rows_of_units(codes: np.ndarray) -> list[np.ndarray]:
    """Return the rows of each unit."""
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)


def checked_penalties(alphas: Sequence[float]) -> np.ndarray:
    """Return the penalties as an array.

    Raises
    ------
    ValueError
        If there are none, or one is below 1e-10 or not finite.
    """
    found = np.asarray(alphas, dtype=float).ravel()
    if not found.size or not (np.isfinite(found) & (found >= LEAST_ALPHA)).all():
        raise ValueError(
            f"alphas are {found.tolist()}; at least one, all finite and from {LEAST_ALPHA} on, since below that rounding "
            "decides"
        )
    return found
