"""Several tests at once."""

from __future__ import annotations

from typing import Any

import numpy as np


def holm(p_values: Any) -> np.ndarray:
    """Holm-adjusted p-values, in [0, 1]; they hold the family-wise error whatever the dependence.

    Parameters
    ----------
    p_values : (m,) p-values; nan (no test) stays nan and does not count

    Returns
    -------
    ndarray
        (m,) adjusted p-values in the given order.

    Raises
    ------
    ValueError
        If a value lies outside [0, 1].

    References
    ----------
    Holm 1979, "A simple sequentially rejective multiple test procedure", Scand. J. Statistics 6, 65-70.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    adjusted, order, kept = _sorted(p_values)
    adjusted[order] = np.minimum(np.maximum.accumulate(kept * np.arange(len(kept), 0, -1)), 1.0)
    return adjusted


def benjamini_hochberg(p_values: Any) -> np.ndarray:
    """Benjamini-Hochberg-adjusted p-values, in [0, 1]; they hold the false discovery rate.

    Parameters
    ----------
    p_values : (m,) p-values; nan (no test) stays nan and does not count

    Returns
    -------
    ndarray
        (m,) adjusted p-values in the given order: of those at most q, a share of at most q is expected to be false.

    Raises
    ------
    ValueError
        If a value lies outside [0, 1].

    Notes
    -----
    Valid for independent tests and under positive dependence, as between neighbouring layers; `holm` needs neither.

    References
    ----------
    Benjamini, Hochberg 1995, "Controlling the false discovery rate", J. R. Stat. Soc. B 57, 289-300.

    Examples
    --------
    >>> benjamini_hochberg([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.04, 0.04]
    """
    adjusted, order, kept = _sorted(p_values)
    stepped = kept * len(kept) / np.arange(1, len(kept) + 1)
    adjusted[order] = np.minimum(np.minimum.accumulate(stepped[::-1])[::-1], 1.0)
    return adjusted


def _sorted(p_values: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return an array of nan for the result, the places of the tested p-values in ascending order, and these."""
    p = np.asarray(p_values, dtype=float).ravel()
    places = np.flatnonzero(~np.isnan(p))
    kept = p[places]
    if ((kept < 0) | (kept > 1)).any():
        raise ValueError(f"p-values must lie in [0, 1]; seen {kept.min()} to {kept.max()}")
    order = np.argsort(kept, kind="stable")
    return np.full(p.shape, np.nan), places[order], kept[order]
