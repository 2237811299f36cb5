import numpy as np
import pandas as pd
import pytest
import scipy.stats

from featurespace.results.settings import CompareConfig
from featurespace.tables.comparison import claims_lost, comparison_table, of_first_metrics, summary_table

KEY = ["experiment", "task", "metric", "a", "b"]


def config(**options):
    return CompareConfig(runs=("runs.csv",), draws=1000, **options)


def runs_of(values, task="CX8", metric="acc", experiment="E1"):
    return pd.DataFrame(
        [[experiment, name, task, str(n), metric, float(v)] for name, row in values.items() for n, v in enumerate(row)],
        columns=["experiment", "pretraining", "task", "run", "metric", "value"],
    )


THREE = {"A": [0.70, 0.72, 0.71, 0.74], "B": [0.75, 0.76, 0.74, 0.77], "C": [0.71, 0.69, 0.70]}


def rows_of(values, **options):
    return comparison_table(runs_of(values), config(**options)).set_index(["a", "b"])


def test_every_pair_stands_in_both_directions():
    table = rows_of(THREE)
    assert sorted(table.index) == [(a, b) for a in "ABC" for b in "ABC" if a != b]
    for a, b in table.index:
        row, turned = table.loc[(a, b)], table.loc[(b, a)]
        assert row["mean_a"] == turned["mean_b"] == np.mean(THREE[a])
        assert row["std_a"] == turned["std_b"] == np.std(THREE[a]) and row["n_a"] == turned["n_b"] == len(THREE[a])
        assert row["delta_percent"] == pytest.approx(100 * (row["mean_a"] / row["mean_b"] - 1), rel=1e-12)
        for value, low, high in (
            ("effect_size", "ci_low", "ci_high"),
            ("difference", "difference_low", "difference_high"),
            ("difference", "welch_low", "welch_high"),
        ):
            if "C" in (a, b) and low == "difference_low":  # three runs
                assert pd.isna(row[low]) and row["interval"] == "none: 3 runs, at least 4 needed"
                continue
            assert row[low] < row[value] < row[high]
            assert (row[value], row[low], row[high]) == (-turned[value], -turned[high], -turned[low])
        for same in ("p_value", "p_holm", "p_paired", "p_equivalent", "runs_needed", "margin", "n_family"):
            assert row[same] == turned[same]
        assert row["detectable_percent"] * row["mean_b"] == pytest.approx(
            turned["detectable_percent"] * turned["mean_b"]
        )


def test_tests_are_scipys():
    table = rows_of(THREE)
    for a, b in (("A", "B"), ("B", "C")):
        p = scipy.stats.ttest_ind(THREE[a], THREE[b], equal_var=False).pvalue
        assert table.loc[(a, b), "p_value"] == pytest.approx(p, rel=1e-12)
    paired = scipy.stats.ttest_rel(THREE["B"][:3], THREE["C"]).pvalue
    assert (
        table.loc[("B", "C"), "p_paired"] == pytest.approx(paired, rel=1e-9) and table.loc[("B", "C"), "n_pairs"] == 3
    )


def test_holm_counts_each_pair_once_and_within_its_family():
    runs = pd.concat([runs_of(THREE), runs_of({"A": [1, 2, 3.5], "B": [2, 3, 4]}, task="other")])
    for family, sizes in (
        ("experiment,task,metric", {3, 1}),
        ("experiment", {4}),
        ("all", {4}),
        ("metric", {4}),
        ("task", {3, 1}),
    ):
        table = comparison_table(runs, config(family=family))
        assert set(table["n_family"]) == sizes
        first = table.drop_duplicates("p_value")
        for _, of in first.groupby("family"):
            p = np.sort(of["p_value"])
            expected = np.minimum(1, np.maximum.accumulate(p * np.arange(len(p), 0, -1)))
            np.testing.assert_allclose(np.sort(of["p_holm"]), expected)


def test_pairs_need_the_same_runs():
    runs = runs_of(THREE)
    runs.loc[runs["pretraining"] == "B", "run"] = ["x", "y", "z", "1"]
    row = comparison_table(runs, config()).set_index(["a", "b"]).loc[("A", "B")]
    assert row["n_pairs"] == 1 and pd.isna(row["p_paired"])
    row = comparison_table(runs_of(THREE), config(), adjusted=["B"]).set_index(["a", "b"]).loc[("A", "B")]
    assert row["n_pairs"] == 0 and pd.isna(row["p_paired"]) and row["p_value"] > 0


@pytest.mark.parametrize(
    "values, verdict",
    [
        ({"A": [0.90, 0.91, 0.92], "B": [0.50, 0.51, 0.52]}, "a higher"),
        ({"A": [0.50, 0.51, 0.52], "B": [0.90, 0.91, 0.92]}, "b higher"),
        ({"A": [0.50, 0.60, 0.70], "B": [0.52, 0.61, 0.72]}, "not shown"),
        ({"A": [0.500, 0.501, 0.502], "B": [0.5003, 0.5015, 0.502]}, "equivalent"),
        ({"A": [0.5000, 0.5001, 0.5002], "B": [0.502, 0.5021, 0.5022]}, "b higher within the margin"),
        ({"A": [0.5], "B": [0.5, 0.6]}, "no test"),
    ],
)
def test_verdicts(values, verdict):
    assert rows_of(values).loc[("A", "B"), "verdict"] == verdict


def test_what_is_not_possible_is_missing_and_said():
    row = rows_of({"A": [0.5], "B": [0.5, 0.6]}).loc[("A", "B")]
    assert row["note"] == "A has 1 run, at least 2 needed for a test" and row["n_a"] == 1
    assert row[["std_a", "p_value", "p_holm", "effect_size", "difference_low", "runs_needed"]].isna().all()
    assert row["delta_percent"] == pytest.approx(100 * (0.5 / 0.55 - 1))
    table = rows_of({"A": [0.5, 0.5], "B": [0.6, 0.6], "C": [0.5, 0.7]})
    assert table.loc[("A", "B"), "note"] == "all runs of each are equal: no variance, so no test (are they copies?)"
    assert pd.isna(table.loc[("A", "B"), "p_value"]) and table.loc[("A", "C"), "p_value"] > 0
    assert table.loc[("A", "C"), "n_family"] == 2
    zero = rows_of({"A": [1.0, 2.0], "B": [-1.0, 1.0]}).loc[("A", "B")]
    assert pd.isna(zero["delta_percent"]) and pd.isna(zero["detectable_percent"]) and zero["p_value"] > 0
    same = rows_of({"A": [1.0, 2.0], "B": [2.0, 1.0]}).loc[("A", "B")]
    assert same["p_value"] == 1 and pd.isna(same["runs_needed"]) and same["difference"] == 0


def test_pretrainings_are_compared_where_both_have_runs():
    runs = pd.concat([runs_of({"A": [1, 2.0], "B": [2, 4.0]}), runs_of({"C": [1, 2.0]}, task="other")])
    table = comparison_table(runs, config())
    assert table[["a", "b"]].to_numpy().tolist() == [["A", "B"], ["B", "A"]]
    nothing = comparison_table(runs_of({"A": [1, 2.0]}), config())
    assert nothing.empty and list(nothing)[:17] == [
        "experiment", "task", "metric", "a", "b", "mean_a", "std_a", "n_a", "mean_b", "std_b", "n_b", "delta_percent",
        "p_value", "p_holm", "effect_size", "ci_low", "ci_high",
    ]  # fmt: skip


def test_claims_lost_by_correction_are_told_once():
    rng = np.random.default_rng(3)
    values = {name: rng.normal(0.7 + 0.005 * place, 0.01, 4) for place, name in enumerate("ABCDEF")}
    table = comparison_table(runs_of(values), config())
    lost = list(claims_lost(table))
    pairs = [frozenset((row["a"], row["b"])) for row in lost]
    alone = table[(table["p_value"] <= 0.05) & (table["p_holm"] > 0.05)]
    assert len(pairs) == len(set(pairs)) == len(alone) / 2 > 0


def test_deviations_and_direction_follow_the_options():
    runs = runs_of(THREE, metric="val_loss")
    table = comparison_table(runs, config(std="sample"))
    assert table["std_a"].iloc[0] == np.std(THREE["A"], ddof=1) and not table["higher_is_better"].any()
    assert comparison_table(runs, config(lower_is_better=["acc"]))["higher_is_better"].all()
    summary = summary_table(runs, config(), adjusted=["C"])
    assert summary["std"].tolist() == [np.std(THREE[name]) for name in "ABC"]
    assert summary["std_sample"].tolist() == [np.std(THREE[name], ddof=1) for name in "ABC"]
    assert summary["adjusted"].tolist() == [False, False, True]


def test_a_seed_gives_the_same_table_and_another_pretraining_changes_no_interval():
    table = comparison_table(runs_of(THREE), config()).set_index(KEY)
    pd.testing.assert_frame_equal(table, comparison_table(runs_of(THREE), config()).set_index(KEY))
    two = comparison_table(runs_of({name: THREE[name] for name in "AB"}), config()).set_index(KEY)
    columns = ["difference_low", "difference_high", "p_value"]
    pd.testing.assert_frame_equal(two[columns], table.loc[two.index, columns])
    other = comparison_table(runs_of(THREE), config(seed=1)).set_index(KEY)
    assert (other["difference_low"] != table["difference_low"]).any()


def test_a_difference_that_nobody_can_show_needs_endless_runs():
    row = rows_of({"A": [0.0, 1.0], "B": [1e-6, 1.0]}).loc[("A", "B")]
    assert row["runs_needed"] == np.inf and row["difference"] == pytest.approx(-5e-7)


def test_means_of_zero_have_no_margin_and_nothing_is_equivalent():
    row = rows_of({"A": [1.0, -1.0], "B": [-1e-3, 1e-3]}).loc[("A", "B")]
    assert row["margin"] == 0 and pd.isna(row["p_equivalent"]) and row["verdict"] == "not shown"


def test_small_figures_show_the_first_metric_of_each_task():
    runs = pd.concat(
        [runs_of(THREE, metric=metric, task=task) for task, metric in (("x", "dice"), ("x", "acc"), ("y", "acc"))]
    )
    table = of_first_metrics(comparison_table(runs, config()))
    assert set(zip(table["task"], table["metric"])) == {("x", "dice"), ("y", "acc")} and len(table) == 12
