"""Training losses of each pretraining, over runs."""

from __future__ import annotations

import pandas as pd

from featurespace.tables.result_schemas import LOSS_CURVES
from featurespace.tables.schema import validate

ARM = ["experiment", "pretraining", "task"]


def loss_curves_table(losses: pd.DataFrame) -> pd.DataFrame:
    """Return the mean loss of each epoch with its standard deviation over runs (ddof 0; missing for one run).

    Parameters
    ----------
    losses : table with the columns of `read_losses`; several rows of an epoch and run are averaged first
    """
    of_runs = losses.groupby([*ARM, "run", "epoch"], sort=False).agg(samples=("samples", "max"), loss=("loss", "mean"))
    grouped = of_runs.reset_index().groupby([*ARM, "epoch"], sort=False)
    table = grouped.agg(samples=("samples", "mean"), n=("loss", "size")).reset_index()
    table["std"] = grouped["loss"].std(ddof=0).where(grouped["loss"].size() > 1).to_numpy()
    table["loss"] = grouped["loss"].mean().to_numpy()
    return validate(table[list(LOSS_CURVES.columns)], LOSS_CURVES)
