"""What a method of pretraining is."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from featurespace.errors import needs_extra
from featurespace.models.load import Model
from featurespace.training.module import TrainingModule
from featurespace.training.settings import TrainingConfig


class PretrainingMethod(TrainingModule):
    """A backbone in pretraining; a subclass adds its head and its loss, and says what options it has.

    Attributes
    ----------
    Options : schema of the method's options
    needs_labels : whether an image without a label is an error

    Parameters
    ----------
    steps : steps an epoch
    classes : number of labels, 0 without
    options : what `Options` has made of the configuration's options; for the subclass, like ``classes``
    """

    Options: type[BaseModel] = BaseModel
    needs_labels = False

    def __init__(self, config: TrainingConfig, model: Model, steps: int, classes: int, options: Any):
        super().__init__(config, model.preprocessing, steps)
        self.backbone: nn.Module = model.network.train().to(memory_format=torch.channels_last)
        if config.compiled:
            self.backbone.compile()  # in place, so that its weights keep their names

    @property
    def width(self) -> int:
        """Number of pooled features, told by one image."""
        training = self.backbone.training
        with torch.no_grad():
            width = self.backbone.eval()(torch.zeros(1, *self.form.input_size)).shape[1]
        self.backbone.train(training)
        return int(width)

    @staticmethod
    def lightly(module: str) -> Any:
        """Return a module of lightly, which is an extra."""
        try:
            return import_module(f"lightly.{module}")
        except ImportError as error:
            raise needs_extra("this method", "lightly", "train") from error

    def backbone_state(self) -> dict[str, Tensor]:
        """Return the weights of the backbone, without heads."""
        return dict(self.backbone.state_dict())

    def embed(self, images: Tensor) -> Tensor:
        """Return pooled features (b, d) of normalised images."""
        return self.backbone(images)
