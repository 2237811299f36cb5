import os
from pathlib import Path

import pandas as pd
import pyarrow.parquet
import pytest
from PIL import Image

from featurespace.data import manifests
from featurespace.data.manifests import open_manifest
from featurespace.data.specs import open_all
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


def test_further_columns_are_kept_where_they_are_asked_for(folder):
    path = manifest(folder, path=["0.png", "1.png"], age=["40", ""], name=["Ada", "Bea"])
    assert "age" not in open_manifest("x", path).samples
    samples = open_manifest("x", path, columns=["age"]).samples
    assert samples["age"].tolist() == ["40", pd.NA] and "name" not in samples
    with pytest.raises(FeaturespaceError, match="data set 'x': .*column 'agee'.*did you mean 'age'"):
        open_manifest("x", path, columns=["agee"])
    with pytest.raises(FeaturespaceError, match="no data set has a column 'age'; manifests .* have columns"):
        open_all([f"x={folder}"], columns=["age"])


@pytest.mark.parametrize(
    ("column", "name", "loss"),
    [("patient_id", "group", "images count as independent"), ("PatientID", "group", "patients as unknown"), ("Group", "group", ""),
     ("Finding Labels", "label", "no probes"), ("Label", "label", ""), ("fold", "split", "a split is drawn")],
)  # fmt: skip
def test_a_column_that_is_called_otherwise_is_said(folder, column, name, loss):
    images = ["0.png", "1.png"]
    (note,) = open_manifest("x", manifest(folder, path=images, **{column: ["a", "b"]})).notes
    assert (
        note.startswith(f"column {column!r} of {folder / 'm.csv'} is not read")
        and f"call it {name!r}" in note
        and loss in note
    )
    values = {column: ["a", "b"], name: ["train", "test"]}
    assert not open_manifest("x", manifest(folder, path=images, **values)).notes  # there is one that is read
    assert not open_manifest("x", manifest(folder, path=images, **{column: ["a", "b"]}), columns=[column]).notes
    assert not open_manifest("x", manifest(folder, path=images, age=["40", "50"])).notes


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"file": ["0.png"]}, "needs a column 'path'"),
        ({"path": []}, "has no rows"),
        ({"path": ["0.png", ""], "label": ["a", "b"]}, "row 2 of .* has no path"),
        ({"path": ["8.png", "9.png"]}, r"2 of 2 files .* do not exist, the first is .*8\.png; relative paths"),
        ({"path": ["0.png", "0.png"]}, r"id '0.png' occurs more than once \(1 repeated id\)"),
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


def text(folder, content, encoding="utf-8"):
    (folder / "m.csv").write_bytes(content.encode(encoding))
    return folder / "m.csv"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_what_spreadsheets_write_is_read(folder, separator, newline, encoding):
    lines = ["path,label,age", '0.png,"a', 'b",3', "1.png,é,4", ""]
    data = open_manifest("x", text(folder, newline.join(lines).replace(",", separator), encoding))
    assert data.samples["id"].tolist() == ["0.png", "1.png"]
    assert [each.replace("\r", "") for each in data.samples["label"]] == ["a\nb", "é"]


@pytest.mark.parametrize(
    ("content", "encoding", "message"),
    [("", "utf-8", "cannot be read as a table"), ("path,label\n", "utf-8", "has no rows"),
     ("path,label\n0.png,é\n", "latin-1", r"m\.csv is not UTF-8 .*; save it as CSV UTF-8"),
     ("path,label\n0.png,a\n", "utf-16", "is not UTF-8"), ("<html>not found</html>", "utf-8", "needs a column 'path'"),
     ("path,label\n0.png,a,\n1.png,b,\n", "utf-8", "more cells than its header"),
     ("path|label\n0.png|a\n", "utf-8", "needs a column 'path'.*separated by comma, semicolon or tab"),
     ("path label\n0.png a\n", "utf-8", "needs a column 'path'.*separated by comma, semicolon or tab"),
     ("path,path\n0.png,1.png\n", "utf-8", "two columns 'path'"), ("path, path\n0.png,1.png\n", "utf-8", "two columns 'path'"),
     ('path\n"0.png\n', "utf-8", "cannot be read as a table"), ("path,id\n0.png,\n1.png,b\n", "utf-8", "row 1 has no id"),
     ("path\nfile:///a/0.png\n", "utf-8", "not an address"), ("path\ns3://a/0.png\n", "utf-8", "not an address"),
     ("path\n~/0.png\n", "utf-8", "~ is not expanded in a table"), ("path\nC:\\a\\0.png\n", "utf-8", "write / between folders")],
)  # fmt: skip
def test_tables_that_cannot_be_used_say_why(folder, content, encoding, message):
    with pytest.raises(FeaturespaceError, match=f"data set 'x': .*{message}"):
        open_manifest("x", text(folder, content, encoding))


def test_missing_files_are_counted_and_bad_images(folder):
    os.mkfifo(folder / "pipe.png")
    data = open_manifest("x", manifest(folder, path=["0.png", "no.png", "pipe.png", "x" * 5000 + ".png"]))
    assert len(data) == 4 and "3 of 4 files named in" in data.notes[0] and "no.png" in data.notes[0]
    before = data.fingerprint()
    with pytest.raises(FeaturespaceError, match=r"no\.png does not exist"):
        data.image(1)
    Image.new("L", (8, 8)).save(folder / "no.png")
    assert data.fingerprint() != before


def test_relative_absolute_and_upward_paths(folder):
    paths = ["0.png", str(folder / "1.png"), f"../{folder.name}/2.png", " 0.png "]
    data = open_manifest("x", manifest(folder, path=paths, id=list("abcd")))
    assert [data.image(index).getpixel((0, 0)) for index in range(4)] == [0, 1, 2, 0]


def test_a_file_named_twice_is_said(folder):
    path = manifest(folder, path=["0.png", "./0.png", "1.png", "./1.png"], label=["a", "b", "a", "a"])
    assert open_manifest("x", path).notes == (
        f"2 files stand in more than one row, e.g. {folder}/0.png",
        f"1 file stands under more than one label, e.g. {folder}/0.png",
    )


@pytest.mark.parametrize(
    ("labels", "expected"),
    [([1.0, 2.0, None], ["1", "2", None]), ([True, False, True], ["True", "False", "True"]),
     ([b"a", b"\xff", b"b"], ["a", r"\xff", "b"]), (["<script>", " ", "tr "], ["<script>", None, "tr "])],
)  # fmt: skip
def test_labels_of_any_type_become_text(folder, labels, expected):
    pd.DataFrame({"path": [f"{n}.png" for n in range(3)], "label": labels}).to_parquet(folder / "m.parquet")
    assert open_manifest("x", folder / "m.parquet").column("label").tolist() == expected


def test_an_index_named_path_is_the_column(folder):
    pd.DataFrame({"label": ["a"]}, index=pd.Index(["0.png"], name="path")).to_parquet(folder / "m.parquet")
    assert open_manifest("x", folder / "m.parquet").samples["label"].tolist() == ["a"]


@pytest.mark.parametrize("damage", ["text", "metadata"])
def test_a_damaged_parquet(folder, damage):
    table = pyarrow.table({"path": ["0.png"] * 3, "label": ["marker"] * 3})
    table = table.replace_schema_metadata({"pandas": "{}"}) if damage == "metadata" else table
    pyarrow.parquet.write_table(table, folder / "m.parquet", compression=None)
    content = (folder / "m.parquet").read_bytes()
    (folder / "m.parquet").write_bytes(content.replace(b"marker", b"mar\xffer" if damage == "text" else b"marker"))
    with pytest.raises(FeaturespaceError, match="cannot be read as a table"):
        open_manifest("x", folder / "m.parquet")


def test_a_list_in_a_parquet_label_is_an_error(folder):
    pd.DataFrame({"path": ["0.png"], "label": [["a", "b"]]}).to_parquet(folder / "m.parquet")
    with pytest.raises(FeaturespaceError, match="data set 'x': row 1 of column 'label' holds a list or the like"):
        open_manifest("x", folder / "m.parquet")


def test_a_file_named_in_two_spellings_is_said(folder):
    path = manifest(folder, path=["0.png", str(folder / "0.png"), f"../{folder.name}/0.png", "1.png"])
    assert open_manifest("x", path).notes == (f"1 file stands in more than one row, e.g. {folder}/0.png",)


@pytest.mark.parametrize("listed", [1, 3, 100])
def test_missing_files_are_found_in_listed_folders_too(folder, monkeypatch, listed):
    monkeypatch.setattr(manifests, "LISTED", listed)
    (folder / "d.png").mkdir()
    os.symlink(folder / "0.png", folder / "link.png")
    os.symlink(folder / "nowhere", folder / "broken.png")
    paths = [
        "0.png",
        "d.png",
        "link.png",
        "broken.png",
        "none/0.png",
        "none\0/1.png",
        f"../{folder.name}/1.png",
        "3.png",
    ]
    data = open_manifest("x", manifest(folder, path=paths))
    assert data.notes[0] == f"5 of 8 files named in {folder}/m.csv do not exist, the first is {folder}/d.png"
    monkeypatch.chdir(folder)
    assert open_manifest("x", Path("m.csv")).notes[0].endswith("the first is d.png")
