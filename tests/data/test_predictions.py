import numpy as np
import pandas as pd
import pytest

from featurespace.data.predictions import read_predictions
from featurespace.errors import FeaturespaceError


def write(folder, **columns):
    pd.DataFrame(columns).to_csv(folder / "p.csv", index=False)
    return folder / "p.csv"


def test_one_class_a_sample(tmp_path):
    path = write(tmp_path, id=["007", "b"], group=["p", None], label=["x", "y"], predicted=["x", "x"],
                 p_x=[0.9, 0.6], p_y=[0.1, 0.4])  # fmt: skip
    found = read_predictions(path)
    assert found["id"].tolist() == ["007", "b"] and found["correct"].tolist() == [True, False]
    assert found["truth"].tolist() == ["x", "y"] and set(found["answer"]) == {"all"}
    assert found["group"].tolist()[0] == "p" and pd.isna(found["group"][1])
    without = write(tmp_path, id=[1, 2], label=["x", "y"], predicted=["y", "y"])
    assert read_predictions(without)["correct"].tolist() == [False, True]


def test_parquet(tmp_path):
    table = pd.DataFrame({"id": [1, 2], "label": [0, 1], "predicted": [0, 0], "p_0": [0.7, 0.6], "p_1": [0.3, 0.4]})
    table.to_parquet(tmp_path / "p.parquet")
    assert read_predictions(tmp_path / "p.parquet")["correct"].tolist() == [True, False]


def test_several_labels_a_sample_are_asked_one_by_one(tmp_path):
    path = write(tmp_path, id=["1", "2", "3"], label=["A|B", "none", "?A|B"], predicted=["A", "", "B"],
                 p_A=[0.9, 0.2, 0.4], p_B=[0.2, 0.3, 0.8])  # fmt: skip
    found = read_predictions(path)
    rows = found[["answer", "id", "truth", "correct"]].to_records(index=False).tolist()
    assert rows == [
        ("A", "1", "yes", True), ("A", "2", "no", True),
        ("B", "1", "yes", False), ("B", "2", "no", True), ("B", "3", "yes", True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "columns, message",
    [
        ({"id": [1], "label": ["x"]}, "has no column 'predicted' .* needed are id, label, predicted"),
        ({"id": [1], "label": ["any"], "dice_tumour": [0.5]}, "is of a segmentation: it holds one Dice score an image"),
        ({"id": ["a", "a"], "label": ["x", "y"], "predicted": ["x", "y"]}, "sample 'a' stands there twice"),
        ({"id": ["a", None], "label": ["x", "y"], "predicted": ["x", "y"]}, "row 2 has no id; 1 such rows"),
        ({"id": ["a", "b"], "label": [None, "y"], "predicted": ["x", "y"]}, "row 1 has no label"),
        ({"id": ["a", "b"], "label": ["x", "y"], "predicted": ["x", None]}, "sample 'b' has no prediction"),
        ({"id": [], "label": [], "predicted": []}, "has no rows"),
        (
            {"id": ["a"], "label": ["A"], "predicted": ["C"], "p_A": [0.9], "p_B": [0.9]},
            "predicted is 'C'; the labels are A, B",
        ),
        ({"id": ["a"], "label": ["A"], "predicted": ["A"], "p_A": ["high"]}, "column 'p_A' holds 'high'"),
    ],
)
def test_errors(tmp_path, columns, message):
    with pytest.raises(FeaturespaceError, match=message):
        read_predictions(write(tmp_path, **columns))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FeaturespaceError, match="cannot be read as a table"):
        read_predictions(tmp_path / "no.csv")


def test_what_finetuning_writes(tmp_path):
    from featurespace.training.tasks.multiclass import Multiclass
    from featurespace.training.tasks.multilabel import Multilabel

    torch = pytest.importorskip("torch")
    labels = pd.Series(["a", "b", "c", "a"])
    scores = torch.tensor(np.random.default_rng(0).normal(size=(4, 3)), dtype=torch.float32).softmax(1)
    columns = Multiclass(labels, "x", None).columns(scores)
    found = read_predictions(write(tmp_path, id=list("1234"), group=[None] * 4, label=labels, **columns))
    assert found["correct"].tolist() == (labels == pd.Series(columns["predicted"])).tolist()
    several = pd.Series(["a|b", "none", "?a|b", "a"])
    task = Multilabel(several, "x", "none")
    columns = task.columns(torch.tensor([[0.9, 0.1], [0.2, 0.3], [0.7, 0.8], [0.6, 0.4]]))
    found = read_predictions(write(tmp_path, id=list("1234"), group=[None] * 4, label=several, **columns))
    assert found.groupby("answer")["correct"].apply(list).to_dict() == {
        "a": [True, True, True], "b": [False, True, True, True]
    }  # fmt: skip
