"""Figures of runs are tested by what they show."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle
from oracles.figures import overlapping_texts

from featurespace.plots.groups import reuse_bars, uniqueness_bars
from featurespace.plots.pairwise import pairwise_matrices, pairwise_pages
from featurespace.plots.results import convergence_bars, loss_curves, pretraining_colours, score_bars, score_pages
from featurespace.results.settings import CompareConfig
from featurespace.tables.comparison import comparison_table, of_first_metrics, summary_table

NAMES = [
    ["Scratch", "I1k"],
    ["Scratch", "I1k", "R", "RLB", "RUB", "RF"],
    ["a pretraining with a long name", "another long name", "b"],
]
CONFIG = CompareConfig(runs=("runs.csv",), draws=1000)


def runs_of(names, tasks=("CX8", "R"), runs=4, metric="auc_avg_overall", seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        [["E1", name, task, str(run), metric, 0.7 + 0.02 * place + rng.normal(0, 0.01)]
         for task in tasks for place, name in enumerate(names) for run in range(runs)],
        columns=["experiment", "pretraining", "task", "run", "metric", "value"],
    )  # fmt: skip


def times_of(names, tasks=("CX8", "R")):
    return pd.DataFrame(
        [{"experiment": "E1", "pretraining": name, "task": task, "metric": "auc_avg_overall", "epochs": 5.0 + 3 * place,
          "ci_low": 4.0, "ci_high": 8.0 + 3 * place, "n": 4} for task in tasks for place, name in enumerate(names)]
    )  # fmt: skip


def losses_of(names, tasks=("CX8", "R")):
    return pd.DataFrame(
        [{"experiment": "E1", "pretraining": name, "task": task, "epoch": float(epoch), "samples": 1e5 * (epoch + 1),
          "loss": np.exp(-epoch / 10) + 0.1 * place, "std": 0.02, "n": 4}
         for task in tasks for place, name in enumerate(names) for epoch in range(30)]
    )  # fmt: skip


TASKS = [("CX8",), ("CX8", "R"), ("BraTS", "CX8", "I1k", "LiTS", "R")]
QUICK = {(1, 2), (1, 3), (1, 6), (2, 6), (5, 2)}


@pytest.mark.parametrize(
    ("tasks", "names"),
    [
        pytest.param(
            tasks,
            names,
            marks=[pytest.mark.slow] * ((len(tasks), len(names)) not in QUICK),
            id=f"{len(tasks)}-{len(names)}",
        )
        for tasks in TASKS
        for names in NAMES
    ],
)
def test_no_text_overlaps(names, tasks):
    runs, colours = runs_of(names, tasks), pretraining_colours(names)
    drawn = [
        pairwise_matrices(comparison_table(runs, CONFIG)), score_bars(summary_table(runs, CONFIG), runs, colours),
        convergence_bars(times_of(names, tasks), colours), loss_curves(losses_of(names, tasks), colours),
    ]  # fmt: skip
    for figure in drawn:
        assert overlapping_texts(figure) == []
        assert figure.get_figwidth() * 25.4 <= 180.01


def test_a_cell_says_percent_and_p_and_its_colour_is_direction_times_one_less_p():
    table = comparison_table(runs_of(NAMES[1], tasks=("R",)), CONFIG)
    axes = pairwise_matrices(table).axes[0]
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names == NAMES[1] == [label.get_text() for label in axes.get_yticklabels()]
    shown = axes.images[0].get_array()
    texts = {tuple(np.round(text.get_position()).astype(int)): text.get_text() for text in axes.texts}
    assert len(texts) == 30
    for _, row in table.iterrows():
        i, j = names.index(row["a"]), names.index(row["b"])
        assert shown[i, j] == pytest.approx(np.sign(row["difference"]) * (1 - row["p_value"]))
        digits = 2 if abs(row["delta_percent"]) < 10 else 1
        percent = f"{row['delta_percent']:+.{digits}f} %".replace("-", "\N{MINUS SIGN}")
        assert texts[j, i].startswith(percent) and ("*" in texts[j, i]) == (row["p_holm"] <= 0.05)
    assert np.ma.getmaskarray(shown)[np.diag_indices(6)].all() or np.isnan(shown[np.diag_indices(6)]).all()


def test_lower_is_better_turns_the_colour_and_no_test_is_hatched():
    runs = runs_of(["A", "B"], tasks=("R",), metric="val_loss")
    table = comparison_table(runs, CONFIG)
    shown = pairwise_matrices(table).axes[0].images[0].get_array()
    assert shown[0, 1] > 0 > shown[1, 0]  # A has the lower loss
    axes = pairwise_matrices(comparison_table(runs[runs["run"] == "0"], CONFIG)).axes[0]
    assert sum(isinstance(patch, Rectangle) and patch.get_hatch() == "////" for patch in axes.patches) == 2


def test_bars_have_heights_deviations_and_points():
    runs = runs_of(NAMES[1], tasks=("R",))
    summary = summary_table(runs, CONFIG)
    colours = pretraining_colours(NAMES[1])
    axes = score_bars(summary, runs, colours).axes[0]
    heights = [patch.get_height() for patch in axes.patches]
    np.testing.assert_allclose(heights, summary["mean"])
    assert [to_hex(patch.get_facecolor()) for patch in axes.patches] == [to_hex(colours[name]) for name in NAMES[1]]
    points = [line for line in axes.lines if line.get_marker() == "o"]
    assert sorted(np.concatenate([line.get_ydata() for line in points])) == sorted(runs["value"])
    assert "axis cut" in axes.get_ylabel() and axes.get_ylim()[0] > 0
    low = runs.assign(value=runs["value"] - 0.69)
    axes = score_bars(summary_table(low, CONFIG), low, colours).axes[0]
    assert axes.get_ylim()[0] <= 0 and "cut" not in axes.get_ylabel()


def test_a_pretraining_has_one_colour_in_every_figure():
    runs, colours = runs_of(NAMES[1]), pretraining_colours(NAMES[1])
    assert len(set(colours.values())) == 6
    bars = [to_hex(patch.get_facecolor()) for patch in convergence_bars(times_of(NAMES[1]), colours).axes[0].patches]
    lines = {
        line.get_label(): to_hex(line.get_color()) for line in loss_curves(losses_of(NAMES[1]), colours).axes[0].lines
    }
    assert bars == [to_hex(colours[name]) for name in NAMES[1]] and lines == {
        name: to_hex(c) for name, c in colours.items()
    }
    part = next(score_pages(summary_table(runs, CONFIG), runs))[1].axes[0]
    assert [to_hex(patch.get_facecolor()) for patch in part.patches] == bars


def test_many_tasks_go_on_pages():
    runs = runs_of(["A", "B"], tasks=[f"task {n}" for n in range(14)])
    assert [name for name, *_ in pairwise_pages(comparison_table(runs, CONFIG))] == ["E1_1", "E1_2", "E1_3"]
    found = list(score_pages(summary_table(runs, CONFIG), runs))
    assert [name for name, *_ in found] == ["E1_1", "E1_2", "E1_3"]
    assert all(
        rows.groupby(["task", "metric"]).ngroups == len(figure.axes) or name == "E1_3" for name, figure, rows in found
    )
    assert sum(len(rows) for *_, rows in found) == len(summary_table(runs, CONFIG))


def test_the_first_metric_of_a_task_is_chosen():
    runs = pd.concat([runs_of(["A", "B"], metric="dice_1"), runs_of(["A", "B"], metric="dice_2")])
    assert set(of_first_metrics(comparison_table(runs, CONFIG))["metric"]) == {"dice_1"}


def reuse_of(names, layers=("conv1", "layer1.0.conv1", "layer1.0.conv2"), tasks=("CX8", "R")):
    return pd.DataFrame(
        [{"pretraining": name, "task": task, "layer": layer, "value": 0.1 * place + 0.2 * number, "std": 0.01}
         for layer in layers for number, task in enumerate(tasks) for place, name in enumerate(names)]
    )  # fmt: skip


@pytest.mark.parametrize("names", NAMES, ids=len)
def test_groups_of_bars_do_not_overlap_and_have_their_values(names):
    table, colours = reuse_of(names), pretraining_colours(names)
    figure = reuse_bars(table, colours)
    assert overlapping_texts(figure) == [] and len(figure.axes) == 3
    heights = [patch.get_height() for patch in figure.axes[1].patches]
    own = (
        table[table["layer"] == "layer1.0.conv1"].pivot(index="pretraining", columns="task", values="value").loc[names]
    )
    np.testing.assert_allclose(heights, own.to_numpy().ravel())
    unique = uniqueness_bars(table[table["task"] == "R"].drop(columns="task"), colours)
    assert overlapping_texts(unique) == []
    assert [text.get_text() for text in unique.axes[0].get_xticklabels()] == list(dict.fromkeys(table["layer"]))
    gap = reuse_bars(table.drop(index=0), colours)
    assert np.isnan(gap.axes[0].patches[0].get_height()) and not np.isnan(gap.axes[0].patches[1].get_height())


def test_losses_over_epochs_or_samples_and_nothing_else():
    table = losses_of(["A", "B"], tasks=("R",))
    colours = pretraining_colours("AB")
    for over, label in (("samples", "training samples seen"), ("epoch", "epoch")):
        axes = loss_curves(table, colours, over=over).axes[0]
        assert axes.get_xlabel() == label
        np.testing.assert_array_equal(axes.lines[0].get_xdata(), table.loc[table["pretraining"] == "A", over])
    with pytest.raises(ValueError, match="over is 'step'; allowed are 'samples' and 'epoch'"):
        loss_curves(table, colours, over="step")
