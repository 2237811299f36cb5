"""Pretraining: from images and a method to a checkpoint that `featurespace analyze` reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import featurespace
from featurespace import seeding
from featurespace import yaml_files as schemas
from featurespace.data.dataset import ImageData
from featurespace.data.specs import open_all
from featurespace.device import set_threads
from featurespace.errors import FeaturespaceError, counted
from featurespace.models.checkpoint import write_checkpoint
from featurespace.models.load import Model, load_model
from featurespace.models.specs import parse_model_spec
from featurespace.progress import Progress
from featurespace.provenance import now
from featurespace.training import directory, engine, methods
from featurespace.training.batches import Batches
from featurespace.training.method import PretrainingMethod
from featurespace.training.online import Online
from featurespace.training.order import Order
from featurespace.training.pixels import training_pixels
from featurespace.training.plan import TrainingPlan, plan_training
from featurespace.training.settings import PretrainConfig


def pretrain(config: PretrainConfig, *, trust: bool = False, progress: Progress | None = None) -> Path:
    """Train a backbone by a method on one or several data sets; return the checkpoint written.

    Images whose split is val or test take no part in the training. A directory with the state of the same training goes
    on; one with a finished checkpoint of it is left as it is.

    Parameters
    ----------
    trust : let a checkpoint to start from that cannot be read otherwise run the code in it; its layout then says so

    Raises
    ------
    FeaturespaceError
        what `featurespace train pretrain` prints: options, images or labels that are not there, too few images,
        a directory that holds another training
    """
    progress = progress or Progress()
    prepared = _prepare(config, progress, trust=trust)
    return directory.made(config, partial(_train, prepared, config, progress), progress)


def _train(prepared: _Prepared, config: PretrainConfig, progress: Progress, file: Path) -> None:
    prepared.batches.prepare(progress)
    name = f"{config.method} on {', '.join(each.name for each in prepared.data)}"
    rows = engine.run(name, prepared.module, prepared.batches, config, _scores(prepared, config), progress)
    state = {name: value.cpu() for name, value in prepared.module.backbone_state().items()}
    if engine.process_rank() == 0:
        write_checkpoint(file, state, _manifest(config, prepared.model, prepared.data, rows[-1]))


def plan_pretraining(config: PretrainConfig, *, trust: bool = False, progress: Progress | None = None) -> TrainingPlan:
    """Return what `pretrain` will take, without training or writing anything; raises what it would raise at its start."""
    prepared = _prepare(config, progress or Progress(), trust=trust)
    return plan_training(prepared.module, prepared.batches, config)


@dataclass(frozen=True)
class _Prepared:
    data: list[ImageData]
    model: Model
    batches: Batches
    module: PretrainingMethod


def _prepare(config: PretrainConfig, progress: Progress, *, trust: bool = False) -> _Prepared:
    engine.check_processes(config)
    threads = set_threads(config.threads)
    data, targets, classes = _training_images(open_all(list(config.data)))
    method = methods.find(config.method)
    options = schemas.checked(method.Options, config.options)
    if method.needs_labels:
        _refuse_unlabelled(data, targets, classes, config)
    directory.refuse_small(sum(map(len, data)), config)
    spec = replace(parse_model_spec(config.model, bare=True), trust=trust)
    model = load_model(spec, seed=config.seed, image_size=config.image_size)
    pixels = training_pixels(data, model.preprocessing, config)
    progress.detail(f"{threads} threads of torch, {pixels.workers} that read; decoded images: {pixels.kept}")
    order = Order(pixels.sizes, config.batch_size, seed=config.seed, weights=config.weights, parts=config.accumulate)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeding.child_seed(config.seed, "head", config.method))
        module = method(config, model, order.steps, len(classes), options)
    return _Prepared(data, model, Batches(pixels, targets, order), module)


def _training_images(data: list[ImageData]) -> tuple[list[ImageData], np.ndarray, np.ndarray]:
    """Return the images that may be trained on, the class number of each (-1 for none), and the classes."""
    chosen = []
    for each in data:
        split = each.samples["split"]
        rows = np.flatnonzero((split.isna() | (split == "train").fillna(False)).to_numpy(bool))
        if not len(rows):
            raise FeaturespaceError(f"data set {each.name!r} has no image whose split is train, or has none")
        chosen.append(each.subset(rows))
    several = len(chosen) > 1
    labels = np.concatenate(
        [
            (each.name + "/" + each.samples["label"] if several else each.samples["label"]).fillna("").to_numpy(str)
            for each in chosen
        ]
    )
    classes = np.unique(labels[labels != ""])
    return chosen, np.where(labels == "", -1, np.searchsorted(classes, labels)), classes


def _refuse_unlabelled(data: list[ImageData], targets: np.ndarray, classes: np.ndarray, config: PretrainConfig) -> None:
    if len(classes) < 2:
        raise FeaturespaceError(
            f"method {config.method} needs images of two classes at least; found {counted(len(classes), 'class', 'classes')} in "
            + ", ".join(config.data)
        )
    if (targets < 0).any():
        ids = np.concatenate([each.samples["id"].to_numpy(object) for each in data])[targets < 0]
        raise FeaturespaceError(
            f"method {config.method} needs a label for every image; "
            f"{counted(len(ids), 'has', 'have')} none, e.g. {ids[0]}; give them "
            "labels, or leave them out"
        )


def _scores(prepared: _Prepared, config: PretrainConfig) -> Callable[[int, Any], dict[str, float]]:
    online = Online(prepared.batches.pixels, seed=config.seed) if config.online_every else None

    def scores(epoch: int, module: PretrainingMethod) -> dict[str, float]:
        due = online and (epoch % config.online_every == 0 or epoch == config.epochs)
        found = online.scores(module) if online and due else {}
        file = directory.snapshot(config, epoch)
        if file:
            state = {name: value.cpu() for name, value in module.backbone_state().items()}
            write_checkpoint(file, state, _manifest(config, prepared.model, prepared.data, {"epoch": epoch, **found}))
        return found

    return scores


def _manifest(config: PretrainConfig, model: Model, data: list[ImageData], last: dict[str, float]) -> dict[str, Any]:
    form = model.preprocessing.to_dict()
    return {
        "arch": model.arch, "num_classes": 0, "config": config.model_dump(mode="json"),
        "data_hash": {each.name: each.fingerprint() for each in data},
        "parent": {"spec": config.model, "weights_sha256": model.weights_hash},
        "metrics": last, "finished": now(),
        "featurespace_version": featurespace.__version__,
        **({"options": dict(model.options)} if model.options else {}),
        **{key: form[key] for key in ("input_size", "mean", "std", "interpolation")},
    }  # fmt: skip
