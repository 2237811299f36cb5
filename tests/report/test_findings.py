"""Each sentence is checked against its table."""

import re

import numpy as np
import pandas as pd
import pytest

from featurespace.report.findings import Finding, findings, in_short
from featurespace.report.numbers import count_of, digits_for, number, with_interval
from featurespace.report.tables import report_tables
from featurespace.run import Run


def written_run(tmp_path, **tables):
    run = Run(tmp_path)
    for name, table in tables.items():
        run.write_table(name, table)
    return run


LAYERS = pd.DataFrame(
    [{"model": model, "layer": layer, "depth": depth, "width": 4, "role": role, "control": None if role == "control" else "untrained", "arm": None}
     for model, role in (("a", "model"), ("b", "model"), ("untrained", "control")) for depth, layer in enumerate(("stem", "last"))]
)  # fmt: skip
INTERVAL = {"interval": "jackknife", "level": 0.95, "unit": "group", "n_groups": 12}


def difference(analysis, a, b, layer, value, p, p_holm):
    metric = "cka_debiased" if analysis == "similarity" else "accuracy"
    return {"analysis": analysis, "metric": metric, "data": "ct", "layer": layer, "a": a, "b": b, "value": value, "ci_low": value - 0.1,
            "ci_high": value + 0.1, "p_value": p, "p_holm": p_holm, "n": 100, "value_a": 0.5 + value, "value_b": 0.5, **INTERVAL}  # fmt: skip


def cka(layer, value, half=0.05):
    return {"metric": "cka_debiased", "model_a": "a", "model_b": "b", "layer_a": layer, "layer_b": layer, "data": "ct", "value": value,
            "ci_low": value - half, "ci_high": value + half, "n": 100, "se": half / 2, **INTERVAL}  # fmt: skip


def score(model, layer, value):
    return {"probe": "linear", "model": model, "layer": layer, "data": "ct", "metric": "accuracy", "value": value, "ci_low": value - 0.1,
            "ci_high": value + 0.1, "n_train": 60, "n_test": 40, "hyperparameter": "C=1", "n_classes": 2, "chance": 0.5, **INTERVAL}  # fmt: skip


def gap(layer, value, p):
    return {"metric": "mmd2", "model": "a", "layer": layer, "data_a": "ct", "data_b": "mr", "value": value, "ci_low": value - 0.1,
            "ci_high": value + 0.1, "p_value": p, "p_holm": min(1.0, 2 * p), "p_max": min(1.0, 1.5 * p), "n_a": 100, "n_b": 90, **INTERVAL}  # fmt: skip


def test_layers_whose_intervals_are_apart_are_a_difference(tmp_path):
    found = findings(written_run(tmp_path, layers=LAYERS, similarity=[cka("stem", 0.9), cka("last", 0.3)]))
    assert found == [
        Finding("similarity", "ct", "On ct, a and b are least alike in last, linear CKA 0.300 (0.250 to 0.350), and most alike in stem, "
                "0.900 (0.850 to 0.950); n = 100 images in 12 groups.", True)
    ]  # fmt: skip


def test_layers_whose_intervals_overlap_are_none(tmp_path):
    (found,) = findings(written_run(tmp_path, layers=LAYERS, similarity=[cka("stem", 0.9), cka("last", 0.85)]))
    assert not found.shown and found.sentence.startswith("On ct, no difference between layers is shown")


def test_the_control_is_counted_by_holm(tmp_path):
    rows = [difference("similarity", "a / b", "a / untrained", "stem", 0.2, 0.001, 0.002),
            difference("similarity", "a / b", "a / untrained", "last", 0.1, 0.04, 0.08)]  # fmt: skip
    (found,) = [each for each in findings(written_run(tmp_path, layers=LAYERS, similarity=[], differences=rows))]
    assert "in 1 of 2 layers; no difference is shown in 1" in found.sentence and found.shown


@pytest.mark.parametrize(
    ("value", "p", "words", "shown"),
    [(0.2, 0.01, "reads the class better from b than from a", True), (-0.2, 0.01, "reads the class worse from b than from a", True),
     (0.2, 0.06, "no difference is shown between linear probes on the last layer of b and on a", False)],
)  # fmt: skip
def test_probes_are_told_by_p_at_the_last_layer(tmp_path, value, p, words, shown):
    rows = [
        difference("probe", "b", "a", "stem", 0.3, 0.0001, 0.0002),
        difference("probe", "b", "a", "last", value, p, p),
    ]
    scores = [score(model, layer, 0.5) for model in "ab" for layer in ("stem", "last")]
    (found,) = findings(written_run(tmp_path, layers=LAYERS, probe=scores, differences=rows))
    assert words in found.sentence and found.shown is shown
    assert f"p = {p:.3f}" in found.sentence and "n = 60 training and 40 test images in 12 groups" in found.sentence


@pytest.mark.parametrize(
    ("p", "start", "shown"),
    [(0.001, "ct and mr lie apart in 2 of 2 layers", True), (0.2, "No difference is shown", False)],
)
def test_gaps_are_told_by_p(tmp_path, p, start, shown):
    found = findings(written_run(tmp_path, layers=LAYERS, domain_gap=[gap("stem", 0.2, p), gap("last", 0.4, p)]))
    assert len(found) == 1 and found[0].sentence.startswith(start) and found[0].shown is shown
    assert "largest in last, MMD² 0.400 (0.300 to 0.500)" in found[0].sentence


def test_every_number_of_a_run_is_in_its_tables(small_run):
    tables = small_run.tables
    known = {0.95, 95.0}
    for name in ("similarity", "probe", "domain_gap", "differences", "geometry"):
        for column in tables[name].select_dtypes("number").columns:
            known |= {number(value) for value in tables[name][column].dropna()}
    summary, verdicts = tables["influence_summary"], tables["verdicts"]
    known |= {number(100 * share, 1) for share in summary["top_share"]}
    known |= {number(value) for value in summary[["value", "value_without_top"]].to_numpy().ravel()}
    known |= {number(value, digits) for value in verdicts[["value", "limit"]].to_numpy().ravel() for digits in (2, 3)}
    for finding in small_run.summary["findings"]:
        for text in re.findall(r"(?<![\w.])-?\d\.\d+(?:e-\d+)?", finding["sentence"]):
            assert text in known, finding["sentence"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.12345, "0.123"),
        (-0.02, "-0.020"),
        (0.00012, "1.20e-04"),
        (0.0, "0.000"),
        (12345.6, "12,346"),
        (np.nan, "not estimated"),
    ],
)
def test_numbers(value, text):
    assert number(value) == text


def test_arms_are_compared_with_seeds_as_chance(tmp_path):
    layers = pd.concat(
        [LAYERS.query("model == 'a'").assign(model=f"{arm}{i}", arm=arm) for arm in "xy" for i in range(2)]
    )
    row = {**difference("arms", "y", "x", "last", 0.2, 0.03, 0.06), "metric": "accuracy"}
    scores = [score(model, layer, 0.5) for model in ("x0", "x1", "y0", "y1") for layer in ("stem", "last")]
    told = [
        each
        for each in findings(written_run(tmp_path, layers=layers, probe=scores, differences=[row]))
        if "arm" in each.sentence
    ]
    assert told[0].shown and told[0].sentence == (
        "On ct, a linear probe on the last layer reads the class better from the arm y (2 seeds) than from x (2 seeds): mean test "
        "accuracy 0.700 and 0.500, difference 0.200 (0.100 to 0.300), p = 0.030 for this layer alone; seeds and test images both "
        "count as chance; n = 100 images in 12 groups."
    )
    row = {**row, "p_value": np.nan, "ci_low": np.nan, "ci_high": np.nan, "interval": "none: one seed in an arm"}
    told = findings(written_run(tmp_path, layers=layers, probe=scores, differences=[row]))
    assert (
        "could not be compared by a test: mean test accuracy 0.700 and 0.500, difference 0.200 (no interval: one seed"
        in told[0].sentence
    )


def test_an_interval_that_is_missing_says_why():
    row = pd.Series(
        {"value": 0.5, "ci_low": np.nan, "ci_high": np.nan, "interval": "none: 3 groups, at least 5 needed"}
    )
    assert with_interval(row) == "0.500 (no interval: 3 groups, at least 5 needed)"
    assert count_of(pd.Series({"n": 1200, "unit": "sample", "n_groups": 1200})) == "n = 1,200 images"


def test_identical_features_are_called_so(tmp_path):
    (found,) = findings(written_run(tmp_path, layers=LAYERS, similarity=[cka("stem", 1.0, 0.0), cka("last", 1.0, 0.0)]))
    assert "have the same features in every layer" in found.sentence and not found.shown


def test_of_many_models_only_comparisons_with_the_first_are_told(tmp_path):
    names = "abcde"
    layers = pd.DataFrame(
        [
            {"model": m, "layer": "last", "depth": 0, "width": 4, "role": "model", "control": None, "arm": None}
            for m in names
        ]
    )
    rows = [{**cka("last", 0.5), "model_a": a, "model_b": b} for i, a in enumerate(names) for b in names[i + 1 :]]
    found = findings(written_run(tmp_path, layers=layers, similarity=rows))
    assert [each.main for each in found] == [True] + 4 * [False] and all("a and" in each.sentence for each in found[1:])
    assert found[0].sentence.startswith(
        "On ct, no difference is shown between 4 models in how much their last layers are like that of a"
    )


def test_what_could_not_be_tested_is_not_called_the_same(tmp_path):
    none = {"ci_low": np.nan, "ci_high": np.nan, "interval": "none: 4 groups, at least 5 needed"}
    rows = [{**difference("probe", "b", "a", "last", 0.2, np.nan, np.nan), **none},
            {**difference("similarity", "a / b", "a / untrained", "last", 0.2, np.nan, np.nan), **none}]  # fmt: skip
    scores = [score(model, "last", 0.5) for model in "ab"]
    found = findings(written_run(tmp_path, layers=LAYERS, similarity=[], probe=scores, differences=rows))
    assert len(found) == 2 and all(
        "could not be compared by a test" in each.sentence and "4 groups" in each.sentence for each in found
    )
    assert not any("no difference" in each.sentence for each in found)


def test_one_layer_is_told_as_one_value(tmp_path):
    (found,) = findings(written_run(tmp_path, layers=LAYERS, similarity=[cka("last", 0.4)]))
    assert found.sentence == "On ct, CKA of a and b in last is 0.400 (0.350 to 0.450); n = 100 images in 12 groups."


def reuse(layer, value, half=0.05, **changed):
    return {"metric": "feature_reuse_debiased", "model_a": "a", "model_b": "b", "layer": layer, "value": value, "ci_low": value - half,
            "ci_high": value + half, "n": 576, "se": half / 2, "sd": None, "runs": 1, **INTERVAL, "unit": "filter", **changed}  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "start", "shown"),
    [
        ([reuse("conv1", 0.9), reuse("conv2", 0.3)], "The filters of a and b are least alike in conv2: debiased feature reuse runs "
         "from 0.300 (0.250 to 0.350) in conv2 to 0.900 (0.850 to 0.950) in conv1 over 2 layers", True),
        ([reuse("conv1", 0.9), reuse("conv2", 0.85)], "No difference between layers is shown in how alike the filters of a and b", False),
        ([reuse("conv1", 1.0), reuse("conv2", 1.0)], "The filters of a and b are the same in all 2 layers compared.", False),
        ([reuse("conv1", 0.9), reuse("conv1", 0.1, runs=3)], "No difference between layers is shown", False),
    ],
)  # fmt: skip
def test_filters_are_told_by_interval(tmp_path, rows, start, shown):
    (found,) = findings(written_run(tmp_path, layers=LAYERS, weights=rows))
    assert found.sentence.startswith(start) and found.shown is shown and found.table == "weights"


def test_pairs_without_shared_layers_have_no_sentence(tmp_path):
    assert findings(written_run(tmp_path, layers=LAYERS, weights=[reuse("conv1", 0.9, model_b="untrained")])) == []


def test_tables_of_weights_show_the_spread_where_there_is_one(tmp_path):
    rows = [
        reuse("conv1", 0.9, model_b="c", metric="feature_reuse"),
        *(reuse(f"conv{i}", 0.9 - 0.1 * i, runs=3, sd=0.01 + 0.01 * i, metric="feature_reuse") for i in (1, 2)),
    ]
    unique = reuse("conv1", 0.6, metric="feature_uniqueness", model_b="a", sd=0.01)
    first, second, third = report_tables(written_run(tmp_path, layers=LAYERS, weights=[*rows, unique]), "weights")
    assert first["title"].startswith("Feature reuse of a and c (95 %") and first["columns"] == [
        "layer",
        "feature reuse",
        "debiased",
    ]
    assert "mean of 3 pairs of runs" in second["title"] and second["columns"] == [
        "layer",
        "feature reuse",
        "debiased",
        "sd",
    ]
    assert second["rows"][1] == ["conv2", "0.700 (0.650 to 0.750)", "", "0.030"]
    assert third["title"].startswith("Feature uniqueness of a (") and third["rows"] == [
        ["conv1", "0.600 (0.550 to 0.650)", "", "0.010"]
    ]


MANY = pd.DataFrame(
    [{"model": model, "layer": layer, "depth": depth, "width": 4, "role": "model", "control": None, "arm": None}
     for model in "abcd" for depth, layer in enumerate(("stem", "last"))]
)  # fmt: skip


def test_of_many_models_one_sentence_tells_who_is_most_and_least_like_the_first(tmp_path):
    rows = [
        {**cka(layer, value), "model_b": b} for layer in ("stem", "last") for b, value in zip("bcd", (0.9, 0.2, 0.5))
    ]
    found = findings(written_run(tmp_path, layers=MANY, similarity=rows))
    assert found[0] == Finding(
        "similarity", "ct", "On ct, of 3 models b is most like a in the last layer, linear CKA 0.900 (0.850 to 0.950), and c least, "
        "0.200 (0.150 to 0.250); n = 100 images in 12 groups.", True, main=True)  # fmt: skip


def test_of_many_models_one_sentence_tells_which_a_probe_reads_better_and_worse(tmp_path):
    tests = [difference("probe", name, "a", layer, value, p, p) for layer in ("stem", "last")
             for name, value, p in (("b", 0.3, 0.01), ("c", -0.2, 0.04), ("d", 0.2, 0.06))]  # fmt: skip
    scores = [score(model, layer, 0.5) for model in "abcd" for layer in ("stem", "last")]
    found = findings(written_run(tmp_path, layers=MANY, probe=scores, differences=tests))
    assert (
        found[0].main
        and found[0].shown
        and found[0].sentence
        == (
            "On ct, a linear probe on the last layer reads the class better from b (0.800) and worse from c (0.300) than from a, test accuracy "
            "0.500 (0.400 to 0.600); no difference is shown for 1 of 3 others (each tested alone; n = 60 training and 40 test images in 12 groups)."
        )
    )
    none = [row | {"p_value": 0.2} for row in tests]
    found = findings(written_run(tmp_path, layers=MANY, probe=scores, differences=none))
    assert not found[0].shown and "of 3 other models, 0.300 to 0.800 (each tested alone" in found[0].sentence
    assert found[0].sentence.startswith(
        "On ct, no difference is shown between linear probes on the last layer of a, test accuracy 0.500"
    )


def test_more_models_than_a_sentence_holds_are_counted(tmp_path):
    names = list("abcdefghij")
    layers = pd.concat([MANY[MANY["model"] == "a"].assign(model=name) for name in names], ignore_index=True)
    tests = [
        difference("probe", name, "a", "last", 0.2 + place / 100, 0.01, 0.01) for place, name in enumerate(names[1:])
    ]
    tests[-1] |= {"value": -0.1, "value_a": 0.4}
    run = written_run(tmp_path, layers=layers, probe=[score(name, "last", 0.5) for name in names], differences=tests)
    assert findings(run)[0].sentence.startswith(
        "On ct, a linear probe on the last layer reads the class better from 8 of 9 other models (0.700 to 0.770) and worse from j (0.400) than "
        "from a, test accuracy 0.500"
    )


@pytest.mark.parametrize(
    ("p", "words", "shown"),
    [({"a": 0.01, "b": 0.02}, "ct and mr lie apart in every layer of each of 4 models", True),
     ({"a": 0.01}, "ct and mr lie apart in a layer at least of 1 of 4 models", True), ({}, "No difference is shown between ct and mr in any layer of 4 models", False)],
)  # fmt: skip
def test_of_many_models_one_sentence_tells_the_gap(tmp_path, p, words, shown):
    default = 0.01 if len(p) == 2 else 0.5
    rows = [
        {**gap(layer, 0.2, p.get(model, default)), "model": model} for model in "abcd" for layer in ("stem", "last")
    ]
    found = findings(written_run(tmp_path, layers=MANY, domain_gap=rows))
    assert found[0].main and found[0].shown is shown and found[0].sentence.startswith(words)


def test_values_that_differ_read_differently(tmp_path):
    (found,) = findings(
        written_run(tmp_path, layers=LAYERS, similarity=[cka("stem", 0.9999, 1e-5), cka("last", 0.9997, 1e-5)])
    )
    assert "CKA 0.9997 (0.9997 to 0.9997), and most alike in stem, 0.9999 (" in found.sentence
    assert digits_for(0.5, 0.5 + 1e-9, np.nan) == 3 and digits_for(0.5, 0.500004) == 6


def test_of_many_sentences_on_a_table_those_that_stand_for_others_are_told():
    main, others = (
        Finding("probe", "ct", "all", True, main=True),
        [Finding("probe", "ct", str(index), True) for index in range(10)],
    )
    gaps = [Finding("domain_gap", "ct", str(index), True) for index in range(20)]
    assert in_short([main, *others, *gaps]) == [main, *gaps]
    assert in_short([main, *others[1:]]) == [main, *others[1:]]
