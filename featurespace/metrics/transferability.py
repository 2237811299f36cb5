"""Scores that predict how well a pretrained network will finetune, from one forward pass and the labels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize_scalar

from featurespace.metrics.arrays import as_features, centred, narrow, tamed
from featurespace.stats.resampling import is_missing

MOST_SPANNED = 0.9  # of the n - 1 directions of n samples, for an H-score to tell labels apart


def log_me(X: Any, y: Any) -> float:
    """Log maximum evidence per sample (LogME) of a Bayesian linear model of the classes, unbounded, high is good.

    The largest ``log p(y | X, a, b) / n`` over prior precision a and noise precision b, for each class against the rest (0 or
    1), and the mean over classes.

    Parameters
    ----------
    X : (n, d) array, features, one row a sample
    y : (n,) labels

    Returns
    -------
    float
        Comparable between features of the same samples only: it depends on the classes and their frequencies.

    Raises
    ------
    ValueError
        If shapes disagree, a label is missing, there is one class, a value is not finite, all features are 0, or features
        of rank below n fit a class exactly, since the evidence then has no bound.

    Notes
    -----
    No intercept and no centring, as in the paper: invariant to rotation and isotropic scale, not to a shift of the features.
    With ``y ~ N(0, (I + X X' / q) / b)``, q = a / b, the best b is known for each q, and the evidence is maximised over q alone,
    by a grid and Brent's method, to the largest maximum, q = 0 and infinity included. The paper's fixed point, where it
    converges, is a maximum of the same function (agreement 1e-7 in tests; its code stops at a change of q by 0.1 %, and
    where features tell nothing its a grows without end).
    Unlike the likelihood of a fit, it does not grow with useless features. Cost O(n d min(n, d)): 0.4 s at n = 10,000, d = 512,
    6 classes; 0.1 s at n = 500, d = 2048, one core.

    References
    ----------
    You et al. 2021, arXiv:2102.11005; You et al. 2022, JMLR 23(209) (the fixed point and its convergence).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(100) % 2
    >>> good, bad = 2 * y[:, None] + rng.standard_normal((2, 100, 3)) * [[[1]], [[9]]]
    >>> log_me(good, y) > log_me(bad, y)
    True
    """
    X, codes, classes = _labelled(X, y)
    return _mean_evidence(X, np.eye(len(classes))[codes], [f"class {label!s}" for label in classes])


def log_me_regression(X: Any, Y: Any) -> float:
    """Log maximum evidence per sample (LogME) of a Bayesian linear model of measured values, unbounded, high is good.

    Parameters
    ----------
    X : (n, d) array, features, one row a sample
    Y : (n,) or (n, t) array, targets; the mean over several is taken

    Returns
    -------
    float
        Comparable between features of the same samples only: a target times c loses log c.

    Raises
    ------
    ValueError
        If shapes disagree, a value is not finite, all features or a target are 0, or features of rank below n fit a target
        exactly, since the evidence then has no bound.

    Notes
    -----
    As `log_me`. There is no intercept: targets far from 0 should be centred first.

    References
    ----------
    You et al. 2021, arXiv:2102.11005.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((100, 3))
    >>> y = X[:, 0] + 0.1 * rng.standard_normal(100)
    >>> log_me_regression(X, y) > log_me_regression(X[:, 1:], y)
    True
    """
    X = as_features(X, "X")
    if not hasattr(Y, "ndim"):
        Y = np.asarray(Y)
    Y = as_features(Y[:, None] if Y.ndim == 1 else Y, "Y")
    if len(X) != len(Y):
        raise ValueError(f"X has {len(X)} rows and Y {len(Y)}; each sample needs its value")
    if (Y == 0).all(axis=0).any():
        raise ValueError(f"target {int((Y == 0).all(axis=0).argmax())} is 0 throughout; its evidence has no bound")
    return _mean_evidence(X, Y, [f"target {column}" for column in range(Y.shape[1])])


def h_score(X: Any, y: Any, *, shrinkage: bool = False) -> float:
    """H-score: variance of features between classes in units of their covariance, from 0 to classes - 1, high is good.

    ``trace(S^-1 S_between)``, S the covariance of the features, S_between that of their class means.

    Parameters
    ----------
    X : (n, d) array, features, one row a sample
    y : (n,) labels
    shrinkage : whether to shrink S towards a multiple of the identity by Ledoit and Wolf's amount, for n near or below d

    Returns
    -------
    float
        From 0 to min(classes - 1, rank of the features).

    Raises
    ------
    ValueError
        If shapes disagree, a label is missing, there is one class, a value is not finite, X is constant, or, without
        shrinkage, features span more than 9 in 10 of the n - 1 directions: then any labels score nearly classes - 1.

    Notes
    -----
    Biased upwards: labels that tell nothing score ``rank (classes - 1) / (n - 1)`` on average, exactly so over permutations, so
    that wider layers look better. Where S is singular, its pseudo-inverse. Invariant to translation, rotation and isotropic
    scale, without shrinkage to any invertible linear map. With shrinkage a, S becomes ``(1 - a) S + a m I``, m the mean
    variance, and S_between is taken times 1 - a, as by Ibrahim et al. Both covariances divide by n (their code divides
    S_between by n - 1). Cost O(n d min(n, d)): 0.7 s at n = 10,000, d = 512, one core, 0.3 s with shrinkage.

    References
    ----------
    Bao et al. 2019, ICIP, 2309-2313; Ibrahim, Ponomareva, Mazumder 2022, arXiv:2110.06893 (shrinkage); Ledoit, Wolf 2004,
    Journal of Multivariate Analysis 88, 365-411.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(100) % 2
    >>> h_score(y[:, None] + 0.01 * rng.standard_normal((100, 1)), y) > 0.99
    True
    """
    X, codes, classes = _labelled(X, y)
    Z = centred(tamed(X))
    peak = np.abs(Z).max()
    if peak == 0:
        raise ValueError("X is constant: every sample has the same features, so that no class differs")
    Z = narrow(Z / peak)
    onehot = np.eye(len(classes))[codes]
    counts = onehot.sum(axis=0)
    if shrinkage:
        return _shrunk_h_score(Z, X.shape[1], onehot, counts)
    U, sizes, _ = np.linalg.svd(Z, full_matrices=False)
    kept = sizes > sizes[0] * max(X.shape) * np.finfo(float).eps
    if kept.sum() > MOST_SPANNED * (len(X) - 1):
        raise ValueError(
            f"{len(X)} samples span {int(kept.sum())} of at most {len(X) - 1} directions, so that any labels score nearly "
            "classes - 1; take more samples than features, or shrinkage=True"
        )
    return float((np.square(U[:, kept].T @ onehot).sum(axis=0) / counts).sum())


def _shrunk_h_score(Z: np.ndarray, width: int, onehot: np.ndarray, counts: np.ndarray) -> float:
    """Return the H-score of centred features, rotated into at most n of their ``width`` columns."""
    n = len(Z)
    S = Z.T @ Z / n
    mean = np.trace(S) / width
    # Ledoit and Wolf: the error of S over its distance from the target, both over the columns that were rotated away too
    spread = np.vdot(S, S) - width * mean**2
    fourth = np.square(np.square(Z).sum(axis=1)).sum() / n
    amount = 0.0 if spread <= 1e-12 * mean**2 else min((fourth - np.vdot(S, S)) / n / spread, 1.0)
    means = (onehot.T @ Z) / counts[:, None]
    shrunk = (1 - amount) * S + amount * mean * np.eye(len(S))
    try:
        solved = cho_solve(cho_factor(shrunk), means.T)
    except np.linalg.LinAlgError:  # nothing was shrunk, and S is singular
        solved = np.linalg.lstsq(shrunk, means.T, rcond=None)[0]
    return float((1 - amount) * (counts * (means.T * solved).sum(axis=0)).sum() / n)


def leep(probabilities: Any, y: Any) -> float:
    """Log expected empirical prediction (LEEP) of labels from a source model's classes, at most 0, high is good.

    ``mean_i log sum_z P(y_i | z) p_i(z)``, P(y | z) the empirical distribution of labels given source class z.

    Parameters
    ----------
    probabilities : (n, Z) array, the source model's class probabilities for each sample
    y : (n,) labels of the target task

    Returns
    -------
    float
        From minus the entropy of the labels (nats), where the source classes tell nothing, to 0.

    Raises
    ------
    ValueError
        If shapes disagree, a label is missing, there is one class, a value is not finite or negative, or a row does not sum
        to 1 (within 0.001).

    Notes
    -----
    Labels that tell nothing score above minus their entropy, the more, the more source classes there are: P(y | z) is taken
    from the same samples. Cost O(n Z).

    References
    ----------
    Nguyen et al. 2020, arXiv:2002.12462.

    Examples
    --------
    >>> leep([[1.0, 0.0], [0.0, 1.0]], ["a", "b"])
    0.0
    """
    P, codes, classes = _labelled(probabilities, y, "probabilities")
    if (P < 0).any():
        row, column = np.argwhere(P < 0)[0]
        raise ValueError(f"probabilities are negative in row {row}, column {column} ({P[row, column]:g})")
    wrong = np.abs(P.sum(axis=1) - 1) > 1e-3
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"probabilities sum to {P[row].sum():g} in row {row}; rows sum to 1: take the softmax of logits"
        )
    P = P[:, P.sum(axis=0) > 0]
    joint = np.eye(len(classes))[codes].T @ P
    conditional = joint / joint.sum(axis=0)
    return float(np.log((conditional[codes] * P).sum(axis=1)).mean())


def _labelled(X: Any, y: Any, name: str = "X") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features, coded labels and classes."""
    X, labels = as_features(X, name), np.asarray(y)
    if labels.shape != (len(X),):
        raise ValueError(f"y has shape {labels.shape}; it needs one label for each of the {len(X)} rows")
    if any(is_missing(label) for label in labels.tolist()):
        raise ValueError("y has missing labels; leave such samples out")
    classes, codes = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"y has one class, {classes[0]!s}; at least 2 are needed")
    return X, codes, classes


def _mean_evidence(X: np.ndarray, Y: np.ndarray, names: list[str]) -> float:
    """Return the mean over targets of the largest log evidence per sample."""
    n, d = X.shape
    X = tamed(X)
    peak = np.abs(X).max()
    if peak == 0:
        raise ValueError("X is 0 throughout; a linear model of it has nothing to weigh")
    sizes_y = np.ldexp(1.0, np.frexp(np.abs(Y).max(axis=0))[1])
    X, Y = X / peak, Y / sizes_y
    if n > d:  # Q'Y and what is left of Y come with the triangle, and no square of X is formed
        triangle = np.asarray(np.linalg.qr(np.concatenate([X, Y], axis=1), mode="r"))
        square, inside, rest = triangle[:d, :d], triangle[:d, d:], np.square(triangle[d:, d:]).sum(axis=0)
    else:
        square, inside, rest = narrow(X), Y, np.zeros(Y.shape[1])
    U, sizes, _ = np.linalg.svd(square)
    kept = sizes > sizes[0] * max(n, d) * np.finfo(float).eps
    squares = np.square(U.T @ inside)
    rest = rest + squares[~kept].sum(axis=0)
    found = []
    for column, name in enumerate(names):
        total = float(squares[:, column].sum() + rest[column])
        if kept.sum() < n and rest[column] <= total * 1e-24:
            raise ValueError(f"the features fit {name} exactly, so that its evidence has no bound; take harder labels")
        outside = float(rest[column]) if kept.sum() < n else 0.0
        found.append(_largest_evidence(sizes[kept] ** 2, squares[kept, column], outside, n) - math.log(sizes_y[column]))
    return float(np.mean(found))


def _largest_evidence(eigenvalues: np.ndarray, squares: np.ndarray, rest: float, n: int) -> float:
    """Return the largest log evidence per sample over log q."""

    def loss(log_q: float) -> float:
        q = math.exp(log_q)
        noise = (float((squares * q / (q + eigenvalues)).sum()) + rest) / n
        return 0.5 * (math.log(2 * math.pi * noise) + 1 + float(np.log1p(eigenvalues / q).sum()) / n)

    # beyond this range nothing changes but the last digits: the ends stand for 0 and infinity
    grid = np.linspace(math.log(eigenvalues.min()) - 25, math.log(eigenvalues.max()) + 25, 100)
    values = [loss(each) for each in grid]
    best = int(np.argmin(values))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    refined = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-9})
    return -min(float(refined.fun), min(values))
