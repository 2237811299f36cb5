"""What a training tells while it runs: a row an epoch in curves.csv, the same to loggers, and the bar."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytorch_lightning as pl
import torch

from featurespace import files
from featurespace.training.batches import Batch


class Curves(pl.Callback):
    """Loss, learning rate and further scores of each epoch; part of the saved state, so a rerun loses no row."""

    def __init__(self, file: Path, advance: Callable[[int], object], scores: Callable[[int, Any], dict[str, float]]):
        self.file, self.advance, self.scores = file, advance, scores
        self.rows: list[dict[str, float]] = []
        self.total, self.count = 0.0, 0

    def state_dict(self) -> dict[str, Any]:
        """Return the rows, and the sums of the epoch that is not over."""
        return {"rows": self.rows, "total": self.total, "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self.rows, self.total, self.count = state["rows"], state["total"], state["count"]

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Batch, index: int) -> None:
        """Add the loss and the images of a batch."""
        images = len(batch.pixels)
        self.total += float(outputs["loss"]) * trainer.accumulate_grad_batches * images
        self.count += images
        self.advance(batch.whole)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Write the row of the epoch."""
        epoch = trainer.current_epoch + 1
        row = {
            "epoch": epoch, "step": trainer.global_step, "loss": self._mean_loss(trainer, module),
            "learning_rate": module.rate,
        } | self.scores(epoch, module)  # fmt: skip
        self.total, self.count = 0.0, 0
        self.rows.append(row)
        if trainer.is_global_zero:
            table = pd.DataFrame(self.rows)
            files.write_atomic(self.file, lambda path: table.to_csv(path, index=False))
            for logger in trainer.loggers:
                logger.log_metrics(row, int(row["step"]))

    def _mean_loss(self, trainer: pl.Trainer, module: Any) -> float:
        """Return the mean over the images of all processes; each has as many."""
        return float(
            trainer.strategy.reduce(torch.tensor(self.total / self.count, device=module.device), reduce_op="mean")
        )
