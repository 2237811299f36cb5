"""Layers of a data set prepared for CKA, kept for the pairs of models to come."""

from __future__ import annotations

from functools import partial

import numpy as np

from featurespace.metrics.alignment import cka_estimate
from featurespace.metrics.prepared import PreparedCKA, called, prepare_cka
from featurespace.metrics.units import Units, cka_units
from featurespace.stats.estimate import Estimate
from featurespace.tables.kept import Kept
from featurespace.tables.stores import Stores

Place = tuple[str, str, str, str]  # model, its layer, another model, its layer


class PreparedLayers:
    """Each layer prepared in each way that pairs ask for: some of its rows, with units that are left out together.

    Parameters
    ----------
    ways : name -> the rows (None is all), the units of these rows
    """

    def __init__(self, stores: Stores, data: str, ways: dict[str, tuple[np.ndarray | None, Units]]):
        self.stores, self.data, self.ways = stores, data, ways
        self.kept: Kept[PreparedCKA] = Kept(lambda layer: layer.X.nbytes)

    def features(self, model: str, layer: str) -> np.ndarray:
        """Return the features of a layer."""
        return np.asarray(self.stores.features(model, self.data, layer))

    def estimate(self, place: Place, way: str) -> Estimate:
        """Return the CKA of two layers prepared in one way; raises ValueError where it is undefined."""
        sides = []
        for name, model, layer in (("X", *place[:2]), ("Y", *place[2:])):
            with called(name):
                sides.append(self.kept.get((model, layer, way), partial(self._prepared, model, layer, way)))
        return cka_estimate(*sides)

    def _prepared(self, model: str, layer: str, way: str) -> PreparedCKA:
        rows, units = self.ways[way]
        X = self.features(model, layer)
        return prepare_cka(X if rows is None else X[rows], groups=units)


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
