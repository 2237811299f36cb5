"""How many epochs the trainings of each pretraining take to their final level."""

from __future__ import annotations

import numpy as np
import pandas as pd

from featurespace.errors import FeaturespaceError
from featurespace.results.convergence import time_to_convergence
from featurespace.stats.means import mean_interval
from featurespace.tables.result_schemas import TIME_TO_CONVERGENCE
from featurespace.tables.schema import interval_columns, validate

PREFIX = "epochs_to_convergence"
PLACE = ["experiment", "pretraining", "task", "metric"]


def convergence_runs(curves: pd.DataFrame) -> pd.DataFrame:
    """Return the epochs to convergence of each run as rows of a runs table, metric ``epochs_to_convergence METRIC``.

    Raises
    ------
    FeaturespaceError
        epochs of a curve are missing, or there are too few; with the names of the run
    """
    rows = []
    for key, curve in curves.groupby([*PLACE, "run"], sort=False):
        names = dict(zip([*PLACE, "run"], key))
        curve = curve.sort_values("epoch")
        epochs = curve["epoch"].to_numpy()
        if (epochs != np.arange(len(epochs))).any():
            absent = sorted(set(range(int(epochs[-1]) + 1)) - set(epochs.tolist()))
            raise FeaturespaceError(
                f"the curve of {_said(names)} has no epoch {absent[0]}; epochs count from 0 without gaps"
            )
        try:
            found = time_to_convergence(curve["value"])
        except ValueError as error:
            raise FeaturespaceError(f"the curve of {_said(names)}: {error}") from error
        rows.append(names | {"metric": f"{PREFIX} {names['metric']}", "value": float(found)})
    return pd.DataFrame(rows)


def time_to_convergence_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the mean over runs of what `convergence_runs` gives, with its interval, a row a pretraining, task and metric."""
    rows = []
    for key, of in runs.groupby(PLACE, sort=False):
        names = dict(zip(PLACE, key))
        names["metric"] = names["metric"].removeprefix(f"{PREFIX} ")
        found = mean_interval(of["value"])
        columns = interval_columns(found)
        rows.append(names | {"epochs": columns.pop("value"), "n": found.n} | columns)
    return validate(rows, TIME_TO_CONVERGENCE)


def _said(names: dict[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in names.items())
