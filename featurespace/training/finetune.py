"""Finetuning: from a checkpoint and labelled images to a new checkpoint, its test result and a row in a runs table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

import featurespace
from featurespace import files, seeding
from featurespace.data.dataset import ImageData
from featurespace.data.specs import open_data
from featurespace.data.splits import fraction_rows, train_test_rows
from featurespace.device import resolve_device, set_threads
from featurespace.errors import FeaturespaceError, counted
from featurespace.models.checkpoint import write_checkpoint
from featurespace.models.classifier import build_classifier
from featurespace.models.load import Model, load_model
from featurespace.models.segmentation import build_unet
from featurespace.models.specs import parse_model_spec
from featurespace.progress import Progress
from featurespace.provenance import now
from featurespace.spreadsheets import guarded
from featurespace.training import directory, engine
from featurespace.training.batches import Batches
from featurespace.training.masks import Masks, find_masks
from featurespace.training.order import Order
from featurespace.training.pixels import training_pixels
from featurespace.training.plan import TrainingPlan, plan_training
from featurespace.training.runs import append_rows
from featurespace.training.settings import FinetuneConfig
from featurespace.training.supervision import Supervision, Task
from featurespace.training.tasks import multiclass, multilabel, segmentation

MAIN = {"multiclass": multiclass.MAIN, "multilabel": multilabel.MAIN, "segmentation": segmentation.MAIN}
ANY = "any"  # in place of a label, where masks are the targets


def finetune(config: FinetuneConfig, *, trust: bool = False, progress: Progress | None = None) -> Path:
    """Train a network for a task on the training images; return the checkpoint written.

    The test images are looked at once, at the end, with the weights that ``test_with`` names; nothing is chosen by them.
    Beside the checkpoint lie curves.csv (a row an epoch), predictions.csv (a row a test image) and runs.csv.

    Parameters
    ----------
    trust : let a checkpoint to start from that cannot be read otherwise run the code in it; its layout then says so

    Raises
    ------
    FeaturespaceError
        what `featurespace train finetune` prints: options, images or labels that are not there, one class, too few
        images, a directory that holds another training
    """
    progress = progress or Progress()
    prepared = _prepare(config, progress, trust=trust)
    return directory.made(config, partial(_train, prepared, config, progress), progress)


def _train(prepared: _Prepared, config: FinetuneConfig, progress: Progress, file: Path) -> None:
    module, data = prepared.module, prepared.data
    prepared.batches.prepare(progress)
    name = f"finetune {prepared.start.label} on {data.name}"
    rows = engine.run(name, module, prepared.batches, config, _scores(prepared, config), progress)
    if engine.process_rank():
        return
    module.use_kept()
    module.to(resolve_device(config.device))  # Lightning has moved it back
    observed, metrics = module.results(prepared.batches, prepared.test)
    said = ", ".join(f"{key} {value:.3f}" for key, value in metrics.items() if "_" not in key or key == "auc_macro")
    progress.say(f"{name}: {said} on {counted(len(prepared.test), 'test image')}")
    _write_predictions(config.out / "predictions.csv", prepared, observed)
    append_rows(config.runs or config.out / "runs.csv", config, prepared.start.label, data.name, metrics)
    write_checkpoint(file, module.network_state(), _manifest(config, prepared, metrics, rows[-1]["loss"]))


def plan_finetuning(config: FinetuneConfig, *, trust: bool = False, progress: Progress | None = None) -> TrainingPlan:
    """Return what `finetune` will take, without training or writing anything; raises what it would raise at its start."""
    prepared = _prepare(config, progress or Progress(), trust=trust)
    return plan_training(prepared.module, prepared.batches, config)


@dataclass(frozen=True)
class _Prepared:
    """Training, validation and test images are rows of ``data`` in this order."""

    data: ImageData
    task: Task
    start: Model
    batches: Batches
    module: Supervision
    validation: np.ndarray
    test: np.ndarray


def _prepare(config: FinetuneConfig, progress: Progress, *, trust: bool = False) -> _Prepared:
    engine.check_processes(config)
    set_threads(config.threads)
    data = open_data(config.data)
    if config.task == "segmentation":
        masks = find_masks(data, config.masks)
        data = replace(data, samples=data.samples.assign(label=pd.array([ANY] * len(data), dtype="string")))
    train, validation, test = _rows(data, config)
    task = _task(data, train, config)
    if config.task == "multiclass":
        known = np.isin(data.samples["label"].to_numpy(str), task.classes)
        if not known[test].all():
            lost = counted(int((~known[test]).sum()), "test image is", "test images are")
            progress.say(f"{lost} left out: no training image has the class")
        validation, test = validation[known[validation]], test[known[test]]
    if config.test_with == "best" and not len(validation):
        raise FeaturespaceError(
            f"data set {data.name!r} has no validation images to choose by (split val); write test_with: last"
        )
    directory.refuse_small(len(train), config)
    start, network = _network(config, len(task.classes), trust=trust)
    chosen = np.concatenate([train, validation, test])
    used = data.subset(chosen)
    pixels = training_pixels([used], start.preprocessing, config, whole=config.min_scale == 1)
    if config.task == "segmentation":
        targets: Any = Masks(used, masks.take(chosen), len(task.classes), pixels.form, pixels)
    else:
        targets = task.targets(used.samples["label"])  # type: ignore[attr-defined]
    order = Order([len(train)], config.batch_size, seed=config.seed, parts=config.accumulate)
    module = Supervision(config, start, network, task, steps=order.steps, main=MAIN[config.task])
    _, held, tested = np.split(np.arange(len(used)), np.cumsum([len(train), len(validation)]))
    return _Prepared(used, task, start, Batches(pixels, targets, order), module, held, tested)


def _task(data: ImageData, train: np.ndarray, config: FinetuneConfig) -> Task:
    if config.task == "segmentation":
        assert config.classes is not None  # the schema sees to it
        return segmentation.Segmentation(config.classes, weights=config.class_weights, dice=config.dice)
    kind: Any = {"multiclass": multiclass.Multiclass, "multilabel": multilabel.Multilabel}[config.task]
    return kind(data.samples["label"].iloc[train], data.name, config.no_label)


def _network(config: FinetuneConfig, classes: int, *, trust: bool) -> tuple[Model, nn.Module]:
    spec = replace(parse_model_spec(config.model, bare=True), trust=trust)
    start = load_model(spec, seed=config.seed, image_size=config.image_size)
    if config.mode == "scratch":
        random = parse_model_spec(f"{spec.label}={start.arch}@random")
        start = load_model(random, seed=config.seed, image_size=config.image_size)
    if config.task == "segmentation":
        return start, build_unet(start, classes, seed=config.seed)
    return start, build_classifier(start, classes, seed=config.seed).network


def _rows(data: ImageData, config: FinetuneConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return training rows (that share of them), validation rows and test rows."""
    samples = data.samples
    if data.column("label") is None:
        raise FeaturespaceError(
            f"data set {data.name!r} has no labels; finetuning needs class folders or a column 'label'"
        )
    train, test, _ = train_test_rows(samples, rng=seeding.child(config.seed, "split"))
    is_validation = (samples["split"] == "val").fillna(False).to_numpy(bool) & samples["label"].notna().to_numpy()
    is_validation[test] = False
    validation = np.flatnonzero(is_validation)
    for names, (first, second) in {
        "training and test": (train, test), "training and validation": (train, validation),
        "validation and test": (validation, test),
    }.items():  # fmt: skip
        both = sorted(set(samples["group"].iloc[first].dropna()) & set(samples["group"].iloc[second].dropna()))
        if both:
            raise FeaturespaceError(
                f"data set {data.name!r}: group {both[0]!r} is in {names} ({counted(len(both), 'such group')}), "
                "so the one would not be new to who has seen the other; give each group one split"
            )
    train = fraction_rows(samples, train, config.fraction, rng=seeding.child(config.seed, "fraction"))
    return train, validation, test


def _scores(prepared: _Prepared, config: FinetuneConfig) -> Callable[[int, Any], dict[str, float]]:
    batches, rows = prepared.batches, prepared.validation

    def scores(epoch: int, module: Supervision) -> dict[str, float]:
        found = {}
        if len(rows):
            found = {f"val_{key}": value for key, value in module.results(batches, rows)[1].items()}
        module.keep(epoch, found)
        file = directory.snapshot(config, epoch)
        if file:
            about = _manifest(config, prepared, {}, 0.0) | {"metrics": {"epoch": epoch, **found}}
            write_checkpoint(file, module.network_state(), about)
        return found

    return scores


def _write_predictions(file: Path, prepared: _Prepared, observed: torch.Tensor) -> None:
    samples = prepared.data.samples.iloc[prepared.test]
    table = samples[["id", "group", "label"]].reset_index(drop=True).assign(**prepared.task.columns(observed))
    files.write_atomic(file, lambda path: guarded(table).to_csv(path, index=False))


def _manifest(config: FinetuneConfig, prepared: _Prepared, metrics: dict[str, float], loss: float) -> dict[str, Any]:
    model, form = prepared.start, prepared.start.preprocessing.to_dict()
    data_hash, masks = prepared.data.fingerprint(), prepared.batches.targets
    if isinstance(masks, Masks):
        data_hash = files.hash_value([data_hash, masks.fingerprint()])
    counts = {"n_train": prepared.batches.order.sizes[0], "n_test": len(prepared.test)}
    return {
        "arch": model.arch, "num_classes": 0 if config.task == "segmentation" else len(prepared.task.classes),
        "classes": prepared.task.classes,
        "config": config.model_dump(mode="json"), "data_hash": data_hash,
        "parent": {"spec": config.model, "weights_sha256": model.weights_hash},
        "metrics": {f"test_{key}": value for key, value in metrics.items()} | {"train_loss": loss} | counts,
        "finished": now(), "featurespace_version": featurespace.__version__,
        **({"options": dict(model.options)} if model.options else {}),
        **{key: form[key] for key in ("input_size", "mean", "std", "interpolation")},
    }  # fmt: skip
