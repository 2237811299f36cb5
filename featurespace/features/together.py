"""Features of several models on the same images, a batch at a time, for what need not keep them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pandas as pd

from featurespace import distributed, files
from featurespace.errors import FeaturespaceError
from featurespace.features.extract import ExtractOptions, forward, prepared
from featurespace.progress import Progress

if TYPE_CHECKING:
    from featurespace.data.dataset import ImageData
    from featurespace.models.load import Model


class Unkept(Mapping[str, np.ndarray]):
    """What a feature store tells of features that were not kept: the layers and their widths, and the samples."""

    def __init__(self, names: tuple[str, str], key: dict[str, Any], samples: pd.DataFrame, widths: Mapping[str, int]):
        layers = [{"name": name, "width": width} for name, width in widths.items()]
        self.manifest: dict[str, Any] = {
            "model": names[0],
            "data": names[1],
            "key_sha256": files.hash_value(key),
            "layers": layers,
        }
        self.samples = samples

    def __getitem__(self, layer: str) -> NoReturn:
        raise FeaturespaceError(
            f"the features of {self.manifest['model']!r} on {self.manifest['data']!r} were not kept; leave --no-store out"
        )

    def __iter__(self) -> Iterator[str]:
        return iter(each["name"] for each in self.manifest["layers"])

    def __len__(self) -> int:
        return len(self.manifest["layers"])


def features_together(
    models: Sequence[Model], data: ImageData, *, options: ExtractOptions, start: int, stop: int, progress: Progress
) -> Iterator[tuple[int, dict[tuple[str, str], np.ndarray], dict[int, str]]]:
    """Yield the first row of each batch, (rows, d) features by (model, layer), and {row: reason} of unreadable images.

    Cost: a forward pass of each model; each reads the images by itself, since each may see them in another size.
    """
    silent = Progress()
    passes = [
        forward(
            *prepared(model, options), model, data, start, stop, options.batch_size, options=options, progress=silent
        )
        for model in models
    ]
    try:
        with progress.bar(f"all models on {data.name}{distributed.share()}", stop - start, "images") as advance:
            for first in range(start, stop, options.batch_size):
                features: dict[tuple[str, str], np.ndarray] = {}
                unreadable: dict[int, str] = {}
                for model, each in zip(models, passes):
                    _, of_model, bad = next(each)
                    features |= {(model.label, layer): values for layer, values in of_model.items()}
                    unreadable |= bad
                yield first, features, unreadable
                advance(min(options.batch_size, stop - first))
    finally:
        for each in reversed(passes):  # the last to begin ends first: they hold the mode of this thread
            each.close()
