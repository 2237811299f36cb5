import pandas as pd
import pytest

from featurespace.tables.freezing import freezing_rows, freezing_sentences, freezing_table, frozen_up_to

LAYERS = ["stem", "middle", "last"]


def tables(cka, gain, p):
    """The tables of an analysis of a start and one finetuned network: three layers, lower ends and gains as given."""
    return {
        "layers": pd.DataFrame({"model": "start", "layer": LAYERS, "depth": [0, 1, 2]}),
        "similarity": pd.DataFrame({"metric": "cka_debiased", "model_a": "start", "model_b": "tuned", "layer_a": LAYERS,
                                    "layer_b": LAYERS, "value": [c + 0.01 for c in cka], "ci_low": cka,
                                    "ci_high": [c + 0.02 for c in cka], "n": 50}),
        # the later model is first here: start less tuned has the other sign
        "differences": pd.DataFrame({"analysis": "probe", "metric": "accuracy", "layer": LAYERS, "a": "start", "b": "tuned",
                                     "value": [-g for g in gain], "ci_low": [-g - 0.1 for g in gain],
                                     "ci_high": [-g + 0.1 for g in gain], "p_holm": p}),
    }  # fmt: skip


def rows(cka, gain=(0.0, 0.0, 0.0), p=(1.0, 1.0, 1.0), run="0"):
    return freezing_rows("t", "photos", "start", {"tuned": run}, tables(list(cka), list(gain), list(p)))


def advised(*each):
    return frozen_up_to(freezing_table([row for part in each for row in part]))["t", "photos"]


def test_layers_are_held_up_to_the_first_that_changed_in_any_run():
    assert advised(rows((0.99, 0.95, 0.4))) == "middle"
    assert advised(rows((0.99, 0.95, 0.4)), rows((0.99, 0.5, 0.95), run="1")) == "stem"
    assert advised(rows((0.5, 0.99, 0.99))) == ""  # an early change moves what comes after


def test_a_probe_that_gained_is_a_change_and_one_that_lost_is_none():
    assert advised(rows((0.99, 0.99, 0.99), gain=(0, 0.2, 0), p=(1, 0.01, 1))) == "stem"
    assert advised(rows((0.99, 0.99, 0.99), gain=(0, -0.2, 0), p=(1, 0.01, 1))) == "last"
    table = freezing_table(rows((0.99, 0.99, 0.99), gain=(0, 0.2, 0)))
    assert table["gain"].tolist() == [0, 0.2, 0] and table["gain_low"].tolist() == pytest.approx([-0.1, 0.1, -0.1])


def test_sentences_say_no_more_than_runs_do():
    table = freezing_table(rows((0.99, 0.95, 0.4)))
    columns = ["task", "pretraining", "layer", "held", "full"]
    few = pd.DataFrame([["t", "photos", "middle", [0.8], [0.7, 0.72]]], columns=columns)
    assert freezing_sentences(table, few) == [
        "t, photos: 1 finetuning left the layers up to middle as they were, and no probe of them gained",
        "t, photos, middle and all before it held: accuracy 0.800 (1 run) against 0.710 (2 runs); too few runs to tell more",
    ]
    many = few.assign(held=[[0.80, 0.81, 0.82]], full=[[0.70, 0.72, 0.71]])
    assert "more (difference +0.100 [+0.077, +0.123])" in freezing_sentences(table, many)[1]
    alike = few.assign(held=[[0.70, 0.71, 0.75]], full=[[0.70, 0.72, 0.71]])
    assert "no difference shown" in freezing_sentences(table, alike)[1]
    none = freezing_sentences(freezing_table(rows((0.1, 0.1, 0.1))), few.iloc[:0])
    assert none == ["t, photos: the first layer changed already, in one of 1 finetuning at least: hold none"]


def test_layers_without_a_probe_or_a_cka_have_no_row():
    given = tables([0.99, 0.95, 0.4], [0.0] * 3, [1.0] * 3)
    given["differences"] = given["differences"][given["differences"]["layer"] != "stem"]
    given["similarity"] = given["similarity"][given["similarity"]["layer_a"] != "last"]
    found = freezing_rows("t", "photos", "start", {"tuned": "0"}, given)
    assert [row["layer"] for row in found] == ["middle"]


def test_without_runs_of_one_kind_there_is_nothing_to_compare():
    table = freezing_table(rows((0.99, 0.95, 0.4)))
    for held, full in (([], [0.7]), ([0.8], [])):
        results = pd.DataFrame({"task": "t", "pretraining": "photos", "layer": "stem", "held": [held], "full": [full]})
        assert freezing_sentences(table, results)[1] == "t, photos, stem and all before it held: no runs to compare"
