import numpy as np
import pandas as pd
import pytest

from featurespace.stats import weighted_tau
from featurespace.tables.prediction import prediction_table


def tables(values, scores, task="levels"):
    runs = pd.DataFrame(
        [["E1", name, task, str(n), "accuracy", value] for name, row in values.items() for n, value in enumerate(row)],
        columns=["experiment", "pretraining", "task", "run", "metric", "value"],
    )
    measured = pd.DataFrame(
        [[task, name, score, value] for score, of in scores.items() for name, value in of.items()],
        columns=["task", "pretraining", "score", "value"],
    )
    return measured, runs


VALUES = {name: [0.5 + place / 10, 0.51 + place / 10] for place, name in enumerate("abcde")}
GOOD = {name: place**3 for place, name in enumerate("abcde")}
BAD = {"a": 3, "b": 1, "c": 2, "d": 0, "e": 1.5}


def test_a_score_in_the_order_of_the_results_predicts_and_another_does_not():
    table = prediction_table(*tables(VALUES, {"good": GOOD, "bad": BAD})).set_index("score")
    good, bad = table.loc["good"], table.loc["bad"]
    assert (good["n"], good["n_groups"], good["verdict"]) == (5, 10, "predicts") and good["value"] == pytest.approx(1)
    assert good["p_value"] == pytest.approx(1 / 120) and good["p_holm"] == pytest.approx(2 / 120)
    means = [np.mean(VALUES[name]) for name in "abcde"]
    assert (
        bad["value"] == weighted_tau([BAD[name] for name in "abcde"], means)
        and bad["verdict"] == "no better than chance"
    )


def test_losses_turn_the_order():
    table = prediction_table(*tables(VALUES, {"good": GOOD}), lower_is_better=True)
    assert table["value"].tolist() == pytest.approx([-1]) and table["verdict"].tolist() == ["no better than chance"]


def test_what_has_no_order_is_said():
    same, two = dict.fromkeys("abcde", 1.0), {"a": 1, "b": 2}
    table = prediction_table(*tables(VALUES, {"same": same, "two": two, "good": GOOD})).set_index("score")
    assert table["verdict"].tolist() == ["no order: all are equal", "2 starts, at least 3 needed", "predicts"]
    assert (
        table["value"].isna().tolist() == [True, True, False]
        and table.loc["good", "p_holm"] == table.loc["good", "p_value"]
    )
    other, runs = tables(VALUES, {"good": GOOD})
    assert prediction_table(other.assign(task="another"), runs).empty


def test_a_score_without_values_tells_why():
    nothing = {name: np.nan for name in "abcde"}
    measured, runs = tables(VALUES, {"some": {**GOOD, "e": np.nan}, "none": nothing})
    measured.loc[measured["score"] == "none", "reason"] = "the features fit class 3 exactly"
    table = prediction_table(measured, runs).set_index("score")
    assert table.loc["some", "n"] == 4 and table.loc["some", "value"] == pytest.approx(1)
    assert table.loc["none", "verdict"] == "0 starts, at least 3 needed; the features fit class 3 exactly"
