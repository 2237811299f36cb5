"""Which samples, or groups of samples, make two representations differ."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurespace.metrics.alignment import cka_estimate
from featurespace.metrics.arrays import as_pair
from featurespace.metrics.hsic import hsic_matrices
from featurespace.metrics.prepared import prepare_cka
from featurespace.metrics.units import cka_units
from featurespace.stats.estimate import Estimate
from featurespace.stats.resampling import resampling_units

TOP = 0.01


@dataclass(frozen=True, eq=False)
class CKAInfluence:
    """Contribution of each sample or group to a debiased CKA.

    Parameters
    ----------
    estimate : the CKA with its jackknife interval
    names : (G,) the units: row numbers, or sorted labels of the groups
    change : (G,) value less the value without the unit; below 0 for units that make the representations differ
    top : (k,) places of the 1 % of units (at least one) that lower the value most, the first most
    top_share : share of all lowering, the sum of the negative changes, that these hold, in [0, 1]; 0 where none lowers
    value_without_top : the value without these
    """

    estimate: Estimate
    names: np.ndarray
    change: np.ndarray
    top: np.ndarray
    top_share: float
    value_without_top: float


def cka_influence(X: Any, Y: Any, *, groups: Any = None, between_groups: bool = False) -> CKAInfluence:
    """Exact contribution of each sample, or group, to the debiased linear CKA of two representations.

    Parameters
    ----------
    X : (n, d1) array, features, one row a sample
    Y : (n, d2) array, features of the same samples in the same order
    groups : (n,) labels (patients) to leave out together; None leaves out samples
    between_groups : leave pairs of samples of one group out of the value, as in `cka_jackknife`

    Returns
    -------
    CKAInfluence
        Exact leave-one-out changes, and what the most influential 1 % hold together.

    Raises
    ------
    ValueError
        As `cka_jackknife`; if there are fewer than 5 units, or a leave-out is undefined.

    Notes
    -----
    Cost of about four evaluations of `cka`. Changes of single units do not add up: two copies of an image hide each
    other, which is why the value without all of the top is given as well.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((100, 3))
    >>> Y = X.copy()
    >>> Y[7] = -5 * X[7]
    >>> found = cka_influence(X, Y)
    >>> found.top.tolist(), round(found.value_without_top, 9)
    ([7], 1.0)
    """
    X, Y = as_pair(X, Y)
    codes, _, count = resampling_units(groups, len(X))
    names = np.arange(count) if groups is None else np.unique(np.asarray(groups).astype(str))
    units = cka_units(groups, len(X), between=between_groups)
    estimate = cka_estimate(prepare_cka(X, groups=units), prepare_cka(Y, groups=units))
    if estimate.leave_one_out is None:
        raise ValueError(f"no influence: {estimate.interval.removeprefix('none: ')}")
    change = estimate.value - estimate.leave_one_out
    order = np.argsort(change, kind="stable")
    top = order[: max(1, round(TOP * count))]
    lowering = -change[change < 0].sum()
    share = float(-change[top][change[top] < 0].sum() / lowering) if lowering > 0 else 0.0
    kept = ~np.isin(codes, top)
    rest = cka_units(None if groups is None else codes[kept], int(kept.sum()), between=between_groups)
    layers = [[prepare_cka(Z[kept], groups=rest)] for Z in (X, Y)]
    x, y, xy = (float(v[0, 0] if v.ndim == 2 else v[0]) for _, v, _ in _values(layers))
    return CKAInfluence(estimate, names, change, top, share, xy / math.sqrt(x * y))


def _values(layers: list) -> Any:
    return hsic_matrices(layers, [(0,), (1,), (0, 1)], leave_outs=False)
