import pytest

from featurespace.errors import FeaturespaceError
from featurespace.results.log_tree import read_log_tree


def write_run(
    folder, name, *, test="acc,avg_val_loss\n0.9,0.1\n", val="epoch,avg_val_loss,acc\n0,0.5,0.7\n1,0.4,0.8\n"
):
    run = folder / name
    run.mkdir(parents=True)
    for file, text in (("test.log", test), ("val.log", val), ("train.log", "epoch,step,loss\n1,1,3\n1,2,1\n2,3,1\n")):
        if text:
            (run / file).write_text(text)
    return run


@pytest.mark.parametrize(
    "name, expected",
    [
        ("PT_Scratch_FT_R", ("Scratch", "R", "0")),
        ("PT_SimCLR_I1k_FT_CX8_f3", ("I1k", "CX8", "3")),
        ("PT_SimCLR_RF_FT_LiTS_lineval_f2", ("RF", "LiTS_lineval", "2")),
        ("PT_SimCLR_IxRM_FT_BraTS_noise25e3", ("IxRM", "BraTS_noise25e3", "0")),
    ],
)
def test_names_of_folders(tmp_path, name, expected):
    write_run(tmp_path / "E3", name)
    row = read_log_tree(tmp_path).runs.iloc[0]
    assert (row["experiment"], row["pretraining"], row["task"], row["run"]) == ("E3", *expected)
    assert (row["metric"], row["value"]) == ("acc", 0.9)


def test_scores_curves_and_losses(tmp_path):
    write_run(tmp_path / "E1", "PT_Scratch_FT_R")
    segmented = "dice_avg_class_0,dice_avg_class_1,iou_avg_class_1\n0.99,0.8,0.7\n"
    write_run(tmp_path / "E1", "PT_SimCLR_R_FT_LiTS", test=segmented, val="")
    write_run(tmp_path / "E1", "PT_SimCLR_I1k_FT_R", test="accuracy,avg_val_loss\n0.8,0.1\n")
    tree = read_log_tree(tmp_path, batch_sizes={"R": 64})
    assert [tuple(row) for row in tree.runs[["pretraining", "metric", "value"]].to_numpy()] == [
        ("Scratch", "acc", 0.9), ("I1k", "acc", 0.8), ("R", "dice_avg_class_1", 0.8),
    ]  # fmt: skip
    assert tree.curves[["pretraining", "epoch", "value"]].to_numpy().tolist() == [
        ["Scratch", 0, 0.7], ["Scratch", 1, 0.8], ["I1k", 0, 0.7], ["I1k", 1, 0.8],
    ]  # fmt: skip
    of_one = tree.losses[tree.losses["pretraining"] == "I1k"]
    assert of_one[["epoch", "step", "samples", "loss"]].to_numpy().tolist() == [[0, 2, 128, 2.0], [1, 3, 192, 1.0]]
    assert [note for note in tree.notes if "LiTS" in note] == [
        "E1/PT_SimCLR_R_FT_LiTS has no losses: batch_sizes has no task 'LiTS'"
    ]
    other = read_log_tree(tmp_path, metrics=("iou*", "*loss"))
    assert set(other.runs["metric"]) == {"iou_avg_class_1", "avg_val_loss"} and other.losses.empty


def test_unfinished_runs_are_left_out_and_said(tmp_path):
    write_run(tmp_path / "E1", "PT_Scratch_FT_R", test="")
    write_run(tmp_path / "E1", "PT_Scratch_FT_R_f1")
    tree = read_log_tree(tmp_path)
    assert tree.runs["run"].tolist() == ["1"] and tree.notes == ["E1/PT_Scratch_FT_R has no test.log and is left out"]


def test_bad_trees_are_named(tmp_path):
    with pytest.raises(FeaturespaceError, match="nothing is no folder; name a clone of the study"):
        read_log_tree(tmp_path / "nothing")
    with pytest.raises(FeaturespaceError, match="holds no run: no folder is called PT_..._FT_..."):
        read_log_tree(tmp_path)
    write_run(tmp_path / "a" / "E1", "PT_R_FT_R")
    again = write_run(tmp_path / "b" / "E1", "PT_SimCLR_R_FT_R")
    with pytest.raises(FeaturespaceError, match="are the same run .E1, R, R, 0.; move one of them away"):
        read_log_tree(tmp_path)
    for text, message in (
        ("acc\n", "test.log has 0 rows below its header; a test has one"),
        ("acc\n0.5\n0.6\n", "test.log has 2 rows"),
        ("acc\nx\n", "test.log holds a cell that is no number"),
        ("f1\n0.5\n", "test.log has none of the scores acc, .*; it has f1"),
    ):
        (again / "test.log").write_text(text)
        with pytest.raises(FeaturespaceError, match=message):
            read_log_tree(tmp_path / "b")


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("val.log", "step,acc\n0,0.7\n", r"val\.log lacks the column 'epoch'; it has step, acc"),
        ("train.log", "epoch,loss\n1,3\n", r"train\.log lacks the column 'step'; it has epoch, loss"),
    ],
)
def test_logs_without_a_column_are_named(tmp_path, file, text, message):
    (write_run(tmp_path / "E1", "PT_Scratch_FT_R") / file).write_text(text)
    with pytest.raises(FeaturespaceError, match=message):
        read_log_tree(tmp_path, batch_sizes={"R": 64})
