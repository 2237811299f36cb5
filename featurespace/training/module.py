"""What every training has in common: optimizer, schedule, seeds by step, and an end where the loss is no number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from featurespace import seeding
from featurespace.errors import FeaturespaceError
from featurespace.models.load import Preprocessing
from featurespace.training.batches import Batch
from featurespace.training.optimizers import build_optimizer, parameter_groups, schedule
from featurespace.training.settings import TrainingConfig


class TrainingModule(pl.LightningModule):
    """A network in training. A subclass says what the loss of a batch is.

    All random numbers of a step come from the seed and the number of the step: those for images from ``rng``,
    which is the same on every process, those inside the network from torch's own, set for each step and process.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: TrainingConfig, form: Preprocessing, steps: int):
        super().__init__()
        self.config, self.form, self.steps = config, form, steps
        shape = (1, len(form.mean), 1, 1)
        self.rate = 0.0  # of the last step
        self.register_buffer("mean", torch.tensor(form.mean).reshape(shape), persistent=False)
        self.register_buffer("std", torch.tensor(form.std).reshape(shape), persistent=False)

    def loss(self, batch: Batch, rng: np.random.Generator) -> Tensor:
        """Return the loss of a batch; ``rng`` draws what happens to images."""
        raise NotImplementedError

    @property
    def size(self) -> int:
        """Height and width of what the network sees."""
        return self.form.input_size[1]

    def normalised(self, images: Tensor) -> Tensor:
        """Return images in 0..1 with the network's mean and standard deviation."""
        return (images - self.mean) / self.std

    def training_step(self, batch: Batch, index: int) -> dict[str, Any]:
        """Return the loss; one that is no number ends the training and says where."""
        rng = seeding.child(self.config.seed, "images", str(batch.number))
        torch.manual_seed(seeding.child_seed(self.config.seed, "network", str(batch.number), str(self.global_rank)))
        self.rate = self.trainer.optimizers[0].param_groups[-1]["lr"]
        loss = self.loss(batch, rng)
        if not torch.isfinite(loss):
            ids = ", ".join(self.trainer.train_dataloader.pixels.ids(batch.rows[:8]))  # type: ignore[union-attr]
            raise FeaturespaceError(
                f"the loss is {loss.item()} at step {self.global_step} (learning rate {self.rate:.3g}, images {ids}, ...); lower "
                "the learning rate, lengthen the warm-up, or look at those images"
            )
        return {"loss": loss}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return what is trained, with weight decay and share of the learning rate."""
        return parameter_groups(self.named_parameters(), self.config.weight_decay)

    def configure_optimizers(self) -> Any:
        """Return the optimizer and its schedule by step."""
        optimizer = build_optimizer(self.parameter_groups(), self.config)
        rates = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule(self.config, self.steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": rates, "interval": "step"}}
