"""Supervised pretraining: cross-entropy on the labels, as ImageNet weights are made."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from featurespace.models.load import Model
from featurespace.training import augment
from featurespace.training.batches import Batch
from featurespace.training.method import PretrainingMethod
from featurespace.training.settings import TrainingConfig


class SupervisedOptions(BaseModel):
    """Options of supervised pretraining."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_scale: float = Field(default=0.25, gt=0, le=1, description="Least share of the image that is cut out.")
    flip: float = Field(default=0.5, ge=0, le=1, description="Share of images mirrored.")
    smoothing: float = Field(default=0.0, ge=0, lt=1, description="Label smoothing.")


class Method(PretrainingMethod):
    """Backbone and one linear layer."""

    Options = SupervisedOptions
    needs_labels = True

    def __init__(self, config: TrainingConfig, model: Model, steps: int, classes: int, options: SupervisedOptions):
        super().__init__(config, model, steps, classes, options)
        self.options = options
        self.head = nn.Linear(self.width, classes)

    def loss(self, batch: Batch, rng: np.random.Generator) -> Tensor:
        """Return the cross-entropy of one random crop of each image."""
        options = self.options
        crops = augment.draw_crops(batch.whole, rng=rng, min_scale=options.min_scale, flip=options.flip)
        images = augment.crop(
            batch.pixels.float() / 255, augment.Crops(*(each[batch.own] for each in crops)), self.size
        )
        scores = self.head(self.backbone(self.normalised(images)))
        return nn.functional.cross_entropy(scores, batch.targets, label_smoothing=options.smoothing)
