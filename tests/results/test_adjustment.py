import numpy as np
import pandas as pd
import pytest

from featurespace.errors import FeaturespaceError
from featurespace.results.adjustment import Point, adjusted_runs, extrapolated, read_adjustments

TEXT = """
adjustments:
  - name: RX
    small: {pretraining: R, size: 100}
    large: {pretraining: RF, size: 500}
    factor: 2
"""


def written(folder, text=TEXT):
    (folder / "adjust.yaml").write_text(text)
    return folder / "adjust.yaml"


def runs_of(values, experiment="E1", task="CX8", metric="acc"):
    return pd.DataFrame(
        [
            [experiment, name, task, str(n), metric, value]
            for name, row in values.items()
            for n, value in enumerate(row)
        ],
        columns=["experiment", "pretraining", "task", "run", "metric", "value"],
    )


VALUES = {"I1k": [0.70, 0.72], "R": [0.80, 0.84, 0.82], "RF": [0.90, 0.92, 0.97, 0.93]}


def test_mean_and_deviation_by_hand(tmp_path):
    table = adjusted_runs(runs_of(VALUES), read_adjustments(written(tmp_path)))
    moved = table.loc[table["pretraining"] == "RX", "value"].to_numpy()
    y1, y2 = np.mean(VALUES["R"]), np.mean(VALUES["RF"])
    e1, e2 = np.std(VALUES["R"]), np.std(VALUES["RF"])
    slope, slope_error = (y2 - y1) / 400, (e1**2 + e2**2) ** 0.5 / 400
    intercept_error = (e2**2 + slope_error**2 * 500**2) ** 0.5
    e3 = (slope_error**2 * 200**2 + intercept_error**2) ** 0.5
    assert moved.mean() == pytest.approx(y1 + 100 * slope) and moved.std() == pytest.approx(e3)
    np.testing.assert_allclose((moved - moved.mean()) / moved.std(), (np.array(VALUES["RF"]) - y2) / e2)


def test_only_rows_are_added_and_stand_after_their_source(tmp_path):
    before = pd.concat([runs_of(VALUES), runs_of({"R": [0.5, 0.6], "RF": [0.5]}, task="other")])
    table = adjusted_runs(before, read_adjustments(written(tmp_path)))
    assert list(dict.fromkeys(table["pretraining"])) == ["I1k", "R", "RX", "RF"]
    kept = table[table["pretraining"] != "RX"]
    pd.testing.assert_frame_equal(
        kept.sort_values(list(kept)).reset_index(drop=True), before.sort_values(list(before)).reset_index(drop=True)
    )
    assert table.loc[table["pretraining"] == "RX", "task"].unique().tolist() == [
        "CX8"
    ]  # RF has one run of the other task


def test_exact_errors_against_simulation_and_the_independent_ones_are_larger(rng):
    small, large = Point(1.0, 0.3, 0.02), Point(9.0, 0.7, 0.05)
    draws = rng.standard_normal((2, 200_000))
    ends = [0.3 + 0.02 * draws[0], 0.7 + 0.05 * draws[1]]
    for size in (1.0, 2.0, 5.0, 9.0, 20.0):
        at = ends[0] + (ends[1] - ends[0]) * (size - 1) / 8
        exact = extrapolated(small, large, size, errors="exact")
        assert exact.mean == pytest.approx(at.mean(), abs=1e-3) and exact.error == pytest.approx(at.std(), rel=0.01)
        assert extrapolated(small, large, size).error > exact.error


@pytest.mark.parametrize(
    "change, message",
    [
        (
            ("pretraining: R,", "pretraining: RF2,"),
            "pretraining 'RF2' is not known in the runs, for the adjustment 'RX'",
        ),
        (("name: RX", "name: I1k"), "the adjustment 'I1k' has the name of a pretraining in the runs"),
        (("size: 500", "size: 100"), "'RX' has two pretrainings of the same size .100."),
        (("factor: 2", "factor: 0"), "adjustments.0.factor.*greater than 0"),
        (("factor: 2", "faktor: 2"), "factor"),
        (("size: 100", "size: -1"), "adjustments.0.small.size.*greater than 0"),
        (("factor: 2", "factor: 2\n    errors: none"), "errors.*'independent' or 'exact'"),
        (("adjustments", "adjustment"), "unknown key 'adjustment'; did you mean 'adjustments'"),
    ],
)
def test_bad_files_are_named(tmp_path, change, message):
    with pytest.raises(FeaturespaceError, match=message):
        adjusted_runs(runs_of(VALUES), read_adjustments(written(tmp_path, TEXT.replace(*change))))


def test_two_of_one_name_no_common_task_and_no_variance_are_refused(tmp_path):
    with pytest.raises(FeaturespaceError, match="two adjustments are called 'RX'"):
        read_adjustments(written(tmp_path, TEXT + TEXT.split("\n", 2)[2]))
    adjustments = read_adjustments(written(tmp_path))
    apart = pd.concat([runs_of({"R": [0.5, 0.6]}), runs_of({"RF": [0.5, 0.6]}, task="other")])
    with pytest.raises(
        FeaturespaceError, match="'R' and 'RF' nowhere have two runs each of the same experiment, task and metric"
    ):
        adjusted_runs(apart, adjustments)
    with pytest.raises(
        FeaturespaceError, match="the runs of 'RF' on CX8 .acc. are all 0.5; without variance they cannot be resc"
    ):
        adjusted_runs(runs_of({"R": [0.5, 0.6], "RF": [0.5, 0.5]}), adjustments)
