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
    p = np.asarray(p_values, dtype=float).ravel()
    tested = ~np.isnan(p)
    kept = p[tested]
    if ((kept < 0) | (kept > 1)).any():
        raise ValueError(f"p-values must lie in [0, 1]; seen {kept.min()} to {kept.max()}")
    order = np.argsort(kept, kind="stable")
    stepped = np.maximum.accumulate(kept[order] * np.arange(len(kept), 0, -1))
    adjusted = np.full(p.shape, np.nan)
    adjusted[np.flatnonzero(tested)[order]] = np.minimum(stepped, 1.0)
    return adjusted
