"""A finished run in a notebook or script: its tables, figures, features, images and models by name."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from featurespace.config import make_config, read_config
from featurespace.errors import FeaturespaceError, unknown
from featurespace.run import Run
from featurespace.run import load as load_run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from featurespace.data.dataset import ImageData
    from featurespace.models.load import Model
    from featurespace.plots.all import Drawn


class Plots:
    """The figures of a run, drawn from its tables; each method returns a matplotlib Figure."""

    def __init__(self, run: Run):
        self._tables = run.tables

    def names(self) -> list[str]:
        """Return the names of all figures of the report, for `draw`."""
        return [each.name for each in self._all()]

    def draw(self, name: str) -> Figure:
        """Return a figure of the report by its name."""
        found = {each.name: each.figure for each in self._all()}
        if name not in found:
            raise unknown("figure", name, found, where="the run")
        return found[name]

    def similarity(self, data: str | None = None) -> Figure:
        """Return CKA of corresponding layers by depth, or, with ``data``, of every pair of layers on that data set."""
        from featurespace.plots.similarity import similarity_by_layer, similarity_heatmap

        table, layers = self._table("similarity"), self._table("layers")
        return similarity_by_layer(table, layers) if data is None else similarity_heatmap(table, layers, data=data)

    def probe(self, *, probe: str = "linear", metric: str = "accuracy") -> Figure:
        """Return the test score of a probe on each layer."""
        from featurespace.plots.depth import probe_by_depth

        return probe_by_depth(self._table("probe"), self._table("layers"), probe=probe, metric=metric)

    def gap(self, *, metric: str = "mmd2") -> Figure:
        """Return the distance between data sets in each layer."""
        from featurespace.plots.depth import gap_by_depth

        return gap_by_depth(self._table("domain_gap"), self._table("layers"), metric=metric)

    def geometry(self, metric: str = "participation_ratio_debiased") -> Figure:
        """Return a property of each layer by itself."""
        from featurespace.plots.depth import geometry_by_depth

        return geometry_by_depth(self._table("geometry"), self._table("layers"), metric=metric)

    def embedding(self, data: str, *, method: str = "umap") -> Figure:
        """Return the last layer of each model, of many the first ones, in two dimensions."""
        from featurespace.plots.embedding import embedding_panels
        from featurespace.plots.many import is_many, shown_models

        layers = self._table("layers")
        models = shown_models(layers) if is_many(layers) else None
        table, quality = self._table("embedding"), self._table("embedding_quality")
        return embedding_panels(table, quality, data=data, method=method, models=models)

    def _table(self, name: str) -> pd.DataFrame:
        if name not in self._tables:
            raise FeaturespaceError(
                f"the run has no table {name!r} to draw from (it has {', '.join(self._tables)}); run `featurespace analyze` "
                "with that analysis among --only"
            )
        return self._tables[name]

    def _all(self) -> Iterator[Drawn]:
        from featurespace.plots.all import figures

        return figures(self._tables)


class LoadedRun(Run):
    """A run as `fs.load` returns it.

    Attributes
    ----------
    path : the directory
    tables : its tables by name, as DataFrames
    plot : its figures, drawn from the tables

    Examples
    --------
    >>> run = LoadedRun("runs/demo")  # doctest: +SKIP
    >>> run.tables["similarity"]  # doctest: +SKIP
    >>> run.features("finetuned", "mri")["pooled"]  # doctest: +SKIP
    >>> run.plot.similarity("mri")  # doctest: +SKIP
    >>> run.image("mri", "axial/0050")  # doctest: +SKIP
    >>> run.model("finetuned").network  # doctest: +SKIP
    """

    def __init__(self, path: str | Path):
        super().__init__(path)
        self.plot = Plots(self)
        self._opened: dict[str, ImageData] = {}

    @property
    def models(self) -> list[str]:
        """Labels of the models, untrained controls last."""
        return list(dict.fromkeys(self.tables["layers"]["model"])) if "layers" in self.tables else []

    @property
    def data(self) -> list[str]:
        """Labels of the data sets."""
        return list(dict.fromkeys(str(store.manifest["data"]) for store in self.stores()))

    def samples(self, data: str) -> pd.DataFrame:
        """Return the samples of a data set in the order of the features: id, path, label, group, split, domain."""
        for store in self.stores():
            if store.manifest["data"] == data:
                return store.samples
        raise unknown("data set", data, self.data, where=str(self.path))

    def image(self, data: str, sample: str) -> Any:
        """Return an image by its id, as it is stored: a PIL image or an array. The images must lie where they were."""
        opened = self._images(data)
        places = np.flatnonzero(opened.samples["id"] == sample)
        if not len(places):
            raise unknown("image", sample, opened.samples["id"], where=f"data set {data!r}")
        return opened.image(int(places[0]))

    def model(self, label: str) -> Model:
        """Return a model of the run, built again with its weights; the checkpoint must lie where it was, unchanged.

        Raises
        ------
        FeaturespaceError
            the label is not known or that of an untrained control; the checkpoint has other weights than it had
        """
        from featurespace.models.load import load_model
        from featurespace.models.specs import parse_model_specs

        config = make_config(**read_config(self.config))
        specs = {spec.label: spec for spec in parse_model_specs(list(config.models))}
        if label not in specs:
            raise unknown("model", label, specs, where=str(self.path))
        if specs[label].source == "features":
            raise FeaturespaceError(f"model {label!r} is a table of features; there is no network to build")
        model = load_model(specs[label], seed=config.seed, image_size=config.image_size)
        held = {each["label"]: each["weights_sha256"] for each in self.provenance["models"]}
        if held.get(label, model.weights_hash) != model.weights_hash:
            raise FeaturespaceError(
                f"model {label!r}: {specs[label].text} has other weights now than when {self.path} was made; take that file again"
            )
        return model

    def _images(self, data: str) -> ImageData:
        from featurespace.data.specs import open_data, parse_data_spec

        if data not in self._opened:
            specs = {parse_data_spec(each)[0]: each for each in make_config(**read_config(self.config)).data}
            if data not in specs:
                raise unknown("data set", data, specs, where=str(self.path))
            self._opened[data] = open_data(specs[data])
        return self._opened[data]

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(name)}</td><td>{len(table):,}</td></tr>" for name, table in self.tables.items()
        )
        models, data = escape(", ".join(self.models)), escape(", ".join(self.data))
        found = (
            "".join(f"<li>{escape(each['sentence'])}</li>" for each in self.summary["findings"][:5])
            if self.report.exists()
            else ""
        )
        return (
            f"<b>{escape(str(self.path))}</b><br>models: {models}<br>data: {data}<ul>{found}</ul>"
            f"<table><tr><th>table</th><th>rows</th></tr>{rows}</table>"
        )


def load(path: str | Path) -> LoadedRun:
    """Return the run in a directory; raises FeaturespaceError if there is none."""
    return LoadedRun(load_run(path).path)
