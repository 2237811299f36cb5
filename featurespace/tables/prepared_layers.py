"""Layers of a data set prepared for CKA, kept for the pairs of models to come."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from featurespace.metrics.alignment import cka_estimate
from featurespace.metrics.prepared import PreparedCKA, prepare_cka
from featurespace.metrics.units import Units, cka_units
from featurespace.stats.estimate import Estimate
from featurespace.tables.stores import Stores

KEPT_BYTES = 1 << 29
"""Memory for prepared layers; those that were not used for longest go first."""


Place = tuple[str, str, str, str]  # model, its layer, another model, its layer


class PreparedLayers:
    """Each layer prepared in each way that pairs ask for: some of its rows, with units that are left out together.

    Parameters
    ----------
    ways : name -> the rows (None is all), the units of these rows
    """

    def __init__(self, stores: Stores, data: str, ways: dict[str, tuple[np.ndarray | None, Units]]):
        self.stores, self.data, self.ways = stores, data, ways
        self.kept: OrderedDict[tuple[str, str, str], PreparedCKA] = OrderedDict()
        self.size = 0

    def features(self, model: str, layer: str) -> np.ndarray:
        """Return the features of a layer."""
        return np.asarray(self.stores.features(model, self.data, layer))

    def estimate(self, place: Place, way: str) -> Estimate:
        """Return the CKA of two layers prepared in one way; raises ValueError where it is undefined."""
        sides = []
        for name, model, layer in (("X", *place[:2]), ("Y", *place[2:])):
            try:
                sides.append(self._prepared(model, layer, way))
            except ValueError as error:
                raise ValueError(str(error).replace("X ", f"{name} ", 1)) from None
        return cka_estimate(*sides)

    def _prepared(self, model: str, layer: str, way: str) -> PreparedCKA:
        key = (model, layer, way)
        if key in self.kept:
            self.kept.move_to_end(key)
            return self.kept[key]
        rows, units = self.ways[way]
        X = self.features(model, layer)
        self.kept[key] = prepare_cka(X if rows is None else X[rows], groups=units)
        self.size += self.kept[key].X.nbytes
        while self.size > KEPT_BYTES and len(self.kept) > 1:
            self.size -= self.kept.popitem(last=False)[1].X.nbytes
        return self.kept[key]


def ways_of(
    n: int, groups: np.ndarray | None, parts: dict[str, np.ndarray]
) -> dict[str, tuple[np.ndarray | None, Units]]:
    """Return the ways to prepare n rows: by ``sample``, and where there are groups by ``group`` and ``between`` groups.

    Parameters
    ----------
    parts : name -> rows, each another way: by group where there are groups, else by sample
    """
    ways: dict[str, tuple[np.ndarray | None, Units]] = {"sample": (None, cka_units(None, n))}
    if groups is not None:
        ways["group"] = (None, cka_units(groups, n))
        ways["between"] = (None, cka_units(groups, n, between=True))
    for name, rows in parts.items():
        ways[name] = (rows, cka_units(None if groups is None else groups[rows], len(rows)))
    return ways
