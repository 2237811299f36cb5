"""Epochs to convergence and mean losses of trainings, against plain loops over the runs."""

import numpy as np
import pandas as pd
import pytest

from featurespace.errors import FeaturespaceError
from featurespace.stats import mean_interval
from featurespace.tables.convergence_time import convergence_runs, time_to_convergence_table
from featurespace.tables.loss_curves import loss_curves_table


def curve(values, run="0", pretraining="ct", first=0):
    place = {"experiment": "E1", "pretraining": pretraining, "task": "xray", "metric": "acc", "run": run}
    return pd.DataFrame({"epoch": np.arange(first, first + len(values)), "value": values}).assign(**place)


def reaching(epoch):
    """A curve that lies at 1 from that epoch on."""
    return np.where(np.arange(20) < epoch, 0.5, 1.0)


def test_epochs_of_runs_and_their_mean():
    curves = [curve(reaching(3)), curve(reaching(5), run="1"), curve(reaching(2), pretraining="scratch")]
    runs = convergence_runs(pd.concat(curves).sample(frac=1, random_state=0))  # epochs in any order
    assert runs.set_index(["pretraining", "run"])["value"].to_dict() == {
        ("ct", "0"): 3, ("ct", "1"): 5, ("scratch", "0"): 2,
    }  # fmt: skip
    assert set(runs["metric"]) == {"epochs_to_convergence acc"}
    table = time_to_convergence_table(runs).set_index("pretraining")
    expected = mean_interval([3, 5])
    assert table.loc["ct", ["epochs", "ci_low", "n"]].tolist() == pytest.approx([4, expected.ci_low, 2])
    assert table.loc["scratch", "interval"].startswith("none: 1 run") and set(table["metric"]) == {"acc"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (curve(reaching(3), first=1), "run 0 has no epoch 0; epochs count from 0 without gaps"),
        (
            curve(reaching(3)).drop(index=7),
            "experiment E1, pretraining ct, task xray, metric acc, run 0 has no epoch 7",
        ),
        (
            curve(reaching(3)[:8]),
            "the curve of experiment E1, .* run 0: the curve has 8 epochs; at least 10 are needed",
        ),
    ],
)
def test_curves_with_gaps_and_short_ones_are_named(given, message):
    with pytest.raises(FeaturespaceError, match=message):
        convergence_runs(given)


def test_losses_are_means_of_the_runs_after_means_within_them(rng):
    rows = [
        {"experiment": "E1", "pretraining": name, "task": "xray", "run": str(run), "epoch": epoch, "step": step,
         "samples": 64 * step, "loss": rng.random()}
        for name, runs in (("ct", 3), ("scratch", 1)) for run in range(runs) for epoch in range(2)
        for step in (2 * epoch + 1, 2 * epoch + 2)
    ]  # fmt: skip
    table = loss_curves_table(pd.DataFrame(rows).sample(frac=1, random_state=0)).set_index(["pretraining", "epoch"])
    for name, runs in (("ct", 3), ("scratch", 1)):
        for epoch in range(2):
            own = [
                np.mean([row["loss"] for row in rows if (row["pretraining"], row["epoch"], row["run"]) == (name, epoch, str(run))])
                for run in range(runs)
            ]  # fmt: skip
            row = table.loc[(name, epoch)]
            assert row["loss"] == pytest.approx(np.mean(own)) and row["n"] == runs
            assert row["samples"] == 64 * (2 * epoch + 2)
            assert np.isnan(row["std"]) if runs == 1 else row["std"] == pytest.approx(np.std(own))
