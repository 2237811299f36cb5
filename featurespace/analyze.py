"""The main job: from checkpoints and images to tables, figures and one report."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from featurespace import provenance, seeding
from featurespace.config import AnalyzeConfig, make_config, read_config, to_yaml
from featurespace.errors import FeaturespaceError
from featurespace.progress import Progress
from featurespace.run import Run

if TYPE_CHECKING:
    from featurespace.data.dataset import ImageData
    from featurespace.features.table import FeatureTable
    from featurespace.models.load import Model
    from featurespace.tables.stores import Stores

PIXEL_SIDE = 32  # raw pixels are scaled to 32 x 32 for the baseline


def analyze(
    models: Sequence[str], data: Sequence[str], out: str | Path, *, progress: Progress | None = None, **options: Any
) -> Run:
    """Compare models on data and write a run directory; the same call again goes on, or uses what is there.

    Parameters
    ----------
    models : model specs, e.g. ``["before=resnet50@a.pth", "after=resnet50@b.pth"]``
    data : data specs, e.g. ``["xray=images/"]``
    out : the run directory
    progress : where to tell what happens; silent by default
    options : the options of `AnalyzeConfig`, e.g. ``layers="stages"``, ``seed=1``

    Returns
    -------
    Run
        the finished run

    Raises
    ------
    FeaturespaceError
        anything the user can repair, before the first forward pass where possible

    Notes
    -----
    Cost: one forward pass per (model, data), then statistics that are small beside it.
    """
    progress = progress or Progress()
    config = make_config(models=tuple(models), data=tuple(data), **options)
    run = Run(out)
    run.claim(to_yaml(config), _difference(run, config))
    started = provenance.now()
    with progress.stage("read models and data"):
        inputs = _read_inputs(config, progress)
    stores, pixels = _extract_all(run, config, inputs, progress)
    _write_tables(run, config, stores, pixels, inputs.models, progress)
    with progress.stage("figures"):
        _write_figures(run)
    _write_records(run, config, inputs, stores, progress, started)
    return run


@dataclass(frozen=True)
class _Inputs:
    """Models (controls last), the label of the model each control belongs to, images, and their hashes."""

    models: list[Model | FeatureTable]
    controls: dict[str, str]
    images: list[ImageData]
    hashes: dict[str, str]
    threads: int


def _difference(run: Run, config: AnalyzeConfig) -> str | None:
    if not run.config.is_file():
        return None
    try:
        earlier = AnalyzeConfig(**read_config(run.config)).identity()
    except (FeaturespaceError, ValueError):
        return "its config.yaml cannot be read"
    changed = [
        f"{name}: {earlier[name]} there, {value} now"
        for name, value in config.identity().items()
        if earlier[name] != value
    ]
    return "; ".join(changed) or None


def _read_inputs(config: AnalyzeConfig, progress: Progress) -> _Inputs:
    from featurespace.data.specs import open_all
    from featurespace.device import resolve_device, set_threads
    from featurespace.features.table import read_feature_table
    from featurespace.models.load import Model, load_model
    from featurespace.models.specs import parse_model_specs

    threads = set_threads(config.threads)
    resolve_device(config.device)
    specs = parse_model_specs(list(config.models))
    images = [_limited(each, config, progress) for each in open_all(list(config.data))]
    for each in images:
        for note in each.notes:
            progress.say(f"{each.name}: {note}")
    loaded: list[Model | FeatureTable] = []
    for spec in specs:
        if spec.source == "features":
            assert spec.path is not None
            loaded.append(read_feature_table(spec.label, spec.text, spec.path))
            continue
        model = load_model(spec, seed=config.seed, image_size=config.image_size)
        if model.match is not None:
            progress.say(f"{model.label}: {model.match.summary()}")
        loaded.append(model)
    networks = [model for model in loaded if isinstance(model, Model)]
    controls = _controls(networks, {model.label for model in loaded}, images, config, progress)
    owners = {control.label: next(each.label for each in networks if each.arch == control.arch) for control in controls}
    hashes = {each.name: each.fingerprint() for each in images}
    return _Inputs([*loaded, *controls], owners, images, hashes, threads)


def _limited(data: ImageData, config: AnalyzeConfig, progress: Progress) -> ImageData:
    from featurespace.data.splits import stratified_rows

    if config.limit is None or len(data) <= config.limit:
        return data
    rows = stratified_rows(data.samples, config.limit, rng=seeding.child(config.seed, "limit", data.name))
    progress.say(f"{data.name}: {len(rows)} of {len(data)} images (--limit, stratified by label and split)")
    return data.subset(rows)


def _controls(
    models: list[Model], taken: set[str], images: list[ImageData], config: AnalyzeConfig, progress: Progress
) -> list[Model]:
    """One untrained copy of every architecture that has a trained model, BatchNorm statistics from the data."""
    from featurespace.features.batchnorm import estimate_batchnorm
    from featurespace.models.load import untrained_control

    if not config.control:
        return []
    controls: dict[str, Model] = {}
    for model in models:
        if model.arch in controls:
            continue
        label = "untrained" if len({each.arch for each in models}) == 1 else f"untrained-{model.arch.replace('/', '-')}"
        if label in taken:
            progress.say(f"no control for {model.arch}: a model is labelled {label!r} already")
            continue
        control = replace(
            untrained_control(model, seed=seeding.child_seed(config.seed, "control", model.arch)), label=label
        )
        controls[model.arch] = estimate_batchnorm(
            control, images, rng=seeding.child(config.seed, "batchnorm", model.arch)
        )
    return list(controls.values())


def _extract_all(
    run: Run, config: AnalyzeConfig, inputs: _Inputs, progress: Progress
) -> tuple[Stores, dict[str, np.ndarray]]:
    from featurespace.device import resolve_device
    from featurespace.features.extract import ExtractOptions, extract
    from featurespace.features.table import FeatureTable, store_table
    from featurespace.tables.stores import Stores

    layers = config.layers if config.layers in ("blocks", "stages") else tuple(config.layers.split(","))
    options = ExtractOptions(
        layers=layers, pool=config.pool, precision=config.precision, device=str(resolve_device(config.device)),
        batch_size=config.batch_size, on_bad_image=config.on_bad_image,
    )  # fmt: skip
    stores = {}
    with progress.stage("features"):
        for data in inputs.images:
            for model in inputs.models:
                path, fingerprint = run.store_path(model.label, data.name), inputs.hashes[data.name]
                if isinstance(model, FeatureTable):
                    store = store_table(model, data, path, fingerprint=fingerprint)
                else:
                    store = extract(model, data, path, options=options, fingerprint=fingerprint, progress=progress)
                stores[model.label, data.name] = store
    collected = Stores(stores, inputs.controls)
    if "probe" not in config.analyses:
        return collected, {}
    with progress.stage("raw pixels"):
        return collected, {
            data.name: _pixels(data, collected) for data in inputs.images if data.column("label") is not None
        }


def _pixels(data: ImageData, stores: Stores) -> np.ndarray:
    # In the order and selection of the stores, which leave unreadable images out.
    from featurespace.data.transforms import resize_and_crop, to_unit_range

    rows = data.samples.reset_index().set_index("id")["index"].loc[stores.samples(data.name)["id"]]
    flat = (to_unit_range(resize_and_crop(data.image(int(row)), PIXEL_SIDE, PIXEL_SIDE), channels=3) for row in rows)
    return np.stack([image.ravel() for image in flat])


def _write_tables(
    run: Run,
    config: AnalyzeConfig,
    stores: Stores,
    pixels: dict[str, np.ndarray],
    models: list[Model],
    progress: Progress,
) -> None:
    from featurespace.features.table import FeatureTable
    from featurespace.tables.differences import with_holm
    from featurespace.tables.embedding import embedding_tables
    from featurespace.tables.gap import gap_table
    from featurespace.tables.models import layers_table, match_table
    from featurespace.tables.probe import probe_tables
    from featurespace.tables.similarity import similarity_tables

    run.write_table("layers", layers_table(stores))
    run.write_table("match", match_table(model for model in models if not isinstance(model, FeatureTable)))
    differences: list[dict] = []
    if "similarity" in config.analyses:
        with progress.stage("similarity"):
            table, tested = similarity_tables(stores, progress=progress)
            run.write_table("similarity", table)
            differences += tested
    if "probe" in config.analyses:
        with progress.stage("probes"):
            table, tested = probe_tables(stores, pixels, seed=config.seed, progress=progress)
            run.write_table("probe", table)
            differences += tested
    run.write_table("differences", with_holm(differences))
    if "gap" in config.analyses:
        with progress.stage("domain gap"):
            run.write_table("domain_gap", gap_table(stores, seed=config.seed, progress=progress))
    if "embedding" in config.analyses:
        with progress.stage("embedding"):
            points, quality = embedding_tables(stores, seed=config.seed, progress=progress)
            run.write_table("embedding", points)
            run.write_table("embedding_quality", quality)


def _write_figures(run: Run) -> None:
    from featurespace.plots.all import figures

    for name, figure in figures(run.tables):
        run.write_figure(name, figure)


def _write_records(
    run: Run, config: AnalyzeConfig, inputs: _Inputs, stores: Stores, progress: Progress, started: str
) -> None:
    from featurespace.report.findings import findings
    from featurespace.report.write import write_report

    run.write_json("summary.json", {
        "models": [model for model in stores.models if model not in stores.controls], "controls": list(stores.controls),
        "data": stores.data, "findings": [each._asdict() for each in findings(run)],
    })  # fmt: skip
    run.write_json("provenance.json", {
        "command": provenance.command_line(), "started": started, "finished": provenance.now(), "seed": config.seed,
        "threads": inputs.threads, "device": config.device, "machine": provenance.machine(),
        "versions": provenance.installed_versions(), "models": [_model_record(model) for model in inputs.models],
        "data": [{"label": each.name, "source": str(each.source), "images": len(each), "sha256": inputs.hashes[each.name],
                  "notes": list(each.notes)} for each in inputs.images],
        "seconds": {name: round(value, 2) for name, value in progress.seconds.items()}, "messages": progress.messages,
    })  # fmt: skip
    write_report(run)


def _model_record(model: Model | FeatureTable) -> dict[str, Any]:
    from featurespace.features.table import FeatureTable

    if isinstance(model, FeatureTable):
        return {"label": model.label, "spec": model.spec, "arch": "", "source": "table of features",
                "weights_sha256": model.sha256, "match": None}  # fmt: skip
    return {
        "label": model.label, "spec": model.spec, "arch": model.arch, "source": model.source,
        "weights_sha256": model.weights_hash, "preprocessing": model.preprocessing.to_dict(),
        "match": None if model.match is None else model.match.summary(),
    }  # fmt: skip


class _CallableModule(ModuleType):
    """Lets ``fs.analyze(...)`` be the function although ``featurespace.analyze`` is this module."""

    def __call__(self, *args: Any, **kwargs: Any) -> Run:
        return analyze(*args, **kwargs)


sys.modules[__name__].__class__ = _CallableModule
