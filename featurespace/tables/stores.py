"""What the tables read: the stores of a run, with labels checked to belong to the same samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from featurespace import distributed, memory, seeding
from featurespace.data.splits import stratified_rows
from featurespace.errors import FeaturespaceError
from featurespace.features.store import FeatureStore
from featurespace.files import hash_array, hash_value
from featurespace.progress import Progress
from featurespace.tables.memo import Memo

T = TypeVar("T")


@dataclass
class Stores:
    """Feature stores by (model, data), in the order in which models and data sets were named.

    Attributes
    ----------
    stores : the stores
    controls : label of a model -> label of its untrained control
    memo : where results are remembered; by default nowhere
    arm_of : label of a model -> its arm, for models that are one of several seeds of a way of training
    device : where CKA, MMD and the Frechet distance are computed, the CPU or a CUDA device
    rows : data set -> the rows that are taken, ascending; all of those that are not named. See `at_most`
    made : data set -> its `StreamedCKA`, where features were not kept and it was computed while they were there
    """

    stores: Mapping[tuple[str, str], Any]  # FeatureStore, or Unkept where they were not kept
    controls: Mapping[str, str] = field(default_factory=dict)
    memo: Memo = field(default_factory=Memo)
    arm_of: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    rows: Mapping[str, np.ndarray] = field(default_factory=dict)
    made: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._samples: dict[str, pd.DataFrame] = {}
        read: dict[str, str] = {}
        for (model, data), store in self.stores.items():
            digest = store.manifest.get("samples_sha256", "")
            if digest and read.get(data) == digest:
                continue  # the same file, of millions of rows perhaps
            read[data] = digest
            samples = store.samples
            known = self._samples.setdefault(data, samples)
            if not known["id"].equals(samples["id"]):
                raise FeaturespaceError(
                    f"the features of {model!r} on {data!r} belong to other samples than those of the other models; "
                    "delete the run's folder features/ and run again"
                )
        for data, rows in self.rows.items():
            self._samples[data] = self._samples[data].iloc[rows].reset_index(drop=True)

    def at_most(self, limit: int, *, seed: int) -> Stores:
        """Return the stores with at most ``limit`` images of each data set, in proportion to label and split.

        The sample depends on the seed, the limit and the samples alone: it is the same for every model.
        """
        whole = replace(self, rows={}) if self.rows else self
        rows = {
            data: stratified_rows(samples, limit, rng=seeding.child(seed, "at most", str(limit), data))
            for data, samples in whole._samples.items() if len(samples) > limit
        }  # fmt: skip
        return replace(whole, rows=rows) if rows else whole

    @property
    def models(self) -> list[str]:
        """Labels of the models, controls last."""
        names = list(dict.fromkeys(model for model, _ in self.stores))
        return sorted(names, key=lambda name: name in self.untrained)

    @property
    def untrained(self) -> list[str]:
        """Labels of the controls."""
        return list(dict.fromkeys(self.controls.values()))

    @property
    def trained(self) -> list[str]:
        """Labels of the models that are no controls."""
        return [model for model in self.models if model not in self.untrained]

    @property
    def arms(self) -> dict[str, list[str]]:
        """Models of each arm, in order of naming."""
        found: dict[str, list[str]] = {}
        for model in self.trained:
            if model in self.arm_of:
                found.setdefault(self.arm_of[model], []).append(model)
        return found

    def store_keys(self) -> list[tuple[FeatureStore, str]]:
        """Return each store with the hash that changes with anything that can change its features."""
        return [(store, store.manifest["key_sha256"]) for store in self.stores.values()]

    def key(self) -> str:
        """Return a hash that changes with anything that can change a feature of any store."""
        return hash_value(
            {f"{store.manifest['model']}\0{store.manifest['data']}": key for store, key in self.store_keys()}
        )

    @property
    def data(self) -> list[str]:
        """Labels of the data sets."""
        return list(dict.fromkeys(data for _, data in self.stores))

    def samples(self, data: str) -> pd.DataFrame:
        """Samples of a data set in row order."""
        return self._samples[data]

    def column(self, data: str, name: str) -> np.ndarray | None:
        """A column of the samples as strings, or None where it is empty; a missing group is a group of its own."""
        values = self._samples[data][name]
        if values.isna().all():
            return None
        if name == "group":
            values = values.fillna("\0" + self._samples[data]["id"])
        return values.to_numpy(dtype=str, na_value="")

    def layers(self, model: str) -> list[str]:
        """Layers of a model in order of execution."""
        return list(self.stores[model, self.data[0]])

    def widths(self, model: str) -> dict[str, int]:
        """Features that an image has in each layer of a model."""
        layers = self.stores[model, self.data[0]].manifest["layers"]
        return {layer["name"]: int(layer["width"]) for layer in layers}

    @property
    def kept(self) -> bool:
        """Whether there are features, and not only what was computed while they were there."""
        return not self.made

    def content(self, model: str, data: str, layers: list[str] | None = None) -> dict[str, Any]:
        """Everything in a store that a result can depend on: names, samples, and the features of the given layers."""
        manifest = self.stores[model, data].manifest
        wanted = self.layers(model) if layers is None else layers
        hashes = {layer["name"]: layer["sha256"] for layer in manifest["layers"]}
        rows = {"rows": hash_array(self.rows[data])} if data in self.rows else {}
        return {
            "model": model, "data": data, "samples": manifest["samples_sha256"], **rows,
            "layers": [[layer, hashes[layer]] for layer in wanted],
        }  # fmt: skip

    def features(self, model: str, data: str, layer: str) -> np.ndarray:
        """Features (n, d) of one layer: a memory map, or an array where a sample of the rows is taken."""
        features = self.stores[model, data][layer]
        return features[self.rows[data]] if data in self.rows else features

    def placed(self, model: str, data: str, layer: str) -> Any:
        """Features (n, d) of one layer on the device of the statistics."""
        features = self.features(model, data, layer)
        if self.device == "cpu":
            return features
        import torch

        return torch.from_numpy(np.array(features)).to(self.device)

    def place(self) -> dict[str, str]:
        """Return what a remembered result depends on beside content and code: a GPU sums in another order."""
        return {} if self.device == "cpu" else {"device": self.device.split(":")[0]}

    def compute(self, make: Callable[[Stores], T], progress: Progress) -> T:
        """Return what ``make`` makes of these stores; on the CPU, and said, where the device has too little memory."""
        try:
            return make(self)
        except RuntimeError as error:
            if self.device == "cpu" or distributed.size() > 1 or not memory.gpu_is_full(error):
                raise
        progress.say(f"{self.device} has too little memory for some statistics; they are computed on the CPU")
        return make(replace(self, device="cpu"))


def corresponding_layers(layers_a: list[str], layers_b: list[str]) -> list[tuple[str, str]]:
    """Return the pairs of layers to compare one by one.

    The same names where the two lists are equal; otherwise each layer of the longer list with the layer of the other
    at the same relative depth.
    """
    if layers_a == layers_b:
        return list(zip(layers_a, layers_b, strict=True))
    a_is_long = len(layers_a) >= len(layers_b)
    long, short = (layers_a, layers_b) if a_is_long else (layers_b, layers_a)
    partner = [round(index * (len(short) - 1) / max(1, len(long) - 1)) for index in range(len(long))]
    pairs = [(long[index], short[each]) for index, each in enumerate(partner)]
    return pairs if a_is_long else [(a, b) for b, a in pairs]


def compared_layers(stores: Stores) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    """Yield each two (model, layer) whose difference is tested, the first less the second.

    A later model less an earlier one, as after less before; but a model less its own control, and no other control.
    """
    for model_a, model_b in combinations(stores.models, 2):
        if model_b in stores.untrained and stores.controls.get(model_a) != model_b:
            continue
        for layer_a, layer_b in corresponding_layers(stores.layers(model_a), stores.layers(model_b)):
            ends = (model_b, layer_b), (model_a, layer_a)
            yield ends[::-1] if model_b in stores.untrained else ends
