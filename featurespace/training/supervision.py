"""A network in finetuning: what is frozen, what is kept, and what it says of images."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from featurespace import seeding
from featurespace.models.load import Model
from featurespace.models.segmentation import ENCODER, unet_state
from featurespace.training import augment
from featurespace.training.batches import Batch, Batches
from featurespace.training.freezing import freeze, modules_up_to
from featurespace.training.module import TrainingModule
from featurespace.training.noise import noisy
from featurespace.training.settings import FinetuneConfig

CHUNK = 256  # images at a time where nothing is learnt


class Task(Protocol):
    """What a network is finetuned for."""

    classes: list[str]

    def loss(self, scores: Tensor, targets: Tensor) -> Tensor: ...  # noqa: D102
    def observed(self, scores: Tensor, targets: Tensor) -> Tensor: ...  # noqa: D102
    def metrics(self, observed: Tensor, targets: Any) -> dict[str, float]: ...  # noqa: D102
    def columns(self, observed: Tensor) -> dict[str, list]: ...  # noqa: D102


class Supervision(TrainingModule):
    """A network with a classifier, trained whole or at its classifier alone.

    In mode ``linear`` everything but the classifier is frozen, with ``freeze`` all up to that layer, the statistics of BatchNorm
    and dropout too.
    """

    def __init__(
        self, config: FinetuneConfig, start: Model, network: nn.Module, task: Task, *, steps: int, main: str
    ):  # fmt: skip
        super().__init__(config, start.preprocessing, steps)
        self.options, self.task, self.main = config, task, main
        self.start, self.network = start, network
        self.best = -np.inf
        self.kept: dict[str, Tensor] | None = None
        if config.mode == "linear":
            backbone = start.network.state_dict().keys()
            for name, parameter in self.network.named_parameters():
                parameter.requires_grad_(name not in backbone and not name.startswith(ENCODER))
        self.frozen = freeze(self.network, modules_up_to(start, config.freeze)) if config.freeze else []
        if config.compiled:
            self.network.compile()  # in place, so that its weights keep their names
        self.train()
        self.network.to(memory_format=torch.channels_last)  # 1.4 times as fast on CPUs for depthwise convolutions

    def train(self, mode: bool = True) -> Supervision:
        """Set training mode, which a frozen network never has."""
        super().train(mode)
        if self.options.mode == "linear":
            self.network.get_submodule("encoder" if self.options.task == "segmentation" else "").eval()
        for module in self.frozen:
            module.eval()
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
        own = augment.Crops(*(each[batch.own] for each in crops))
        images = augment.crop(batch.pixels.float() / 255, own, self.size)
        if options.noise and options.noise.at != "test":
            images = noisy(images, options.noise, int(rng.integers(2**31)) + self.global_rank)
        return self.task.loss(self.network(self.normalised(images)), self._cropped(batch.targets, own))

    def _cropped(self, targets: Tensor, crops: augment.Crops) -> Tensor:
        """Return masks with the boxes of their images; other targets as they are."""
        return targets if targets.ndim < 3 else augment.crop_masks(targets, crops, self.size)

    def results(self, batches: Batches, rows: np.ndarray) -> tuple[Tensor, dict[str, float]]:
        """Return what the task keeps of each image in eval mode, and its scores."""
        training, found = self.training, []
        self.eval()
        with torch.no_grad():
            for start in range(0, len(rows), CHUNK):
                part = rows[start : start + CHUNK]
                images = torch.from_numpy(batches.pixels.fetch(part)).permute(0, 3, 1, 2).to(self.device)
                whole = augment.whole(len(part))
                images = augment.crop(images.float() / 255, whole, self.size)
                if self.options.noise and self.options.noise.at != "train":
                    images = noisy(
                        images, self.options.noise, seeding.child_seed(self.config.seed, "noise", str(start))
                    )
                targets = self._cropped(batches.target(part).to(self.device), whole)
                found.append(self.task.observed(self.network(self.normalised(images)).float(), targets).cpu())
        self.train(training)
        observed = torch.cat(found)
        return observed, self.task.metrics(observed, batches.known_targets(rows))

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
        """Return the weights that the checkpoint gets, classifier or decoder included."""
        state = (
            unet_state(self.network, self.start) if self.options.task == "segmentation" else self.network.state_dict()
        )
        return {name: value.cpu() for name, value in state.items()}
