"""One label an image."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_auroc

from featurespace.errors import FeaturespaceError

MAIN = "accuracy"  # by which weights are chosen where validation images choose


class Multiclass:
    """Softmax over classes: cross-entropy; accuracy, balanced accuracy and macro AUC."""

    def __init__(self, labels: pd.Series, name: str, no_label: str | None):
        self.classes = np.unique(labels.to_numpy(str)).tolist()
        if len(self.classes) < 2:
            raise FeaturespaceError(
                f"data set {name!r}: all training images are {self.classes[0]!r}; two classes are needed"
            )

    def targets(self, labels: pd.Series) -> np.ndarray:
        """Return class numbers (n,), -1 for a class that has no training image."""
        places = {each: index for index, each in enumerate(self.classes)}
        return labels.map(places).fillna(-1).to_numpy(int)

    def loss(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy."""
        return functional.cross_entropy(scores, targets)

    def observed(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Return what is kept of each image: the softmax."""
        return scores.softmax(1)

    def metrics(self, probabilities: Tensor, targets: Tensor) -> dict[str, float]:
        """Return the scores of predictions; AUC is left out where a class has no image."""
        count = len(self.classes)
        found = {
            "accuracy": multiclass_accuracy(probabilities, targets, count, average="micro"),
            "balanced_accuracy": multiclass_accuracy(probabilities, targets, count, average="macro"),
        }
        if len(targets.unique()) == count:
            found["auc_macro"] = multiclass_auroc(probabilities, targets, count, average="macro")
        return {key: float(value) for key, value in found.items()}

    def columns(self, probabilities: Tensor) -> dict[str, list]:
        """Return the columns of the predictions: the class of each image and the probabilities."""
        predicted = [self.classes[each] for each in torch.argmax(probabilities, 1).tolist()]
        return {"predicted": predicted} | {
            f"p_{each}": probabilities[:, i].tolist() for i, each in enumerate(self.classes)
        }
