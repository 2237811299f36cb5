"""Permutation tests: which units go to which side, and the p-value."""

from __future__ import annotations

from typing import Any

import numpy as np


def permutation_p(observed: float, null: Any, *, tolerance: float = 0.0) -> float:
    """One-sided permutation p-value ``(1 + k) / (1 + B)``, in [1 / (1 + B), 1]; small means larger than chance.

    Parameters
    ----------
    observed : the statistic, large when the hypothesis fails
    null : (B,) statistics of random permutations
    tolerance : a null value this little below the observed one counts as equal, so that rounding cannot turn a
        tie (the same split drawn again) into evidence

    Returns
    -------
    float
        With k the number of null values at or above the observed one. Never 0: the observed split is one of the
        permutations.

    Raises
    ------
    ValueError
        If there are no null values or some are not finite.

    References
    ----------
    Phipson, Smyth 2010, "Permutation p-values should never be zero", arXiv:1603.05766.

    Examples
    --------
    >>> permutation_p(3.0, [1.0, 2.0, 3.0])
    0.5
    """
    null = np.asarray(null, dtype=float)
    if null.size == 0 or not (np.isfinite(null).all() and np.isfinite(observed)):
        raise ValueError(f"{null.size} permutations given; at least one is needed, and all values finite")
    return float((1 + np.count_nonzero(null >= observed - tolerance)) / (1 + null.size))


def permute_units(count: int, chosen: int, *, permutations: int, rng: np.random.Generator) -> np.ndarray:
    """Draw which units go to the first side in each permutation.

    Parameters
    ----------
    count : number of units in the pooled sample
    chosen : number of them on the first side
    permutations : number of permutations
    rng : source of randomness

    Returns
    -------
    ndarray
        (permutations, count) booleans with `chosen` true in each row, each subset equally likely.

    Raises
    ------
    ValueError
        If permutations < 1 or chosen does not leave a unit on each side.

    Notes
    -----
    Cost O(permutations count log count): ranks of uniform numbers, all rows at once.

    Examples
    --------
    >>> permute_units(5, 2, permutations=3, rng=np.random.default_rng(0)).sum(axis=1).tolist()
    [2, 2, 2]
    """
    if permutations < 1:
        raise ValueError(f"permutations is {permutations}; at least 1 is needed, 999 or more for a small p")
    if not 0 < chosen < count:
        raise ValueError(f"{chosen} of {count} units on the first side; each side needs at least one")
    side = np.zeros((permutations, count), dtype=bool)
    side[:, :chosen] = True
    return rng.permuted(side, axis=1)
