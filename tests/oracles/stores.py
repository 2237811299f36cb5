"""Feature stores that hold given arrays."""

import numpy as np
import pandas as pd

from featurespace.features.store import FeatureStore
from featurespace.tables.stores import Stores


def written(folder, name, layers, groups=None, labels=None, data="x"):
    """The store of a model: an array for each layer, all of the same images."""
    n = len(next(iter(layers.values())))
    columns = {"id": [f"i{row:07d}" for row in range(n)], "path": None, "label": labels, "group": groups, "split": None}
    samples = pd.DataFrame(columns, dtype="string")
    widths = {layer: X.shape[1] for layer, X in layers.items()}
    store = FeatureStore.create(
        folder / name,
        key={"of": name},
        names=(name, data),
        samples=samples.assign(domain=data),
        widths=widths,
        batch_size=8,
    )
    store.write(0, layers)
    store.finish()
    return FeatureStore.open(folder / name)


def stores_of(folder, models, *, arms=None, controls=None, **samples):
    """Stores of models, each a mapping of layers to arrays, on the data set x; or of models on several data sets.

    ``models`` is {model: {layer: array}}, or {model: {data set: {layer: array}}}.
    """
    made = {}
    for model, of in models.items():
        sets = of if isinstance(next(iter(of.values())), dict) else {"x": of}
        for data, layers in sets.items():
            layers = {layer: np.asarray(X, np.float32) for layer, X in layers.items()}
            made[model, data] = written(folder / data, model, layers, data=data, **samples)
    return Stores(made, controls=controls or {}, arm_of=arms or {})
