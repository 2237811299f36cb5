"""Each verdict from a table in which it holds and one in which it does not."""

import numpy as np
import pandas as pd
import pytest

from featurespace.report.verdicts import verdict_sentence
from featurespace.tables.verdicts import verdicts_table

LAYERS = pd.DataFrame(
    [{"model": model, "layer": f"l{depth}", "depth": depth, "width": 4, "role": role, "control": None, "arm": None}
     for model, role in (("a", "model"), ("b", "model"), ("untrained", "control")) for depth in range(6)]
)  # fmt: skip
PAIR = {"model_a": "a", "model_b": "b", "data": "ct"}
BY_GROUP = {"interval": "group jackknife", "level": 0.95, "unit": "group", "n_groups": 12}


def similarity(values, metric="cka_debiased", half=0.01):
    return [
        {"metric": metric, **PAIR, "layer_a": f"l{depth}", "layer_b": f"l{depth}", "value": value, "ci_low": value - half,
         "ci_high": value + half, "n": 100, "se": half / 2, **BY_GROUP} for depth, value in enumerate(values)
    ]  # fmt: skip


def found(verdict, **tables):
    table = verdicts_table({"layers": LAYERS, **{name: pd.DataFrame(rows) for name, rows in tables.items()}})
    rows = table[table["verdict"] == verdict]
    return [verdict_sentence(row) for row in rows.to_dict("records")]


CKA = [0.99, 0.9, 0.8, 0.7, 0.6, 0.5]


def test_wide_intervals_say_how_many_images_would_do():
    rows = similarity(CKA[:5]) + similarity(CKA, half=0.15)[5:]
    assert found("wide_interval", similarity=rows) == [
        "On ct, the interval of CKA of a and b in l5 reaches 0.150 to either side: too few images for finer statements. "
        "About 108 groups (now 12) would bring it to 0.05."
    ]
    assert not found("wide_interval", similarity=similarity(CKA, half=0.04))
    none = [{**row, "ci_low": np.nan, "ci_high": np.nan} for row in rows]
    assert not found("wide_interval", similarity=none)


def test_wide_intervals_of_probes():
    row = {"probe": "linear", "model": "a", "layer": "l5", "data": "ct", "metric": "accuracy", "value": 0.7, "ci_low": 0.6,
           "ci_high": 0.8, "n_train": 60, "n_test": 40, "unit": "sample", "n_groups": 40}  # fmt: skip
    (sentence,) = found("wide_interval", probe=[row, {**row, "layer": "l4", "ci_low": 0.1}])
    assert sentence.startswith("On ct, the interval of the accuracy of a linear probe on a (l5) reaches 0.100")
    assert sentence.endswith("About 160 test images (now 40) would bring it to 0.05.")
    assert not found("wide_interval", probe=[{**row, "model": "untrained"}])


@pytest.mark.parametrize("metric, others", [("mutual_knn", CKA[::-1]), ("procrustes_distance", CKA)])
def test_measures_that_rank_the_layers_otherwise(metric, others):
    (sentence,) = found("measures_disagree", similarity=similarity(CKA) + similarity(others, metric))
    assert "rank correlation -1.00" in sentence and "l0 is the least alike" in sentence
    assert not found("measures_disagree", similarity=similarity(CKA) + similarity(others[::-1], metric))
    assert not found("measures_disagree", similarity=similarity(CKA[:4]) + similarity(others[:4], metric))


def test_pairs_within_groups_that_raise_the_value():
    without = [value - 0.02 * depth for depth, value in enumerate(CKA)]
    (sentence,) = found("groups_raise", similarity=similarity(CKA) + similarity(without, "cka_between_groups"))
    assert "pairs of images of one group raise CKA of a and b by 0.100 in l5" in sentence
    assert not found("groups_raise", similarity=similarity(CKA) + similarity(CKA, "cka_between_groups"))


def convergence(half_value):
    place = {"metric": "cka_debiased", **PAIR, "layer_a": "l1", "layer_b": "l1"}
    return [{**place, "part": part, "value": value, "ci_low": value - 0.03, "ci_high": value + 0.03, "n": int(100 * part)}
            for part, value in ((0.5, half_value), (1.0, 0.8))]  # fmt: skip


def test_values_that_still_move():
    (sentence,) = found("not_converged", convergence=convergence(0.7))
    assert "moved by 0.100 when the images doubled to all of them, more than the 0.030 that chance allows" in sentence
    assert not found("not_converged", convergence=convergence(0.78))


def test_few_images_that_hold_the_value_outside_its_interval():
    row = {"metric": "cka_debiased", **PAIR, "layer_a": "l1", "layer_b": "l1", "unit": "sample", "value": 0.8, "n": 100,
           "n_units": 100, "top_units": 1, "top_share": 0.6, "value_without_top": 0.9}  # fmt: skip
    (sentence,) = found("few_images", influence_summary=[row], convergence=convergence(0.8))
    assert sentence.startswith(
        "On ct, 1 image, the most influential 1 %, holds CKA of a and b in l1 at 0.800; without it"
    )
    assert not found("few_images", influence_summary=[{**row, "value_without_top": 0.82}], convergence=convergence(0.8))


def test_layers_not_above_the_control():
    row = {"analysis": "similarity", "metric": "cka_debiased", "data": "ct", "layer": "l0", "a": "a / b", "b": "a / untrained",
           "value": 0.2, "p_value": 0.001, "p_holm": 0.002}  # fmt: skip
    rows = [row, {**row, "layer": "l1", "p_holm": 0.2}, {**row, "layer": "l2", "value": -0.2}]
    (sentence,) = found("not_above_control", differences=rows)
    assert (
        "CKA of a / b is not shown to lie above CKA of a / untrained (random weights) in 2 of 3 layers, the first l1"
        in sentence
    )
    assert not found("not_above_control", differences=[row])


def test_one_seed_is_said_where_two_models_are_compared():
    assert found("one_seed")[0].startswith("Each model is one training run")
    one = LAYERS[LAYERS["model"] != "b"]
    assert verdicts_table({"layers": one}).empty


def test_arms_of_two_seeds_each_need_no_such_warning():
    arms = {"a": "x", "b": "x", "c": "y", "d": "y"}
    layers = pd.concat([LAYERS.query("model == 'a'").assign(model=model, arm=arm) for model, arm in arms.items()])
    assert verdicts_table({"layers": layers}).empty
    assert list(verdicts_table({"layers": layers[layers["model"] != "d"]})["verdict"]) == ["one_seed"]


def test_a_run_has_its_verdicts(small_run):
    table = small_run.tables["verdicts"]
    assert {"one_seed", "wide_interval"} <= set(table["verdict"])
    report = (small_run.path / "report.html").read_text()
    assert 'id="limits"' in report and "Each model is one training run" in report
    assert 'id="images-that-drive-the-difference"' in report


def test_narrow_intervals_of_probes_and_values_without_a_half_say_nothing():
    row = {"probe": "linear", "model": "a", "layer": "l5", "data": "ct", "metric": "accuracy", "value": 0.7, "ci_low": 0.67,
           "ci_high": 0.73, "n_train": 60, "n_test": 900, "unit": "sample", "n_groups": 900}  # fmt: skip
    assert not found("wide_interval", probe=[row])
    assert not found("not_converged", convergence=convergence(0.7)[1:])
