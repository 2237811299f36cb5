"""Finetune a checkpoint to tell classes apart, and write the new checkpoint with its manifest."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAccuracy

import featurespace
from featurespace import seeding
from featurespace.data.dataset import ImageData
from featurespace.data.specs import open_data
from featurespace.data.splits import train_test_rows
from featurespace.data.transforms import network_input
from featurespace.errors import FeaturespaceError
from featurespace.models.checkpoint import write_checkpoint
from featurespace.models.classifier import build_classifier
from featurespace.models.load import Preprocessing
from featurespace.models.specs import parse_model_spec
from featurespace.progress import Progress


class FinetuneConfig(BaseModel):
    """What finetuning is told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(description="Model spec of the checkpoint to start from.")
    data: str = Field(description="Data spec, LABEL=PATH; its images need labels.")
    out: Path = Field(description="The checkpoint to write, a .safetensors file.")
    image_size: int | None = Field(default=None, ge=8, description="Height and width the images are scaled to.")
    epochs: int = Field(default=4, ge=1, description="Passes over the training images.")
    batch_size: int = Field(default=64, ge=2, description="Images a step.")
    learning_rate: float = Field(default=1e-3, gt=0, description="AdamW's peak learning rate; cosine decay to zero.")
    weight_decay: float = Field(default=1e-2, ge=0, description="AdamW's weight decay.")
    device: str = Field(default="auto", description="auto, cpu or cuda.")
    seed: int = Field(default=0, ge=0, description="Seed of everything random.")


class Classification(pl.LightningModule):
    """Cross-entropy on one label an image, AdamW, one cosine over all steps."""

    def __init__(
        self, network: torch.nn.Module, *, classes: int, steps: int, learning_rate: float, weight_decay: float
    ):
        super().__init__()
        self.network = network
        self.steps, self.learning_rate, self.weight_decay = steps, learning_rate, weight_decay
        self.accuracy = MulticlassAccuracy(classes, average="micro")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return class scores (n, classes)."""
        return self.network(images)

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> torch.Tensor:
        """Return the loss; a NaN loss ends the training with the step and the learning rate."""
        images, targets = batch
        loss = torch.nn.functional.cross_entropy(self(images), targets)
        if not torch.isfinite(loss):
            raise FeaturespaceError(
                f"the loss is {loss.item()} at step {self.global_step} with learning rate {self.learning_rate:g}; lower it"
            )
        self.log("loss", loss, on_step=False, on_epoch=True)
        return loss

    def test_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> None:
        """Count right answers on the test images."""
        images, targets = batch
        self.accuracy.update(self(images), targets)
        self.log("test_accuracy", self.accuracy, on_epoch=True)

    def configure_optimizers(self) -> Any:
        """Return AdamW with a cosine schedule a step."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / self.steps))
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class _Bar(pl.Callback):
    def __init__(self, advance: Any):
        self.advance = advance

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
        self.advance(len(batch[0]))


def finetune(config: FinetuneConfig, *, progress: Progress | None = None) -> Path:
    """Train all weights of a checkpoint, and a new classifier, on the training images; return the file written.

    The reported test accuracy is computed once, after the last epoch; nothing is chosen by it. The manifest of the
    checkpoint holds architecture, configuration, hash of the data, the parent checkpoint and that accuracy.

    Raises
    ------
    FeaturespaceError
        no labels, one class, fewer training images than a batch, a loss that is NaN
    """
    progress = progress or Progress()
    data = open_data(config.data)
    train, test, classes = _rows(data, config)
    start = build_classifier(
        parse_model_spec(config.model), len(classes), seed=config.seed, image_size=config.image_size
    )
    form = start.model.preprocessing
    targets = torch.from_numpy(np.searchsorted(classes, data.samples["label"].iloc[np.r_[train, test]].to_numpy(str)))
    images = torch.stack([torch.from_numpy(network_input(data.image(int(row)), form)) for row in np.r_[train, test]])
    sets = [TensorDataset(images[part], targets[part]) for part in (slice(0, len(train)), slice(len(train), None))]
    shuffle = torch.Generator().manual_seed(seeding.child_seed(config.seed, "finetune", "order"))
    train_loader = DataLoader(sets[0], config.batch_size, shuffle=True, generator=shuffle, drop_last=True)
    module = Classification(
        start.network.train().to(memory_format=torch.channels_last), classes=len(classes),
        steps=config.epochs * len(train_loader), learning_rate=config.learning_rate, weight_decay=config.weight_decay,
    )  # fmt: skip
    total = config.epochs * len(train_loader) * config.batch_size
    with _quiet_lightning(), progress.bar(f"finetune {start.model.label} on {data.name}", total, "images") as advance:
        trainer = _trainer(config, [_Bar(advance)])
        with torch.random.fork_rng():
            torch.manual_seed(seeding.child_seed(config.seed, "finetune", "dropout"))
            trainer.fit(module, train_loader)
            loss = float(trainer.callback_metrics["loss"])
            accuracy = trainer.test(module, DataLoader(sets[1], config.batch_size), verbose=False)[0]["test_accuracy"]
    progress.say(
        f"finetuned {start.model.label} on {data.name}: {config.epochs} epochs of {len(train)} images, "
        f"test accuracy {accuracy:.3f} on {len(test)} images"
    )
    write_checkpoint(config.out, module.network.cpu().state_dict(), {
        "arch": start.model.arch, "num_classes": len(classes), "classes": classes.tolist(),
        "config": config.model_dump(mode="json"), "data_hash": data.fingerprint(),
        "parent": {"spec": config.model, "weights_sha256": start.model.weights_hash},
        "metrics": {"test_accuracy": accuracy, "n_test": len(test), "train_loss": loss, "n_train": len(train)},
        "featurespace_version": featurespace.__version__, **_input_record(form),
    })  # fmt: skip
    return config.out


def _rows(data: ImageData, config: FinetuneConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if data.column("label") is None:
        raise FeaturespaceError(
            f"data set {data.name!r} has no labels; finetuning needs class folders or a column 'label'"
        )
    train, test, _ = train_test_rows(data.samples, rng=seeding.child(config.seed, "split"))
    classes = np.unique(data.samples["label"].iloc[train].to_numpy(str))
    if len(classes) < 2:
        raise FeaturespaceError(
            f"data set {data.name!r}: all training images are {str(classes[0])!r}; two classes are needed"
        )
    if len(train) < config.batch_size:
        raise FeaturespaceError(
            f"data set {data.name!r} has {len(train)} training images, fewer than a batch of {config.batch_size}; lower batch_size"
        )
    known = np.isin(data.samples["label"].iloc[test].to_numpy(str), classes)
    return train, test[known], classes


def _input_record(form: Preprocessing) -> dict[str, Any]:
    record = form.to_dict()
    return {key: record[key] for key in ("input_size", "mean", "std", "interpolation")}


def _trainer(config: FinetuneConfig, callbacks: list[pl.Callback]) -> pl.Trainer:
    return pl.Trainer(
        max_epochs=config.epochs, accelerator=config.device, devices=1, callbacks=callbacks, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    # Lightning announces its hardware and advises more loader workers; images are in memory here.
    logger = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            yield
    finally:
        logger.setLevel(level)
