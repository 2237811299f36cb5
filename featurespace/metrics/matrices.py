"""Similarity of all layers of several models, each layer prepared once; for CKA see `featurespace.metrics.cka_matrices`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, product
from typing import Any

import numpy as np

from featurespace.metrics.arrays import as_features, normalised_rows
from featurespace.metrics.canonical import (
    canonical_basis,
    cca_from_bases,
    leading_basis,
    pwcca_from_bases,
    weighted_basis,
)
from featurespace.metrics.dependence import centred_distances
from featurespace.metrics.dissimilarity import rsa_from_ranks, rsa_ranks
from featurespace.metrics.neighbours import cosine_neighbours, knn_jaccard_from_neighbours, mutual_knn_from_neighbours
from featurespace.metrics.predictivity import bases_by_fold, drawn_folds, predictor, unexplained
from featurespace.metrics.ridge import ALPHAS, RidgeBasis, checked_penalties
from featurespace.metrics.shape import angle_from_shapes, procrustes_from_shapes, shape

Pair = tuple[int, int]


@dataclass(frozen=True)
class Halves:
    """A metric as the part that belongs to one layer and the part for a pair; the metric is those two in a row.

    Parameters
    ----------
    prepare : ``f(X, name, **options)``, what `combine` takes of a layer; name is what to call X in an error
    combine : ``f(A, B) -> float``
    options : keywords of the metric, which `prepare` takes
    """

    prepare: Callable[..., Any]
    combine: Callable[[Any, Any], float]
    options: tuple[str, ...] = ()


def _neighbours(X: Any, name: str, *, k: int = 10) -> np.ndarray:
    return cosine_neighbours(normalised_rows(as_features(X, name), name), k=k)


def _product(A: np.ndarray, B: np.ndarray) -> float:
    return float(A @ B)


HALVES: dict[str, Halves] = {
    "cca": Halves(canonical_basis, cca_from_bases),
    "svcca": Halves(leading_basis, cca_from_bases, ("variance",)),
    "pwcca": Halves(weighted_basis, pwcca_from_bases),
    "procrustes_distance": Halves(shape, procrustes_from_shapes),
    "shape_angle": Halves(shape, angle_from_shapes),
    "rsa": Halves(rsa_ranks, rsa_from_ranks, ("rdm", "compare")),
    "distance_correlation": Halves(centred_distances, _product, ("debiased",)),
    "mutual_knn": Halves(_neighbours, mutual_knn_from_neighbours, ("k",)),
    "knn_jaccard": Halves(_neighbours, knn_jaccard_from_neighbours, ("k",)),
}


def similarity_matrices(
    models: Sequence[Sequence[Any]], metric: str, *, pairs: Sequence[Pair] | None = None, **options: Any
) -> Iterator[tuple[Pair, np.ndarray]]:
    """Any similarity of every layer of one model with every layer of another; range and direction are the metric's.

    Parameters
    ----------
    models : for each model its layers, (n, d) arrays of features, one row a sample, the same samples in the same order
    metric : name of the function: ``"cca"``, ``"svcca"``, ``"pwcca"``, ``"procrustes_distance"``, ``"shape_angle"``,
        ``"rsa"``, ``"distance_correlation"``, ``"mutual_knn"`` or ``"knn_jaccard"``
    pairs : models to compare, by index; None is every pair, a model with itself included
    **options : keywords of that function, such as ``k`` or ``variance``

    Returns
    -------
    iterator
        Of the pair (i, j) and the (Li, Lj) values of its layers, those that the function itself gives (to 1e-12).

    Raises
    ------
    ValueError
        If the metric, an option or a model of a pair does not exist, a model has no layers, or numbers of rows differ;
        and while iterating what the function raises, with the layer's place.

    Notes
    -----
    Each layer is prepared once and kept until the last pair that needs it: a basis or rotated features (8 n d bytes),
    neighbours (8 n k), or for ``"rsa"`` and ``"distance_correlation"`` all pairs of samples (4 n^2 bytes a layer, 8 GB for
    20 layers at n = 10,000; for a few pairs call `distance_correlation`, which needs no such memory).
    All three matrices of two models of 10 layers, d from 64 to 512, n = 1000, one core: ``"cca"`` and
    ``"svcca"`` 6 s, ``"pwcca"`` 13 s, the shapes 4 s, ``"rsa"`` 2 s, ``"distance_correlation"`` 0.8 s, neighbours 0.6 s.

    Examples
    --------
    >>> layers = [np.random.default_rng(i).standard_normal((30, 4)) for i in range(3)]
    >>> found = dict(similarity_matrices([layers, layers[:2]], "mutual_knn", k=5))
    >>> sorted(found), found[0, 1].shape, bool(found[0, 1][1, 1] == 1)
    ([(0, 0), (0, 1), (1, 1)], (3, 2), True)
    """
    if metric not in HALVES:
        raise ValueError(f"metric {metric!r} is not known; allowed: {', '.join(HALVES)} (CKA: cka_matrices)")
    halves = HALVES[metric]
    unknown = sorted(set(options) - set(halves.options))
    if unknown:
        allowed = f"allowed: {', '.join(halves.options)}" if halves.options else "it has none"
        raise ValueError(f"{metric} has no option {unknown[0]!r}; {allowed}")
    return pair_matrices(
        models, halves, _checked(models, pairs, combinations_with_replacement(range(len(models)), 2)), options
    )


def linear_predictivity_matrices(
    models: Sequence[Sequence[Any]], *, rng: np.random.Generator, groups: Any = None, folds: int = 5,
    pairs: Sequence[Pair] | None = None,
) -> Iterator[tuple[Pair, np.ndarray]]:  # fmt: skip
    """Cross-validated R^2, at most 1, of every layer of one model predicted from every layer of another.

    Parameters
    ----------
    models : for each model its layers, (n, d) arrays of features, one row a sample, the same samples in the same order
    rng : source of randomness, for the folds; all layers share them
    groups : (n,) labels (patients) kept together in the folds, and when alpha is chosen; None takes samples
    folds : number of folds, 2 to the number of samples or groups
    pairs : models, by index, the predicting one first; None is every ordered pair, a model with itself included

    Returns
    -------
    iterator
        Of the pair (i, j) and (Li, Lj) values: row a, column b is `linear_predictivity` of layer b of model j predicted from
        layer a of model i, with a generator in the state of ``rng`` (to 1e-12).

    Raises
    ------
    ValueError
        As `linear_predictivity`, with the layer's place; if a model of a pair does not exist, has no layers, or numbers of
        rows differ.

    Notes
    -----
    The eigendecompositions, one a fold, are made once a layer and kept: 8 folds d^2 bytes, d = min(n, d). A pair
    costs O(folds alphas n d1 d2), which is most of it: all four pairs of two models of four
    layers, d from 64 to 512, n = 1000, one core: 17.7 s, one by one 18.6 s.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((60, 4))
    >>> found = dict(linear_predictivity_matrices([[X], [X[:, :2] + 5]], rng=np.random.default_rng(0)))
    >>> sorted(found), bool(found[0, 1] > 0.999), bool(found[1, 0] < 0.6)
    ([(0, 0), (0, 1), (1, 0), (1, 1)], True, True)
    """
    wanted = _checked(models, pairs, product(range(len(models)), range(len(models))))
    n = len(models[wanted[0][0]][0]) if wanted else 0
    codes, fold, unit = drawn_folds(n, groups, folds, rng)
    penalties = checked_penalties(ALPHAS)

    def prepare(X: Any, name: str) -> tuple[np.ndarray, list[RidgeBasis]]:
        Z = predictor(as_features(X, name), name)
        return Z, bases_by_fold(Z, codes, fold, unit)

    def combine(A: tuple[np.ndarray, list[RidgeBasis]], B: tuple[np.ndarray, list[RidgeBasis]]) -> float:
        return 1 - unexplained(A[0], B[0], A[1], codes, fold, penalties=penalties)

    return pair_matrices(models, Halves(prepare, combine), wanted, {})


def pair_matrices(
    models: Sequence[Sequence[Any]], halves: Halves, wanted: list[Pair], options: dict[str, Any]
) -> Iterator[tuple[Pair, np.ndarray]]:
    """Yield each pair with its values; a layer is prepared once and kept until the last pair that needs it."""
    prepared: dict[int, list[Any]] = {}
    last = {each: place for place, pair in enumerate(wanted) for each in pair}
    for place, (i, j) in enumerate(wanted):
        for each in {i, j} - set(prepared):
            prepared[each] = [
                halves.prepare(layer, f"layer {number} of model {each}", **options)
                for number, layer in enumerate(models[each])
            ]
        yield (i, j), np.array([[halves.combine(A, B) for B in prepared[j]] for A in prepared[i]])
        for each in {i, j}:
            if last[each] == place:
                del prepared[each]


def _checked(models: Sequence[Sequence[Any]], pairs: Iterable[Pair] | None, every: Iterable[Pair]) -> list[Pair]:
    """Return the pairs wanted; raise ValueError where models have no layers, other rows, or do not exist."""
    rows = {len(layer): (m, place) for m, layers in enumerate(models) for place, layer in enumerate(layers)}
    if len(rows) > 1:
        (n, first), (other, second), *_ = rows.items()
        raise ValueError(
            f"layer {first[1]} of model {first[0]} has {n} rows and layer {second[1]} of model {second[0]} {other}; "
            "all need the same samples in the same order"
        )
    wanted = list(every if pairs is None else pairs)
    for pair in wanted:
        if not all(0 <= each < len(models) for each in pair):
            raise ValueError(f"pairs hold {tuple(pair)}; there are {len(models)} models, counted from 0")
        if not all(len(models[each]) for each in pair):
            raise ValueError(f"a model of the pair {tuple(pair)} has no layers")
    return wanted
