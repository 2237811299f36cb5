"""Any number of labels an image, some of them unknown."""

from __future__ import annotations

import numpy as np
import pandas as pd
from torch import Tensor
from torch.nn import functional
from torchmetrics.functional.classification import binary_auroc

from featurespace.errors import FeaturespaceError

MAIN = "auc_macro"
UNKNOWN = -1


class Multilabel:
    """A sigmoid for each label: binary cross-entropy over what is known; AUC of each label and their mean.

    A label cell holds names separated by ``|``; ``?A`` says that nobody knows whether A holds. ``no_label`` is what
    stands where none of them does ("No Finding").
    """

    def __init__(self, labels: pd.Series, name: str, no_label: str | None):
        self.no_label = no_label
        named = {part.strip().removeprefix("?") for each in labels for part in each.split("|")}
        self.classes = sorted(named - {no_label, ""})
        if not self.classes:
            raise FeaturespaceError(
                f"data set {name!r}: no training image has a label beside {no_label!r}; write labels as A|B"
            )
        self.places = {each: index for index, each in enumerate(self.classes)}
        known = self.targets(labels)
        for index, each in enumerate(self.classes):
            if len(np.unique(known[known[:, index] != UNKNOWN, index])) < 2:
                raise FeaturespaceError(
                    f"data set {name!r}: of the training images with a known answer, all or none have label {each!r}; "
                    "take it out of the labels, or use a larger fraction"
                )

    def targets(self, labels: pd.Series) -> np.ndarray:
        """Return (n, labels) of 1, 0 and -1 for unknown; labels without a training image are passed over."""
        found = np.zeros((len(labels), len(self.classes)), int)
        for row, cell in enumerate(labels):
            for part in map(str.strip, cell.split("|")):
                if (place := self.places.get(part.removeprefix("?"))) is not None:
                    found[row, place] = UNKNOWN if part.startswith("?") else 1
        return found

    def loss(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Return the mean binary cross-entropy over known answers."""
        known = targets != UNKNOWN
        # A sum over the mask and not a selection: shapes stay, so a compiled network is not compiled again.
        each = functional.binary_cross_entropy_with_logits(scores, targets.clamp(min=0).to(scores), reduction="none")
        return (each * known).sum() / known.sum().clamp(min=1)

    def observed(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Return what is kept of each image: the sigmoid."""
        return scores.sigmoid()

    def metrics(self, probabilities: Tensor, targets: Tensor) -> dict[str, float]:
        """Return the AUC of each label that some images have and some have not, and their mean."""
        found = {}
        for index, name in enumerate(self.classes):
            known = targets[:, index] != UNKNOWN
            if len(targets[known, index].unique()) == 2:
                found[f"auc_{name}"] = float(binary_auroc(probabilities[known, index], targets[known, index]))
        return found | ({"auc_macro": float(np.mean(list(found.values())))} if found else {})

    def columns(self, probabilities: Tensor) -> dict[str, list]:
        """Return the columns of the predictions: the labels above one half of each image and the probabilities."""
        predicted = ["|".join(np.array(self.classes)[row]) for row in (probabilities > 0.5).numpy()]
        return {"predicted": predicted} | {
            f"p_{each}": probabilities[:, i].tolist() for i, each in enumerate(self.classes)
        }
