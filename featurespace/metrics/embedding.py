"""Two-dimensional embeddings of one layer, and how far they can be trusted."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from featurespace.metrics.arrays import as_features, centred, extreme, magnitude, normalised_rows, tamed, to_scale
from featurespace.metrics.nearest import COSINE, nearest_rows
from featurespace.stats.checks import check_counts

DISTANCES = ("euclidean", "cosine")


def exact_neighbours(X: Any, *, k: int, metric: str = "euclidean") -> tuple[np.ndarray, np.ndarray]:
    """Return the k nearest samples of each sample, itself first, and their distances.

    Parameters
    ----------
    X : (n, d) array, features, one row a sample
    k : neighbours including the sample itself, 1 to n
    metric : ``"euclidean"``, in units of the features, or ``"cosine"``, 1 - cosine

    Returns
    -------
    tuple
        (n, k) row indices and (n, k) distances, ascending; ties go to the smaller index, and distances that differ by
        less than 12 digits are ties.

    Raises
    ------
    ValueError
        If k or the metric is not allowed, a value is not finite, or (cosine) a row is zero.

    Notes
    -----
    Cost O(n^2 d) time, 110 MiB beside two copies of the features. Candidates are found by ``|x|^2 + |y|^2 - 2 x.y``, and
    chosen by distances that come from the differences of the rows and are exact.

    Examples
    --------
    >>> indices, distances = exact_neighbours([[0.0], [1.0], [3.0]], k=2)
    >>> indices.tolist(), distances.tolist()
    ([[0, 1], [1, 0], [2, 1]], [[0.0, 1.0], [0.0, 1.0], [0.0, 2.0]])
    """
    X = as_features(X)
    n = len(X)
    if metric not in DISTANCES:
        raise ValueError(f"metric {metric!r} is not known; allowed: {', '.join(DISTANCES)}")
    check_counts(k=k)
    if not 1 <= k <= n:
        raise ValueError(f"k is {k}; with {n} samples, the sample itself included, it must lie between 1 and {n}")
    exponent = 0 if metric == "cosine" else math.frexp(magnitude(X))[1]  # so that squares stay in range
    given = normalised_rows(X, "X") if metric == "cosine" else np.ldexp(X, -exponent)
    indices, squares = np.arange(n)[:, None], np.zeros((n, 1))
    if k > 1:
        Z, quantum = (given, COSINE) if metric == "cosine" else (centred(given), None)
        others, squared = nearest_rows(Z, given, k - 1, quantum=quantum)
        indices, squares = np.c_[indices, others], np.c_[squares, squared]
    return indices, squares / 2 if metric == "cosine" else np.ldexp(np.sqrt(squares), exponent)


def umap_embedding(X: Any, *, seed: int, n_neighbors: int = 15, min_dist: float = 0.1, start: Any = None) -> np.ndarray:
    """Two-dimensional UMAP from exact Euclidean neighbours; the same bits for the same input, seed and machine.

    Parameters
    ----------
    X : (n, d) array, features, one row a sample
    seed : of UMAP's layout
    n_neighbors : size of the neighbourhoods, the sample itself included, 2 to n
    min_dist : how close points may lie in the embedding, 0 to 1
    start : (n, 2) array from which the layout begins, such as the embedding of the same samples by another model; by
        default UMAP's own

    Returns
    -------
    ndarray
        (n, 2) float32 coordinates without unit: distances between clusters mean little.

    Raises
    ------
    ValueError
        If n_neighbors or min_dist is out of range, start has another shape, n < 4, or a value is not finite.

    Notes
    -----
    Cost O(n^2 d) for the neighbours, a few seconds for 2000 samples; the first call in a process also pays numba's
    compilation. Invariant to translation and, up to rounding, to rotation.

    References
    ----------
    McInnes, Healy, Melville 2018, arXiv:1802.03426. Differs by exact in place of approximate neighbours.

    Examples
    --------
    >>> umap_embedding(np.zeros((3, 2)), seed=0)
    Traceback (most recent call last):
    ValueError: X has 3 rows; UMAP needs at least 4
    """
    X = as_features(X)
    n = len(X)
    if n < 4:
        raise ValueError(f"X has {n} rows; UMAP needs at least 4")
    check_counts(n_neighbors=n_neighbors, seed=seed)
    if not 2 <= n_neighbors <= n:
        raise ValueError(f"n_neighbors is {n_neighbors}; with {n} samples it must lie between 2 and {n}")
    if not 0 <= min_dist <= 1:
        raise ValueError(f"min_dist is {min_dist}; it must lie between 0 and 1")
    if start is not None:
        start = np.array(as_features(start), dtype=np.float32)
        if start.shape != (n, 2):
            raise ValueError(f"start has the shape {start.shape}; it must be {(n, 2)}")
    import umap

    indices, distances = exact_neighbours(X, k=n_neighbors)
    model = umap.UMAP(
        n_neighbors=n_neighbors,
        min_dist=min_dist,
        random_state=seed,
        n_jobs=1,
        init="spectral" if start is None else start,
        precomputed_knn=(indices, distances.astype(np.float32)),
    )
    with warnings.catch_warnings():
        # about `transform`, which is not used; the filter ends with the call
        warnings.filterwarnings("ignore", message="precomputed_knn")
        return np.asarray(model.fit_transform(X.astype(np.float32)))


def turned_onto(E: Any, target: Any) -> np.ndarray:
    """Move, turn, mirror and scale an embedding as a whole so that it lies on another one of the same samples.

    Parameters
    ----------
    E : (n, d) array, the embedding
    target : (n, d) array, where its samples should lie

    Returns
    -------
    ndarray
        (n, d) coordinates: the similarity transform of ``E`` with the least squared distance to ``target``. All
        distances within ``E`` keep their ratios.

    Raises
    ------
    ValueError
        If the shapes differ, or a value is not finite.

    Notes
    -----
    Cost O(n d^2). An embedding of one point only is moved, not turned.

    Examples
    --------
    >>> turned_onto([[0.0, 0.0], [0.0, 2.0]], [[1.0, 1.0], [5.0, 1.0]]).round(9).tolist()
    [[1.0, 1.0], [5.0, 1.0]]
    """
    E, target = as_features(E), as_features(target)
    if E.shape != target.shape:
        raise ValueError(f"E has the shape {E.shape} and target {target.shape}; they must be the same")
    A, B = centred(E), centred(target)
    U, values, Vt = np.linalg.svd(A.T @ B)
    spread = float((A**2).sum())
    return A @ (U @ Vt) * (values.sum() / spread if spread else 1.0) + target.mean(axis=0)


def pca_embedding(X: Any, *, components: int = 2) -> np.ndarray:
    """Principal components of the features; each component's largest loading is positive.

    Parameters
    ----------
    X : (n, d) array, features, one row a sample
    components : number of components, 1 to min(n - 1, d)

    Returns
    -------
    ndarray
        (n, components) scores, in units of the features, by descending variance.

    Raises
    ------
    ValueError
        If there are not that many components, or a value is not finite.

    Notes
    -----
    Cost O(n d min(n, d)). The sign does not depend on the order of the rows. Invariant to translation.

    Examples
    --------
    >>> pca_embedding([[0.0, 0.0], [2.0, 0.0], [4.0, 0.0]], components=1).ravel().round(9).tolist()
    [-2.0, 0.0, 2.0]
    """
    X = as_features(X)
    most = min(len(X) - 1, X.shape[1])
    check_counts(components=components)
    if not 1 <= components <= most:
        raise ValueError(f"components is {components}; X of shape {X.shape} has at most {most}")
    exponent = extreme(X)
    U, values, axes = np.linalg.svd(centred(tamed(X)), full_matrices=False)
    axes = axes[:components]
    signs = np.sign(axes[np.arange(components), np.abs(axes).argmax(axis=1)])
    return to_scale(U[:, :components] * (values[:components] * signs), exponent)
