"""Probes: what a simple classifier reads from frozen features; scores are in `featurespace.metrics.scores`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import log_softmax, softmax
from threadpoolctl import threadpool_limits

from featurespace.metrics.arrays import as_features, normalised_rows
from featurespace.metrics.logistic import logits_of, principal_axes, softmax_path
from featurespace.metrics.scores import probe_scores
from featurespace.metrics.standardised import standardised
from featurespace.stats.checks import check_counts, check_generator
from featurespace.stats.resampling import is_missing, resampling_units

__all__ = ["Probe", "knn_probe", "linear_probe", "probe_scores"]

C_PATH = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
TEMPERATURE = 0.07
TIE = 1e-3
"""A held-out log-likelihood (nats a sample) this little below the best is as good, and the smaller C is taken."""


@dataclass(frozen=True, eq=False)
class Probe:
    """Predictions of a probe for its test samples, and how it was fitted.

    Parameters
    ----------
    name : ``"linear"``, ``"ridge"`` or ``"knn"``
    classes : (K,) sorted labels of the training samples
    predictions : (n_test,) labels
    probabilities : (n_test, K), rows sum to 1; of ridge they are least-squares scores, which may leave [0, 1]
    C : chosen inverse penalty of linear
    k : neighbours of knn
    cv_scores : of linear, mean held-out log-likelihood (nats a sample) of each C tried; of ridge, mean left-out squared
        error of each alpha
    folds : folds of the cross-validation, 0 for none
    note : what differs from what was asked, e.g. fewer folds; empty if nothing
    alpha : chosen penalty of ridge
    """

    name: str
    classes: np.ndarray
    predictions: np.ndarray
    probabilities: np.ndarray
    C: float | None = None
    k: int | None = None
    cv_scores: dict[float, float] = field(default_factory=dict)
    folds: int = 0
    note: str = ""
    alpha: float | None = None


def linear_probe(
    X_train: Any,
    y_train: Any,
    X_test: Any,
    *,
    rng: np.random.Generator,
    groups: Any = None,
    C: Sequence[float] = C_PATH,
    folds: int = 4,
) -> Probe:
    """Multinomial logistic regression on standardised features, C chosen by cross-validation in the training set.

    Parameters
    ----------
    X_train : (n, d) array, features, one row a sample
    y_train : (n,) labels
    X_test : (m, d) array, features of other samples
    rng : source of randomness, for the folds
    groups : (n,) labels (patients) that stay in one fold; None if samples are independent
    C : inverse penalties to try, as in scikit-learn; from small to large until two in a row gain less than 0.001
    folds : folds of the stratified cross-validation; fewer where a class or the groups do not allow as many

    Returns
    -------
    Probe
        With probabilities for the test samples.

    Raises
    ------
    ValueError
        If there is one class, a class has fewer than 2 samples, all features are constant, shapes disagree, a label
        is missing, a value is not finite, or C or folds is out of range.

    Notes
    -----
    Mean and deviation come from the training samples (of all folds); constant columns are dropped. C has the highest
    held-out log-likelihood (within 0.001, the smallest), which, unlike accuracy, moves with every sample. The same
    optimum as scikit-learn's LogisticRegression, two classes included: probabilities within 1e-3, or 5e-3 at C = 100
    with separable classes, where the optimum is flat.
    Cost O(n d folds K) an iteration, 10-60 iterations for each C; n = 1500, 6 classes: 0.4 s at d = 192, 2 s at
    d = 1280, on one core; n = 10,000, 5000 test samples, d = 512, correlated: 8 s (20 probes: 160 s), 240 MB, largest error of
    a probability 1e-5, where scikit-learn's LogisticRegressionCV with the same folds and C takes 12 s and is off by 0.05 to
    0.07 at its default tolerance (the same C; 99.6 % of predictions agree).

    References
    ----------
    Alain, Bengio 2016, arXiv:1610.01644; Kornblith et al. 2019, arXiv:1805.08974 (L2 path and log-likelihood).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, y = np.repeat([[0.0, 0.0], [4.0, 0.0]], 20, axis=0) + rng.standard_normal((40, 2)), np.repeat(["a", "b"], 20)
    >>> linear_probe(X, y, [[0.0, 0.0], [4.0, 0.0]], rng=rng).predictions.tolist()
    ['a', 'b']
    """
    X, classes, y, T = checked_training(X_train, y_train, X_test)
    check_generator(rng)
    path = checked_inverses(C, folds)
    Z, T = standardised(X, T)
    onehot = np.eye(len(classes))[y]
    masks, note = training_masks(y, groups, folds, rng)
    best, scores = path[len(path) // 2], {}
    # one thread: the products are small, and threads that wait for each other make them ten times slower on a busy
    # machine; it also makes the result independent of the number of cores
    with threadpool_limits(limits=1, user_api="blas"):
        axes, squares = principal_axes(Z)
        Z = Z @ axes
        if len(path) > 1 and masks.shape[1]:
            scores = _cross_validate(Z, squares, onehot, masks, path)
            best = min(c for c in scores if scores[c] >= max(scores.values()) - TIE)
        coefficients = _fit(Z, squares, onehot, best, path)
    probabilities = softmax(logits_of(T @ axes, coefficients)[:, 0], axis=1)
    chosen = classes[probabilities.argmax(axis=1)]
    return Probe("linear", classes, chosen, probabilities, best, None, scores, masks.shape[1], note)


def _softmax_c(C: float, onehot: np.ndarray) -> float:
    """Return the C of the softmax model; for two classes it has two weight vectors where the usual model has one."""
    return C / 2 if onehot.shape[1] == 2 else C


def _fit(Z: np.ndarray, squares: np.ndarray, onehot: np.ndarray, best: float, path: list[float]) -> np.ndarray:
    """Return the coefficients for all training samples, started from those of the smaller C."""
    everything = np.ones((len(Z), 1), dtype=bool)
    C = [_softmax_c(c, onehot) for c in path if c <= best]
    tolerances = [1e-2] * (len(C) - 1) + [2e-5]
    for coefficients in softmax_path(Z, squares, onehot, everything, C=C, tolerances=tolerances):
        last = coefficients
    return last


def _cross_validate(
    Z: np.ndarray, squares: np.ndarray, onehot: np.ndarray, masks: np.ndarray, path: list[float]
) -> dict[float, float]:
    """Return the mean held-out log-likelihood of each C, until two in a row gain less than `TIE`."""
    scores: dict[float, float] = {}
    softmax_c = [_softmax_c(c, onehot) for c in path]
    fits = softmax_path(Z, squares, onehot, masks, C=softmax_c, tolerances=[2e-3] * len(path))
    for c, coefficients in zip(path, fits):
        logp = log_softmax(logits_of(Z, coefficients), axis=2)
        held_out = np.einsum("nfk,nk->nf", logp, onehot)[~masks]
        scores[c] = float(held_out.mean())
        values = list(scores.values())
        if len(values) > 2 and max(values[-2:]) < max(values[:-2]) + TIE:
            break
    return scores


def checked_inverses(C: Sequence[float], folds: int) -> list[float]:
    """Return the inverse penalties in ascending order.

    Raises
    ------
    ValueError
        If there are none, one is not positive or not finite, or there are fewer than 2 folds.
    """
    path = sorted(float(c) for c in C)
    if not path or path[0] <= 0 or not math.isfinite(path[-1]):
        raise ValueError(f"C is {C}; it must hold positive numbers, e.g. {C_PATH}")
    check_counts(folds=folds)
    if folds < 2:
        raise ValueError(f"folds is {folds}; cross-validation needs at least 2")
    return path


def training_masks(y: np.ndarray, groups: Any, folds: int, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """Return the (n, folds) training samples of each fold, and what differs from what was asked."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    codes, _, count = resampling_units(groups, len(y))
    smallest = int(np.bincount(y).min())
    possible = min(folds, smallest, count)
    note = ""
    if possible < folds:
        note = f"{possible} folds, not {folds}: the smallest class has {smallest} samples"
        note += f", and there are {count} groups" if groups is not None else ""
    if possible < 2:
        return np.zeros((len(y), 0), dtype=bool), f"no cross-validation: {count} group; C is the middle of the path"
    seed = int(rng.integers(2**32))
    rows = np.zeros((len(y), 1))
    if count == len(y):  # the same folds, a hundred times sooner
        split = StratifiedKFold(possible, shuffle=True, random_state=seed).split(rows, y)
    else:
        split = StratifiedGroupKFold(possible, shuffle=True, random_state=seed).split(rows, y, codes)
    masks = np.ones((len(y), possible), dtype=bool)
    for fold, (_, held_out) in enumerate(split):
        masks[held_out, fold] = False
    return masks, note


def knn_probe(X_train: Any, y_train: Any, X_test: Any, *, k: int = 20) -> Probe:
    """Weighted cosine k-nearest-neighbour classifier; a neighbour votes with ``exp(cosine / 0.07)``.

    Parameters
    ----------
    X_train : (n, d) array, features, one row a sample
    y_train : (n,) labels; one sample a class is enough
    X_test : (m, d) array, features of other samples
    k : neighbours, 1 to n

    Returns
    -------
    Probe
        Probabilities are the normalised votes; classes without a neighbour get 0.

    Raises
    ------
    ValueError
        If there is one class, shapes disagree, a label is missing, a value is not finite, k is out of range or a row is zero.

    Notes
    -----
    Cost O(n m d) time, O(n d) memory: 512 test rows at a time. Neither centred nor standardised, as in the papers.

    References
    ----------
    Wu et al. 2018, arXiv:1805.01978 (weights, temperature 0.07); Caron et al. 2021, arXiv:2104.14294 (k = 20).

    Examples
    --------
    >>> knn_probe([[1, 0], [0.9, 0.1], [0, 1], [0.1, 1]], ["a", "a", "b", "b"], [[2, 0]], k=2).predictions.tolist()
    ['a']
    """
    X, classes, y, T = checked_training(X_train, y_train, X_test, least=1)
    check_counts(k=k)
    if not 1 <= k <= len(X):
        raise ValueError(f"k is {k}; with {len(X)} training samples it must lie between 1 and {len(X)}")
    onehot = np.eye(len(classes))[y]
    probabilities = np.empty((len(T), len(classes)))
    for rows, nearest, weights in voters(X, T, k):
        votes = np.einsum("mk,mkc->mc", weights, onehot[nearest])
        # Rounded, because unanimous votes sum to 1 or to 1 - 1e-16, and a ranking (AUC) would break such ties by chance.
        probabilities[rows] = votes.round(12)
    return Probe("knn", classes, classes[probabilities.argmax(axis=1)], probabilities, k=k)


def voters(X: np.ndarray, T: np.ndarray, k: int) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Yield, 512 test rows at a time, which they are, their k nearest training rows and the weights of their votes."""
    X, T = normalised_rows(X, "X_train"), normalised_rows(T, "X_test")
    for start in range(0, len(T), 512):
        likeness = T[start : start + 512] @ X.T
        nearest = np.argpartition(likeness, len(X) - k, axis=1)[:, len(X) - k :]
        weights = softmax(np.take_along_axis(likeness, nearest, axis=1) / TEMPERATURE, axis=1)
        yield slice(start, start + len(likeness)), nearest, weights


def checked_training(
    X_train: Any, y_train: Any, X_test: Any, *, least: int = 2
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return features, classes, coded labels and test features.

    Raises
    ------
    ValueError
        If there is one class, one has fewer than ``least`` samples, shapes disagree, a label is missing or a value not finite.
    """
    X, T = as_features(X_train, "X_train"), as_features(X_test, "X_test")
    if X.shape[1] != T.shape[1]:
        raise ValueError(f"X_train has {X.shape[1]} columns and X_test {T.shape[1]}")
    labels = np.asarray(y_train)
    if labels.shape != (len(X),):
        raise ValueError(f"y_train has shape {labels.shape}; it needs one label for each of the {len(X)} rows")
    if any(is_missing(label) for label in labels.tolist()):
        raise ValueError("y_train has missing labels; leave such samples out")
    classes, y = np.unique(labels, return_inverse=True)
    counts = np.bincount(y)
    if len(classes) < 2:
        raise ValueError(f"y_train has one class, {classes[0]!s}; a probe needs at least 2")
    if counts.min() < least:
        raise ValueError(
            f"class {classes[counts.argmin()]!s} has {counts.min()} training sample; at least {least} are needed: "
            "add samples, merge the class with another, or leave it out"
        )
    return X, classes, y, T
