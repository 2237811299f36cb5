"""What the jobs begin with: models, controls and images from a configuration, and their features."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from featurespace import distributed, seeding
from featurespace.config import AnalyzeConfig
from featurespace.errors import FeaturespaceError, counted, unknown
from featurespace.progress import Progress, shortened
from featurespace.run import Run

if TYPE_CHECKING:
    from featurespace.data.dataset import ImageData
    from featurespace.features.extract import ExtractOptions
    from featurespace.features.store import FeatureStore
    from featurespace.features.table import FeatureTable
    from featurespace.models.load import Model
    from featurespace.tables.stores import Stores


@dataclass(frozen=True)
class Inputs:
    """Models (controls last), the label of each model's control, images and their hashes, threads and device."""

    models: list[Model | FeatureTable]
    controls: dict[str, str]
    images: list[ImageData]
    hashes: dict[str, str]
    threads: int
    device: str

    @property
    def networks(self) -> list[Model]:
        """The models that images go through."""
        from featurespace.features.table import FeatureTable

        return [model for model in self.models if not isinstance(model, FeatureTable)]

    @property
    def tables(self) -> list[FeatureTable]:
        """The models whose features were computed elsewhere."""
        from featurespace.features.table import FeatureTable

        return [model for model in self.models if isinstance(model, FeatureTable)]


def read_inputs(config: AnalyzeConfig, progress: Progress, *, trust: bool = False) -> Inputs:
    """Read every model and data set; raises FeaturespaceError before any long work.

    With ``trust`` a checkpoint that cannot be read without may run its code, which is told.
    """
    from featurespace.data.specs import open_all
    from featurespace.device import resolve_device, set_threads
    from featurespace.features.table import read_feature_table
    from featurespace.models.load import Model, load_model
    from featurespace.models.specs import parse_model_specs
    from featurespace.models.unpickling import TRUSTED
    from featurespace.tables.similarity import check_size

    threads = set_threads(config.threads)
    device = str(resolve_device(config.device))
    specs = parse_model_specs(list(config.models))
    labels = [spec.label for spec in specs]
    for option, named in (("--arms", config.arm_of), ("--steps", config.steps or ())):
        for label in named:
            if label not in labels:
                raise unknown("model", label, labels, where=option)
    opened = open_all(list(config.data), columns=config.columns)
    images = [_limited(each, config, progress).with_header_notes() for each in opened]
    for each in images:
        if "similarity" in config.analyses:
            check_size(each.name, len(each))
        for note in each.notes:
            progress.say(f"{each.name}: {note}")
    loaded: list[Model | FeatureTable] = []
    for spec in specs:
        if spec.source == "features":
            assert spec.path is not None
            table = read_feature_table(spec.label, spec.text, spec.path)
            for note in table.notes:
                progress.say(f"{table.label}: {note}")
            loaded.append(table)
            continue
        model = load_model(replace(spec, trust=trust), seed=config.seed, image_size=config.image_size)
        if TRUSTED in model.source:
            progress.say(f"{model.label}: {spec.path}: {TRUSTED}")
        if model.match is not None:
            progress.say(f"{model.label}: {model.match.summary()}")
        loaded.append(model)
    _tell_sizes([model for model in loaded if isinstance(model, Model)], progress)
    digests = [each.digests() for each in images]
    images = [_with_copies(each, content, progress) for each, content in zip(images, digests)]
    hashes = {each.name: each.fingerprint(content) for each, content in zip(images, digests)}
    for name, other in combinations(hashes, 2):
        if hashes[name] == hashes[other]:
            progress.say(f"{name} and {other} hold the same images")
    _tell_details(loaded, images, threads, device, progress)
    return Inputs(loaded, {}, images, hashes, threads, device)


def _with_copies(data: ImageData, digests: list[str], progress: Progress) -> ImageData:
    notes = data.copy_notes(digests)
    for note in notes:
        progress.say(f"{data.name}: {note}")
    return replace(data, notes=(*data.notes, *notes))


def with_controls(inputs: Inputs, config: AnalyzeConfig, progress: Progress) -> Inputs:
    """Return the inputs with an untrained control of every architecture, last; this runs images through it."""
    with progress.stage("controls"):
        taken = {model.label for model in inputs.models}
        controls = _controls(inputs.networks, taken, inputs.images, config, progress)
    owners = {model.label: controls[model.structure].label for model in inputs.networks if model.structure in controls}
    return replace(inputs, models=[*inputs.models, *controls.values()], controls=owners)


def _tell_details(
    models: list[Model | FeatureTable], images: list[ImageData], threads: int, device: str, progress: Progress
) -> None:
    from featurespace.models.load import Model

    progress.detail(f"{threads} threads, device {device}")
    for model in models:
        if isinstance(model, Model):
            form = model.preprocessing
            parameters = sum(each.numel() for each in model.network.parameters())
            progress.detail(
                f"model {model.label}: {model.arch}, {parameters:,} parameters, {model.source}; input {form.input_size}, "
                f"mean {form.mean}, std {form.std}, {form.interpolation}"
            )
    for data in images:
        counts = {name: data.samples[name].nunique() for name in ("label", "group", "split")}
        found = ", ".join(counted(count, name) for name, count in counts.items() if count)
        progress.detail(
            f"data {data.name}: {counted(len(data), 'image')} from {data.source}" + (f", {found}" if found else "")
        )


def refuse_run_among_images(run: Run, inputs: Inputs) -> None:
    """Raise FeaturespaceError where the run lies in a folder of images: its figures would be images the next time."""
    for data in inputs.images:
        if data.source.is_dir() and run.path.resolve().is_relative_to(data.source.resolve()):
            raise FeaturespaceError(
                f"--out {run.path} lies in the images of {data.name!r}, {data.source}; choose another --out"
            )


def _tell_sizes(models: list[Model], progress: Progress) -> None:
    sizes = {model.label: " x ".join(map(str, model.preprocessing.input_size[1:])) for model in models}
    if len(set(sizes.values())) > 1:
        told = shortened([f"{label} at {size}" for label, size in sizes.items()])
        progress.say(f"each model sees the images at its own size, {told} pixels; --image-size gives all of them one")


def _limited(data: ImageData, config: AnalyzeConfig, progress: Progress) -> ImageData:
    from featurespace.data.splits import stratified_rows

    if config.limit is None or len(data) <= config.limit:
        return data
    rows = stratified_rows(data.samples, config.limit, rng=seeding.child(config.seed, "limit"))
    progress.say(f"{data.name}: {len(rows)} of {len(data)} images (--limit, stratified by label and split)")
    return data.subset(rows)


def _controls(
    models: list[Model], taken: set[str], images: list[ImageData], config: AnalyzeConfig, progress: Progress
) -> dict[str, Model]:
    """One untrained copy of every structure that has a trained model, BatchNorm statistics from the data."""
    from featurespace.features.batchnorm import estimate_batchnorm
    from featurespace.models.load import untrained_control
    from featurespace.models.specs import parse_model_specs

    if not config.control:
        return {}
    # What --into adds to a run does not change the controls that the run has.
    first_models, first_data = config.begun_with or (len(config.models), len(config.data))
    images = images[:first_data]
    labels = {spec.label for spec in parse_model_specs(list(config.models))[:first_models]}
    first = {model.structure for model in models if model.label in labels}
    controls: dict[str, Model] = {}
    for model in models:
        structure = model.structure
        if structure in controls:
            continue
        earlier = sum(control.arch == model.arch for control in controls.values())
        numbered = model.arch.replace("/", "-") + (f"-{earlier + 1}" if earlier else "")
        label = "untrained" if first == {structure} else f"untrained-{numbered}"
        if label in taken:
            progress.say(f"no control for {structure}: a model is labelled {label!r} already")
            continue
        path = (model.arch, structure) if earlier else (model.arch,)  # of the seed
        control = replace(untrained_control(model, seed=seeding.child_seed(config.seed, "control", *path)), label=label)
        try:
            rng = seeding.child(config.seed, "batchnorm", *path)
            controls[structure] = estimate_batchnorm(control, images, rng=rng)
        except FeaturespaceError as error:
            progress.say(f"no control for {structure}: {error}")
    return controls


def extract_options(config: AnalyzeConfig, device: str) -> ExtractOptions:
    """Return what of the configuration concerns the forward pass."""
    from featurespace.features.extract import ExtractOptions

    layers = config.layers if config.layers in ("blocks", "stages") else tuple(config.layers.split(","))
    return ExtractOptions(
        layers=layers, pool=config.pool, precision=config.precision, device=device,
        batch_size=config.batch_size, on_bad_image=config.on_bad_image,
    )  # fmt: skip


def extract_all(run: Run, config: AnalyzeConfig, inputs: Inputs, progress: Progress) -> tuple[Inputs, Stores]:
    """Return the features of every model on every data set, and the inputs with the controls.

    The models come first: making a control takes a while, and the user sees the first batch before.
    """
    from featurespace.device import statistics_device
    from featurespace.features.shared import open_shared
    from featurespace.features.table import store_table
    from featurespace.plan import check_disk
    from featurespace.tables.stores import Stores

    options = extract_options(config, inputs.device)
    one_each = list({model.structure: model for model in inputs.networks}.values()) if config.control else []
    images = {data.name: len(data) for data in inputs.images}
    check_disk([*inputs.networks, *one_each], images, options, run.path)
    stores = _extract(run, inputs, inputs.networks, options, progress)
    for data in inputs.images if inputs.tables else []:
        # A table of features takes part with the images that the networks could read.
        read = [store.samples["id"] for (_, name), store in stores.items() if name == data.name]
        rows = _rows_of(data, read[-1]) if read else np.arange(len(data))
        for table in inputs.tables:
            path = run.store_path(table.label, data.name)
            fingerprint = inputs.hashes[data.name]
            make = partial(store_table, table, data.subset(rows), path, fingerprint=fingerprint)
            made = distributed.together(lambda make=make: make() if distributed.rank() == 0 else None)  # type: ignore[misc]
            stores[table.label, data.name] = made or open_shared(path)
    inputs = with_controls(inputs, config, progress)
    trained = {model for model, _ in stores}
    controls = [model for model in inputs.networks if model.label not in trained]
    stores |= _extract(run, inputs, controls, options, progress)
    ordered = {
        (model.label, data.name): stores[model.label, data.name] for data in inputs.images for model in inputs.models
    }
    return inputs, Stores(ordered, inputs.controls, run.memo(), config.arm_of, statistics_device(inputs.device))


def _extract(
    run: Run, inputs: Inputs, networks: list[Model], options: ExtractOptions, progress: Progress
) -> dict[tuple[str, str], FeatureStore]:
    from featurespace.features.extract import extract

    with progress.stage("features"):
        return {
            (model.label, data.name): extract(
                model, data, run.store_path(model.label, data.name), options=options,
                fingerprint=inputs.hashes[data.name], progress=progress,
            )
            for data in inputs.images
            for model in networks
        }  # fmt: skip


def raw_pixels(inputs: Inputs, stores: Stores, progress: Progress) -> dict[str, np.ndarray]:
    """Return the pixels of every labelled data set, the baseline of the probes."""
    pixels = {}
    with progress.stage("raw pixels"):
        for data in inputs.images:
            if data.column("label") is not None:
                try:
                    pixels[data.name] = _pixels(data, stores)
                except FeaturespaceError as error:  # possible only where no network has read the images before
                    progress.say(f"no baseline of raw pixels on {data.name!r}: {error}")
    return pixels


def _rows_of(data: ImageData, ids: pd.Series) -> np.ndarray:
    return pd.Series(np.arange(len(data)), index=data.samples["id"]).loc[ids].to_numpy()


def _pixels(data: ImageData, stores: Stores) -> np.ndarray:
    # In the order and selection of the stores, which leave unreadable images out.
    from featurespace.data.transforms import resize_and_crop, to_unit_range
    from featurespace.tables.probe import PIXEL_SIDE

    rows = _rows_of(data, stores.samples(data.name)["id"])
    flat = (to_unit_range(resize_and_crop(data.image(int(row)), PIXEL_SIDE, PIXEL_SIDE), channels=3) for row in rows)
    return np.stack([image.ravel() for image in flat])
