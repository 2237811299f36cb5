"""Whether what is measured on the features of a start predicts how well it is finetuned."""

from __future__ import annotations

import numpy as np
import pandas as pd

from featurespace import seeding
from featurespace.errors import counted
from featurespace.stats.comparison import holm
from featurespace.stats.estimate import Estimate
from featurespace.stats.ranks import LEAST, weighted_tau_over_runs, weighted_tau_permutation
from featurespace.tables.comparison import PLACE
from featurespace.tables.result_schemas import PREDICTION
from featurespace.tables.schema import interval_columns, validate

ALPHA = 0.05


def prediction_table(
    scores: pd.DataFrame, runs: pd.DataFrame, *, lower_is_better: bool = False, seed: int = 0
) -> pd.DataFrame:
    """Return, for each score and each task and metric of the runs, whether it puts the pretrainings in their order.

    Parameters
    ----------
    scores : columns task, pretraining, score, value: what was measured on the features of each start on the task's images; where
        a value is missing, a column reason may tell why
    runs : table with the columns of `read_runs`
    lower_is_better : whether smaller values of the runs are better; then a score that grows with quality has a negative tau
    seed : of the bootstrap and of random orders

    Returns
    -------
    DataFrame
        With the schema ``prediction``: weighted Kendall's tau with its interval over runs, the p that the order is no better than
        chance, Holm's p over the scores of a task and metric, and the verdict.
    """
    rows = []
    for key, of in runs.groupby(PLACE, sort=False):
        place = dict(zip(PLACE, key))
        results = {name: each["value"].to_numpy() for name, each in of.groupby("pretraining", sort=False)}
        own = scores[scores["task"] == place["task"]]
        found = [
            _row(place, str(score), each, results, seed, lower_is_better)
            for score, each in own.groupby("score", sort=False)
        ]
        for row, p in zip(found, holm([row["p_value"] for row in found])):
            row["p_holm"] = p
            if not np.isnan(p):
                row["verdict"] = "predicts" if p <= ALPHA else "no better than chance"
        rows += found
    return validate(rows, PREDICTION)


def _row(
    place: dict[str, str], score: str, values: pd.DataFrame, results: dict[str, np.ndarray], seed: int, turned: bool
) -> dict:
    """Return the row of a score; without tau, and with the reason as verdict, where there is no order to speak of."""
    values = values[values["pretraining"].isin(list(results))]
    known = values.dropna(subset="value").set_index("pretraining")["value"].to_dict()
    x, runs = np.array(list(known.values())), [(-1 if turned else 1) * results[name] for name in known]
    means = [each.mean() for each in runs]
    few = len(known) < LEAST
    if few or len(set(x)) < 2 or len(set(means)) < 2:
        reason = f"{counted(len(known), 'start')}, at least {LEAST} needed" if few else "no order: all are equal"
        told = values.get("reason", pd.Series(dtype=str)).dropna()
        reason += f"; {told.iloc[0]}" if few and len(told) else ""
        none = Estimate.without_interval(np.nan, n=len(known), unit="run", n_groups=sum(map(len, runs)), reason=reason)
        return place | {"score": score, "n": none.n, "p_value": np.nan, "verdict": reason} | interval_columns(none)
    rng = seeding.child(seed, "prediction", *place.values(), score)
    found = weighted_tau_over_runs(x, runs, rng=rng)
    p = weighted_tau_permutation(x, means, rng=rng)
    return place | {"score": score, "n": found.n, "p_value": p} | interval_columns(found)
