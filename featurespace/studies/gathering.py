"""What the finished cells of a study found, as one table each of runs, curves and losses, in the order of the cells."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from featurespace.errors import FeaturespaceError
from featurespace.results.rows import RUN_KEYS
from featurespace.spreadsheets import unguarded
from featurespace.studies.cells import Cell
from featurespace.training.settings import FinetuneConfig

VALIDATION = "val_"


def gathered(cells: Iterable[Cell]) -> dict[str, pd.DataFrame]:
    """Return the tables runs, curves (empty without validation images) and losses of finished finetunings.

    A cell that belongs to two experiments has rows in both.
    """
    runs, curves, losses = [], [], []
    for cell in cells:
        if not isinstance(cell.config, FinetuneConfig):
            continue
        of_test = _read(cell, "runs.csv", dtype=str)
        epochs = _read(cell, "curves.csv")
        names = {key: str(of_test[key].iloc[0]) for key in ("pretraining", "task", "run")}
        names["task"] = task_of(cell)
        for experiment in cell.experiments:
            key = {"experiment": experiment, **names}
            runs.append(of_test.assign(**key, value=of_test["value"].map(float)))
            curves.append(_curves(epochs).assign(**key))
            losses.append(_losses(epochs, cell.config.batch_size).assign(**key))
    keys = ["experiment", "pretraining", "task", "run"]
    return {
        "runs": _joined(runs, [*RUN_KEYS, "value"]), "curves": _joined(curves, [*keys, "epoch", "metric", "value"]),
        "losses": _joined(losses, [*keys, "epoch", "step", "samples", "loss"]),
    }  # fmt: skip


def task_of(cell: Cell) -> str:
    """Return the name of a cell's task, with all but the pretraining and the seed of what was trained how."""
    return cell.name.removeprefix(f"{cell.config.pretraining}-").removesuffix(f"-seed{cell.config.seed}")  # type: ignore[union-attr]


def _read(cell: Cell, name: str, **options: type) -> pd.DataFrame:
    file = cell.training / name
    try:
        return unguarded(pd.read_csv(file, **options))
    except (OSError, ValueError) as error:
        raise FeaturespaceError(f"{file} cannot be read ({error}); run the same study again") from error


def _curves(epochs: pd.DataFrame) -> pd.DataFrame:
    """Return the scores on validation images, epochs from 0."""
    chosen = [name for name in epochs if name.startswith(VALIDATION)]
    table = epochs[chosen].rename(columns=lambda name: name.removeprefix(VALIDATION)).assign(epoch=epochs["epoch"] - 1)
    return table.melt("epoch", var_name="metric", value_name="value")


def _losses(epochs: pd.DataFrame, batch: int) -> pd.DataFrame:
    return epochs[["step", "loss"]].assign(epoch=epochs["epoch"] - 1, samples=epochs["step"] * batch)


def _joined(tables: list[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    full = [table for table in tables if len(table)]
    return pd.concat(full, ignore_index=True)[columns] if full else pd.DataFrame(columns=columns)
