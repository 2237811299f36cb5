"""SimCLR: two views of an image shall be nearer to each other than to the views of all other images.

Chen, Kornblith, Norouzi, Hinton 2020, arXiv 2002.05709. There: 256 to 8192 images a batch (4096), LARS with a learning
rate of 0.075 times the root of the batch size, weight decay 1e-6, 10 epochs of warm-up, cosine; temperature 0.1 with
normalised projections of 128 numbers (here 0.5 and 256, as in the study of CT pretraining that this toolkit follows);
colour jitter of strength 1 in 8 of 10 views, grey in 2, blur in 5.
"""

from __future__ import annotations

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from featurespace.models.load import Model
from featurespace.training import augment
from featurespace.training.batches import Batch
from featurespace.training.method import PretrainingMethod
from featurespace.training.settings import TrainingConfig


class SimCLROptions(BaseModel):
    """Options of SimCLR."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    projection: int = Field(default=256, ge=2, description="Numbers of the projection.")
    temperature: float = Field(default=0.5, gt=0, description="Temperature of NT-Xent.")
    batch_norm: bool = Field(default=True, description="BatchNorm in the projection head; on CPUs not synchronised.")
    min_scale: float = Field(default=0.08, gt=0, le=1, description="Least share of the image in a view.")
    colour: float = Field(default=1.0, ge=0, le=1.25, description="Strength of the colour jitter.")
    grey: float = Field(default=0.2, ge=0, le=1, description="Share of views made grey.")
    blur: float = Field(default=0.5, ge=0, le=1, description="Share of views blurred.")
    flip: float = Field(default=0.5, ge=0, le=1, description="Share of views mirrored.")


class Method(PretrainingMethod):
    """Backbone, projection head of one hidden layer, NT-Xent with the negatives of all processes."""

    Options = SimCLROptions

    def __init__(self, config: TrainingConfig, model: Model, steps: int, classes: int, options: SimCLROptions):
        super().__init__(config, model, steps, classes, options)
        head = self.lightly("models.modules.heads").SimCLRProjectionHead
        self.head = head(self.width, self.width, options.projection, batch_norm=options.batch_norm)
        self.criterion = self.lightly("loss").NTXentLoss(
            options.temperature, gather_distributed=config.devices * config.nodes > 1
        )
        self.views = Views(options, self.size)

    def loss(self, batch: Batch, rng: np.random.Generator) -> Tensor:
        """Return NT-Xent of two views."""
        first, second = (self.normalised(self.views(batch, rng)) for _ in range(2))
        projections = self.head(self.backbone(torch.cat([first, second])))
        return self.criterion(*projections.chunk(2))


class Views:
    """SimCLR's random views of a batch; numbers are drawn for the batch of all processes, then each takes its own."""

    def __init__(self, options: SimCLROptions, size: int):
        self.options, self.size = options, size

    def __call__(self, batch: Batch, rng: np.random.Generator) -> Tensor:
        """Return one view of each image, (b, c, size, size) in 0..1."""
        n, own, options = batch.whole, batch.own, self.options
        crops = augment.draw_crops(n, rng=rng, min_scale=options.min_scale, flip=options.flip)
        jitter = rng.random(n) < 0.8
        strength = options.colour * np.array([0.8, 0.8, 0.8, 0.2])
        factors = rng.uniform(-1, 1, (n, 4)) * strength * jitter[:, None]
        order = rng.permutation(4)
        is_grey = rng.random(n) < options.grey
        sigma = np.where(rng.random(n) < options.blur, rng.uniform(0.1, 2.0, n), 0.0)
        images = augment.crop(batch.pixels.float() / 255, augment.Crops(*(each[own] for each in crops)), self.size)
        for each in order if options.colour else ():
            change = torch.from_numpy(factors[own, each])
            adjust = (augment.adjust_brightness, augment.adjust_contrast, augment.adjust_saturation, augment.adjust_hue)
            images = adjust[each](images, change if each == 3 else 1 + change.clamp(min=-1))
        chosen = torch.from_numpy(is_grey[own]).to(images.device)[:, None, None, None]
        images = torch.where(chosen, augment.grey(images), images)
        # lightly's widths are for 224 px and more; smaller images are blurred in proportion.
        return augment.blur(images, torch.from_numpy(sigma[own] * min(1.0, self.size / 224)))
