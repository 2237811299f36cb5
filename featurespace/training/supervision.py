"""A network in finetuning: what is frozen, what is kept, and what it says of images."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from featurespace import seeding
from featurespace.models.classifier import Classifier
from featurespace.training import augment
from featurespace.training.batches import Batch
from featurespace.training.module import TrainingModule
from featurespace.training.noise import noisy
from featurespace.training.pixels import Pixels
from featurespace.training.settings import FinetuneConfig

CHUNK = 256  # images at a time where nothing is learnt


class Task(Protocol):
    """What a network is finetuned for."""

    classes: list[str]

    def targets(self, labels: pd.Series) -> np.ndarray: ...  # noqa: D102
    def loss(self, scores: Tensor, targets: Tensor) -> Tensor: ...  # noqa: D102
    def probabilities(self, scores: Tensor) -> Tensor: ...  # noqa: D102
    def metrics(self, probabilities: Tensor, targets: Tensor) -> dict[str, float]: ...  # noqa: D102
    def predicted(self, probabilities: Tensor) -> list[str]: ...  # noqa: D102


class Supervision(TrainingModule):
    """A network with a classifier, trained whole or at its classifier alone.

    In mode ``linear`` everything but the classifier is frozen, the statistics of BatchNorm and dropout too.
    """

    def __init__(self, config: FinetuneConfig, start: Classifier, task: Task, steps: int, main: str):
        super().__init__(config, start.model.preprocessing, steps)
        self.options, self.task, self.main = config, task, main
        self.network: nn.Module = start.network
        self.size = start.model.preprocessing.input_size[1]
        self.best = -np.inf
        self.kept: dict[str, Tensor] | None = None
        if config.mode == "linear":
            backbone = start.model.network.state_dict().keys()
            for name, parameter in self.network.named_parameters():
                parameter.requires_grad_(name not in backbone)
        self.network.train(config.mode != "linear")
        if torch.cuda.is_available():
            self.network.to(memory_format=torch.channels_last)

    def train(self, mode: bool = True) -> Supervision:
        """Set training mode, which a frozen network never has."""
        super().train(mode)
        if self.options.mode == "linear":
            self.network.eval()
        return self

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return what is trained; with ``layer_decay`` by timm's order of layers."""
        if self.options.layer_decay is None:
            return super().parameter_groups()
        from timm.optim import param_groups_layer_decay

        return param_groups_layer_decay(
            self.network, weight_decay=self.config.weight_decay, layer_decay=self.options.layer_decay
        )

    def loss(self, batch: Batch, rng: np.random.Generator) -> Tensor:
        """Return the task's loss of one random crop of each image, or of the images whole."""
        options = self.options
        crops = augment.draw_crops(batch.whole, rng=rng, min_scale=options.min_scale, flip=options.flip)
        if options.min_scale == 1:  # not even another shape
            crops = augment.whole(batch.whole)._replace(mirrored=crops.mirrored)
        images = augment.crop(
            batch.pixels.float() / 255, augment.Crops(*(each[batch.own] for each in crops)), self.size
        )
        if options.noise and options.noise.at != "test":
            images = noisy(images, options.noise, int(rng.integers(2**31)) + self.global_rank)
        return self.task.loss(self.network(self.normalised(images)), batch.targets)

    def results(self, pixels: Pixels, rows: np.ndarray, targets: np.ndarray) -> tuple[Tensor, dict[str, float]]:
        """Return the probabilities of images in eval mode, and the task's scores."""
        training, found = self.training, []
        self.eval()
        with torch.no_grad():
            for start in range(0, len(rows), CHUNK):
                images = torch.from_numpy(pixels.fetch(rows[start : start + CHUNK])).permute(0, 3, 1, 2)
                images = augment.crop(images.to(self.device).float() / 255, augment.whole(len(images)), self.size)
                if self.options.noise and self.options.noise.at != "train":
                    images = noisy(
                        images, self.options.noise, seeding.child_seed(self.config.seed, "noise", str(start))
                    )
                found.append(self.task.probabilities(self.network(self.normalised(images)).float()).cpu())
        self.train(training)
        probabilities = torch.cat(found)
        return probabilities, self.task.metrics(probabilities, torch.from_numpy(targets))

    def keep(self, epoch: int, scores: dict[str, float]) -> None:
        """Keep the weights of an epoch if they are those to test with so far."""
        wanted, score = self.options.test_with, scores.get(f"val_{self.main}", -np.inf)
        if wanted == epoch or (wanted == "best" and (score > self.best or self.kept is None)):
            self.best = score
            self.kept = {name: value.detach().cpu().clone() for name, value in self.network.state_dict().items()}

    def use_kept(self) -> None:
        """Put the kept weights back; where none were kept, the last ones stay."""
        if self.kept is not None:
            self.network.load_state_dict(self.kept)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the kept weights to a saved state."""
        checkpoint["kept"] = {"weights": self.kept, "best": self.best}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take them from it."""
        self.kept, self.best = checkpoint["kept"]["weights"], checkpoint["kept"]["best"]

    def network_state(self) -> dict[str, Tensor]:
        """Return the weights that the checkpoint gets, classifier included."""
        return {name: value.cpu() for name, value in self.network.state_dict().items()}
