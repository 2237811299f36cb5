"""A class for every pixel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

MAIN = "dice"
IGNORED = 255  # a pixel of which nobody knows the class


class Segmentation:
    """Softmax over the classes of each pixel: cross-entropy, with weights of classes and with Dice loss if asked for.

    Scores are of all pixels of the test images together: Dice, IoU, precision and recall of each class but the first (the
    background), and their means. A class that neither the masks nor the predictions hold has none.
    """

    def __init__(self, classes: Sequence[str], *, weights: Sequence[float] | None = None, dice: float = 0.0):
        self.classes, self.dice = list(classes), dice
        self.weights = None if weights is None else torch.tensor(weights)

    def loss(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy (b, C, h, w; b, h, w), and ``dice`` times the mean Dice loss of the classes."""
        weights = None if self.weights is None else self.weights.to(scores)
        found = functional.cross_entropy(scores, targets, weight=weights, ignore_index=IGNORED)
        if not self.dice:
            return found
        from segmentation_models_pytorch.losses import DiceLoss

        return found + self.dice * DiceLoss("multiclass", ignore_index=IGNORED)(scores, targets)

    def observed(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Return what is kept of each image: pixels by true and predicted class (b, C, C)."""
        count = len(self.classes)
        predicted, known = scores.argmax(1), targets != IGNORED
        image = torch.arange(len(targets), device=targets.device)[:, None, None].expand_as(targets)
        cell = (image * count + targets) * count + predicted
        return torch.bincount(cell[known], minlength=len(targets) * count**2).reshape(-1, count, count)

    def metrics(self, confusion: Tensor, targets: object = None) -> dict[str, float]:
        """Return the scores of all images together."""
        return self._scores(confusion.sum(0).double())

    def columns(self, confusion: Tensor) -> dict[str, list]:
        """Return the Dice of each class on each image, empty where image and prediction do not hold it."""
        scores = [self._scores(each.double()) for each in confusion]
        return {
            f"dice_{name}": [each.get(f"dice_{name}", float("nan")) for each in scores] for name in self.classes[1:]
        }

    def _scores(self, confusion: Tensor) -> dict[str, float]:
        hit = confusion.diagonal()
        true, predicted = confusion.sum(1), confusion.sum(0)
        found: dict[str, float] = {}
        shares = {
            "dice": (true + predicted) / 2, "iou": true + predicted - hit, "precision": predicted, "recall": true
        }  # fmt: skip
        for kind, below in shares.items():
            values = {
                f"{kind}_{name}": float(hit[i] / below[i]) for i, name in enumerate(self.classes) if i and below[i] > 0
            }  # fmt: skip
            found |= values | ({kind: sum(values.values()) / len(values)} if values else {})
        return found
