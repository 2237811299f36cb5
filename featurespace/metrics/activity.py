"""Channels of one representation that carry nothing: dead units, and constant ones."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from featurespace.metrics.arrays import as_features


def dead_units(X: Any, *, threshold: float = 0) -> float:
    """Share of channels that no sample activates, in [0, 1]; 0 is none dead.

    A channel is dead if ``|x| <= threshold`` for every sample: with threshold 0, as after ReLU, if it is 0 throughout.

    Parameters
    ----------
    X : (n, d) array, features, one row a sample, one column a channel
    threshold : largest magnitude of a dead channel, at least 0, in units of the features

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        If a value is not finite, or the threshold is not a finite number of at least 0.

    Notes
    -----
    Falls with n: a channel that one sample in a thousand activates looks dead in most samples of 100. Compare equal n,
    and equal images. A channel stuck at another value is not dead here; `constant_units` counts both. Of pooled maps a
    channel is dead if every position is. No interval: what was never seen has no variance to resample; the share in a
    second sample tells. Cost O(n d). Invariant, with threshold 0, to a scale of each column; not to translation or
    rotation.

    References
    ----------
    Lu et al. 2019, "Dying ReLU and initialization", arXiv:1903.06733 (dead on all data). Differs from the dormant units of
    Sokar et al. 2023, arXiv:2302.12902, which compares a unit's mean with its layer's.

    Examples
    --------
    >>> dead_units([[0.0, 0.0, 5.0, 1.0], [0.0, 0.1, 5.0, 2.0]])
    0.25
    """
    X = as_features(X)
    if not 0 <= threshold < math.inf:
        raise ValueError(f"threshold is {threshold}; it is compared with magnitudes: a finite number of at least 0")
    return float((np.maximum(X.max(axis=0), -X.min(axis=0)) <= threshold).mean())


def constant_units(X: Any) -> float:
    """Share of channels with the same value for every sample, dead ones among them, in [0, 1]; 0 is none.

    Parameters
    ----------
    X : (n, d) array, features, one row a sample, one column a channel

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        If n < 2, or a value is not finite.

    Notes
    -----
    The same to the last bit: a channel that a normalisation leaves at rounding noise is not constant.
    ``constant_units(X) - dead_units(X)`` are stuck at a value other than 0. Falls with n, as `dead_units`. Cost O(n d).
    Invariant to translation and to a scale of each column.

    References
    ----------
    See `dead_units`.

    Examples
    --------
    >>> constant_units([[0.0, 0.0, 5.0, 1.0], [0.0, 0.1, 5.0, 2.0]])
    0.5
    """
    X = as_features(X)
    if len(X) < 2:
        raise ValueError(f"X has {len(X)} rows; a channel is constant from 2 samples on")
    return float((X[0] == X).all(axis=0).mean())
