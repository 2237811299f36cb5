"""Against the printed numbers of the published study, which are no part of the repository (CC BY-NC)."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import featurespace as fs
from featurespace.results.log_tree import read_log_tree

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT.parent / "shared" / "reference"
ADJUST = ROOT / "analyses" / "effective_sizes.yaml"
PLACE = ["experiment", "task", "metric", "pretraining"]

pytestmark = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason="the published numbers lie in no shared/reference beside the checkout"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("published") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("featurespace.report.write.draw_figures", lambda run: [])
        return fs.compare(
            REFERENCE / "runs_finetuning.csv",
            out,
            adjust=ADJUST,
            curves=REFERENCE / "curves_finetuning.csv",
            draws=1000,
        )


def test_means_and_deviations_to_the_printed_digits(run):
    printed = pd.read_csv(REFERENCE / "summary_finetuning.csv", dtype={"mean": str, "std": str}).set_index(PLACE)
    ours = run.tables["runs_summary"].set_index(PLACE)
    assert len(printed) == 48 and {"RLB", "RUB"} <= set(printed.index.get_level_values("pretraining"))
    for column in ("mean", "std"):
        rounded = {key: f"{ours.loc[key, column]:.5f}" for key in printed.index}
        assert rounded == printed[column].to_dict()


def test_the_abstracts_difference(run):
    table = run.tables["comparison"].set_index(["task", "metric", "a", "b"])
    row = table.loc[("R", "acc", "RUB", "I1k")]
    assert f"{row['delta_percent']:+.3f}" == "+0.438" and f"{row['p_value']:.3f}" == "0.541"
    assert row["verdict"] == "not shown" and row["runs_needed"] > 4


def test_time_to_convergence_exactly(run):
    printed = pd.read_csv(REFERENCE / "time_to_convergence.csv").set_index(
        ["experiment", "pretraining", "task", "metric"]
    )
    ours = run.tables["time_to_convergence"].set_index(["experiment", "pretraining", "task", "metric"])
    assert len(printed) == 20
    assert {key: ours.loc[key, "epochs"] for key in printed.index} == printed["epochs"].to_dict()


def test_the_log_tree_gives_the_same_numbers():
    tree = read_log_tree(REFERENCE / "logs", batch_sizes={"R": 4096})
    for name, table in (("runs_finetuning", tree.runs), ("curves_finetuning", tree.curves)):
        keys = [column for column in table if column != "value"]
        printed = pd.read_csv(REFERENCE / f"{name}.csv", dtype={"run": str}).set_index(keys)["value"]
        ours = table.set_index(keys)["value"]
        assert set(ours.index.get_level_values("task")) == {"CX8", "R"}
        of_tasks = printed[printed.index.get_level_values("task").isin(["CX8", "R"])]
        assert set(ours.index) == set(of_tasks.index)
        np.testing.assert_allclose(ours.loc[of_tasks.index], of_tasks, rtol=0, atol=5e-7 if "curves" in name else 0)
    assert tree.losses["pretraining"].unique().tolist() == ["I1k"] and tree.losses["samples"].iloc[0] % 4096 == 0
