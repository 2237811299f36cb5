"""What sets of models would get right if they were right independently of each other, and how likely the counts are then."""

from __future__ import annotations

import numpy as np
from scipy import stats

from featurespace.metrics.answers import memberships
from featurespace.stats.estimate import MIN_UNITS
from featurespace.stats.permutation import permutation_p
from featurespace.stats.resampling import jackknife_variance
from featurespace.stats.transformed import seen_degrees_of_freedom

CHUNK_NUMBERS = 1 << 22
"""Numbers of one array of permuted counts: 32 MB."""
ROUNDING = 1e-12  # of shares without each unit that are equal but for the order of summation


def expected_shares(cells: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """Return (2^m,) shares of models that are right independently of each other in each stratum, with their accuracies there.

    Parameters
    ----------
    cells : (blocks, 2^m) counts of each exact set, in the order of `answer_sets`
    strata : (blocks,) stratum of each block, from 0 on

    Examples
    --------
    >>> expected_shares(np.array([[0, 1, 1, 2]]), np.array([0])).tolist()
    [0.0625, 0.1875, 0.1875, 0.5625]
    """
    members = _members(cells.shape[1])
    sizes = np.bincount(strata, weights=cells.sum(axis=1))
    right = np.stack([np.bincount(strata, weights=each) for each in (cells @ members).T], axis=-1)
    return _products(right, sizes, members) / sizes.sum()


def permutation_p_values(
    cells: np.ndarray, strata: np.ndarray, exchange: bool, *, rng: np.random.Generator, permutations: int
) -> np.ndarray:
    """Return (2^m,) two-sided p-values of the counts, the answers of each model permuted within strata.

    Parameters
    ----------
    cells, strata : as in `expected_shares`
    exchange : whether blocks are groups, each model's answers to one exchanged for those to another of its stratum; otherwise
        each block is a stratum, whose answers are permuted
    rng : source of randomness
    permutations : number of permutations

    Notes
    -----
    A permutation is drawn as the counts that it gives. Of answers permuted within a block, those of a model that are
    right fall on the cells made by the models before it as in a draw without replacement. A group of another size takes
    its answers as often as they go into it whole, and a draw without replacement of them for the rest: an exact
    permutation of whole groups where all are of one size.
    """
    members = _members(cells.shape[1])
    sizes, right = cells.sum(axis=1), cells @ members
    of_stratum = np.bincount(strata, weights=sizes)
    observed = cells.sum(axis=0) - expected_shares(cells, strata) * sizes.sum()
    chunk = max(1, CHUNK_NUMBERS // cells.size)
    null = []
    for start in range(0, permutations, chunk):
        count = min(chunk, permutations - start)
        drawn = np.broadcast_to(right, (count, *right.shape))
        if exchange:
            drawn = _exchanged(right, sizes, strata, count, rng)
        counts = _permuted(drawn, sizes, rng)
        by_stratum = np.einsum("sb,cbk->csk", strata == np.arange(len(of_stratum))[:, None], drawn)
        null.append(counts[:, _codes(members)] - _products(by_stratum, of_stratum, members))
    return np.array([_two_sided(value, each) for value, each in zip(observed, np.concatenate(null).T)])


def jackknife_p_values(cells: np.ndarray) -> np.ndarray:
    """Return (2^m,) two-sided p-values of share less expected share, by a jackknife over units; nan where it cannot be seen.

    Parameters
    ----------
    cells : (units, 2^m) counts of each exact set, in the order of `answer_sets`

    Notes
    -----
    Student's t, with fewer degrees of freedom where few units make most of the variance; nan where fewer than 5 units hold
    the set, since the variance of its count is a guess then.
    """
    if len(cells) < MIN_UNITS:
        return np.full(cells.shape[1], np.nan)
    members = _members(cells.shape[1])
    sizes, total = cells.sum(axis=1), cells.sum(axis=0)
    left, rest = total - cells, sizes.sum() - sizes
    without = left / rest[:, None] - _products((left @ members)[:, None], rest[:, None], members) / rest[:, None]
    values = total / sizes.sum() - expected_shares(cells, np.zeros(len(cells), dtype=int))
    found = np.full(len(total), np.nan)
    for place in np.flatnonzero(np.count_nonzero(cells, axis=0) >= MIN_UNITS):
        leave_out, value = without[:, place], values[place]
        if np.ptp(leave_out) > ROUNDING:
            variance = jackknife_variance(float(value), leave_out, sizes.astype(float))[1]
            freedom = seen_degrees_of_freedom(leave_out, sizes)
            found[place] = 2 * stats.t.sf(abs(value) / np.sqrt(variance), freedom)
    return found


def _members(sets: int) -> np.ndarray:
    """Return (2^m, m) 0 and 1, which models are in which set of `answer_sets`."""
    return memberships(sets.bit_length() - 1).astype(np.int64)


def _codes(members: np.ndarray) -> np.ndarray:
    """Return the number of each set whose binary digits are its models, the first the lowest."""
    return members @ 2 ** np.arange(members.shape[1])


def _products(right: np.ndarray, sizes: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Return (..., 2^m) expected counts from right answers (..., strata, m) and samples (..., strata)."""
    accuracy = (right / sizes[..., None])[..., None, :]
    return np.einsum("...s,...sk->...k", sizes, np.where(members, accuracy, 1 - accuracy).prod(axis=-1))


def _exchanged(
    right: np.ndarray, sizes: np.ndarray, strata: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Return (count, blocks, m) right answers, those of each model to a block taken from another block of its stratum."""
    found = np.empty((count, *right.shape), dtype=np.int64)
    for stratum in np.unique(strata):
        own = np.flatnonzero(strata == stratum)
        for model in range(right.shape[1]):
            source = rng.permuted(np.tile(own, (count, 1)), axis=1)
            given = right[source, model]
            whole, rest = np.divmod(sizes[own], sizes[source])
            found[:, own, model] = whole * given + rng.hypergeometric(given, sizes[source] - given, rest)
    return found


def _permuted(right: np.ndarray, sizes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return (count, 2^m) counts by `_codes` of answers permuted within blocks, from right answers (count, blocks, m)."""
    cells = np.broadcast_to(sizes, right.shape[:2])[..., None]
    for model in range(right.shape[2]):
        left, pool = right[..., model].copy(), np.broadcast_to(sizes, right.shape[:2])
        hit = np.empty(cells.shape, dtype=np.int64)
        for place in range(cells.shape[2]):
            pool = pool - cells[..., place]
            hit[..., place] = rng.hypergeometric(cells[..., place], pool, left)
            left -= hit[..., place]
        cells = np.concatenate([cells - hit, hit], axis=2)
    return cells.sum(axis=1)


def _two_sided(value: float, null: np.ndarray) -> float:
    """Return twice the smaller one-sided p, at most 1; counts that are equal differ by the rounding of what is expected."""
    tolerance = 1e-9 * max(1.0, abs(value))
    above, below = (permutation_p(sign * value, sign * null, tolerance=tolerance) for sign in (1, -1))
    return min(1.0, 2 * min(above, below))
