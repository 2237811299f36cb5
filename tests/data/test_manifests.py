import pandas as pd
import pytest
from PIL import Image

from featurespace.data.manifests import open_manifest
from featurespace.errors import FeaturespaceError


@pytest.fixture
def folder(tmp_path):
    for index in range(3):
        Image.new("L", (8, 8), index).save(tmp_path / f"{index}.png")
    return tmp_path


def manifest(folder, **columns):
    pd.DataFrame(columns).to_csv(folder / "m.csv", index=False)
    return folder / "m.csv"


def test_paths_are_relative_to_the_table_and_columns_are_taken(folder):
    path = manifest(folder, path=["0.png", "2.png"], label=["007", ""], group=["p1", "p2"], split=["Train", "testing"])
    data = open_manifest("x", path)
    assert data.samples["id"].tolist() == ["0.png", "2.png"]
    assert data.samples["label"].tolist()[0] == "007"  # text, not a number
    assert data.column("label")[1] is None
    assert data.samples["split"].tolist() == ["train", "test"]
    assert data.image(1).getpixel((0, 0)) == 2


def test_parquet_and_absolute_paths(folder):
    pd.DataFrame({"path": [str(folder / "1.png")], "label": [3]}).to_parquet(folder / "m.parquet")
    data = open_manifest("x", folder / "m.parquet")
    assert data.samples["label"].tolist() == ["3"] and data.image(0).getpixel((0, 0)) == 1


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"file": ["0.png"]}, "needs a column 'path'"),
        ({"path": []}, "has no rows"),
        ({"path": ["0.png", ""], "label": ["a", "b"]}, "row 2 of .* has no path"),
        ({"path": ["0.png", "9.png"]}, r"1 of 2 files .* do not exist, the first is .*9\.png; relative paths"),
        ({"path": ["0.png", "0.png"]}, r"id '0.png' occurs more than once \(1 repeated ids\)"),
        ({"path": ["0.png"], "split": ["holdout2"]}, "split 'holdout2' is not known; write train, val or test"),
    ],
)
def test_errors(folder, columns, message):
    with pytest.raises(FeaturespaceError, match=message):
        open_manifest("x", manifest(folder, **columns))


def test_a_file_that_is_no_table(folder):
    (folder / "m.parquet").write_bytes(b"not a table")
    with pytest.raises(FeaturespaceError, match="cannot be read as a table"):
        open_manifest("x", folder / "m.parquet")


def test_the_same_image_twice_under_two_ids_is_allowed(folder):
    data = open_manifest("x", manifest(folder, path=["0.png", "0.png"], id=["a", "b"]))
    assert data.samples["id"].tolist() == ["a", "b"]
