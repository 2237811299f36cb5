import numpy as np
import pandas as pd
import pytest

from featurespace.data.specs import open_data
from featurespace.errors import FeaturespaceError
from featurespace.features.table import read_feature_table, store_table


@pytest.fixture
def data(two_domains):
    return open_data(f"bright={two_domains[0]}")


def stored(path, data, tmp_path):
    return store_table(read_feature_table("t", str(path), path), data, tmp_path / "store", fingerprint="f")


def test_rows_are_matched_by_id_in_any_order(tmp_path, data, rng):
    values = rng.normal(size=(72, 3))
    table = pd.DataFrame(values, columns=["a", "b", "c"]).assign(id=data.samples["id"], label="x")
    table.sample(frac=1, random_state=0).to_csv(tmp_path / "t.csv", index=False)
    store = stored(tmp_path / "t.csv", data, tmp_path)
    np.testing.assert_allclose(store["features"], values, rtol=1e-6)


def test_rows_without_ids_are_in_order(tmp_path, data, rng):
    values = rng.normal(size=(72, 3))
    np.savez(tmp_path / "t.npz", features=values)
    np.testing.assert_allclose(stored(tmp_path / "t.npz", data, tmp_path)["features"], values, rtol=1e-6)


def test_parquet_by_path(tmp_path, data):
    pd.DataFrame({"path": data.samples["path"], "f": range(72)}).to_parquet(tmp_path / "t.parquet")
    assert stored(tmp_path / "t.parquet", data, tmp_path)["features"][5, 0] == 5


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": ["a"] * 72, "f": range(72)}, "repeats ids"),
        ({"f": range(5)}, "has 5 rows without ids, data set 'bright' has 72 images; give it a column 'id'"),
        ({"id": [f"z{i}" for i in range(72)], "f": range(72)}, "no features for 72 of 72 images of 'bright'"),
        (
            {"id": [f"z{i}" for i in range(3)], "f": [1, None, 2]},
            "1 of 3 rows hold NaN or infinity \\(as float32\\), the first is row 2",
        ),
        ({"id": ["a"], "word": ["b"]}, r"no numeric columns beside \['id'\]"),
    ],
)
def test_errors(tmp_path, data, columns, message):
    pd.DataFrame(columns).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(FeaturespaceError, match=message):
        stored(tmp_path / "t.csv", data, tmp_path)


def test_errors_of_archives(tmp_path):
    np.savez(tmp_path / "t.npz", x=np.zeros((2, 2)))
    with pytest.raises(FeaturespaceError, match="no array 'features'"):
        read_feature_table("t", "t", tmp_path / "t.npz")
    np.savez(tmp_path / "t.npz", features=np.zeros(3))
    with pytest.raises(FeaturespaceError, match=r"shape \(3,\); expected"):
        read_feature_table("t", "t", tmp_path / "t.npz")
    np.savez(tmp_path / "t.npz", features=np.zeros((3, 2)), id=np.arange(2))
    with pytest.raises(FeaturespaceError, match="3 rows of features and ids of shape \\(2,\\)"):
        read_feature_table("t", "t", tmp_path / "t.npz")


def test_zero_padded_ids_of_a_csv_stay_text(tmp_path, rng):
    np.savez(tmp_path / "images.npz", images=np.zeros((12, 4, 4), np.uint8))
    data = open_data(f"x={tmp_path / 'images.npz'}")
    pd.DataFrame({"id": data.samples["id"], "f": range(12)}).to_csv(tmp_path / "t.csv", index=False)
    assert stored(tmp_path / "t.csv", data, tmp_path)["features"][:, 0].tolist() == list(range(12))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"features": np.zeros((3, 2), complex)}, "have type complex128; expected real numbers"),
        ({"features": np.array([["a", "b"]])}, "expected real numbers"),
        ({"features": np.zeros((3, 2), [("a", float)])}, "expected real numbers"),
        ({"features": np.zeros((3, 2), "M8[D]")}, "expected real numbers"),
        ({"features": np.array([[1, 1e300]])}, r"1 of 1 rows hold NaN or infinity \(as float32\)"),
        ({"features": np.ones((3, 2)), "id": np.zeros((3, 1))}, r"ids of shape \(3, 1\)"),
        ({"features": np.ones((3, 2)), "id": ["a", "", "b"]}, "row 2 has no id"),
        ({"features": np.array([None])}, "no objects"),
    ],
)
def test_arrays_that_are_no_features(tmp_path, arrays, message):
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(FeaturespaceError, match=message):
        read_feature_table("t", "t", tmp_path / "t.npz")


def read(tmp_path, columns):
    pd.DataFrame(columns).to_csv(tmp_path / "t.csv", index=False)
    return read_feature_table("t", "t", tmp_path / "t.csv")


def test_columns_that_are_no_features_are_said(tmp_path):
    table = read(tmp_path, {"Unnamed: 0": [0, 1], "id": list("ab"), "f": [1.0, 2.0], "sex": list("mf")})
    assert table.values.shape == (2, 1)  # not the row number, which pandas writes first
    assert table.notes == (
        "uses the 1 column f as features",
        "columns of t.csv without numbers or without a name are no features: 'Unnamed: 0', 'sex'",
    )


def test_the_columns_that_are_features_are_said_and_those_of_samples_are_none(tmp_path):
    table = read(
        tmp_path,
        {"id": list("ab"), "Label": [1, 2], "SPLIT": [0, 0], "fold": [1, 2], **{f"f{n}": [n, 1] for n in range(9)}},
    )
    assert table.values.shape == (2, 10)
    assert table.notes == ("uses the 10 columns fold, f0, f1 ... f7, f8 as features",)


def test_truth_values_are_features(tmp_path):
    table = read(tmp_path, {"id": list("abc"), "smoker": [True, False, True], "old": [0, 1, 1]})
    assert table.values.tolist() == [[1, 0], [0, 1], [1, 1]]
    assert table.notes == ("uses the 2 columns smoker, old as features",)


@pytest.mark.parametrize("name", ["ID", "Id", " id ", "PATH"])
def test_an_id_in_any_case_pairs_the_rows_and_is_no_feature(tmp_path, data, name):
    ids = data.samples["path" if name == "PATH" else "id"]
    pd.DataFrame({name: ids[::-1], "f": range(72)}).to_csv(tmp_path / "t.csv", index=False)
    assert stored(tmp_path / "t.csv", data, tmp_path)["features"][:, 0].tolist() == list(range(72))[::-1]


def test_a_numeric_id_in_capitals_stays_text(tmp_path):
    (tmp_path / "t.csv").write_text("ID,f\n007,1\n008,2\n")
    table = read_feature_table("t", "t", tmp_path / "t.csv")
    assert table.ids == ["007", "008"] and table.values.tolist() == [[1], [2]]


def test_rows_by_order_are_said_with_the_column_that_may_be_the_id(tmp_path):
    assert read(tmp_path, {"f": [1, 2]}).notes[0] == "has no column id: its rows are taken in the order of the images"
    notes = read(tmp_path, {"f": [1, 2], "image_id": [8, 9]}).notes
    assert notes[0].endswith("in the order of the images (if image_id holds the images' ids, name it id)")
    np.savez(tmp_path / "t.npz", features=np.eye(2))
    table = read_feature_table("t", "t", tmp_path / "t.npz")
    assert table.notes == ("has no column id: its rows are taken in the order of the images",)


def test_rows_by_order_need_all_the_images(tmp_path, data):
    for images, message in ((data.subset(np.arange(9)), "9 of the 72 images of 'bright' take part"), (data, None)):
        for rows in (9, 72):
            np.savez(tmp_path / "t.npz", features=np.arange(float(rows))[:, None])
            if rows == len(images) == 72:
                assert len(stored(tmp_path / "t.npz", images, tmp_path)["features"]) == 72
                continue
            with pytest.raises(FeaturespaceError, match=message if rows == 72 else "has 9 rows without ids.*72 images"):
                stored(tmp_path / "t.npz", images, tmp_path)


def test_a_large_offset_takes_no_precision(tmp_path, data, rng):
    values = rng.normal(size=(72, 3)) + np.array([1e9, 0, 1e6])
    np.savez(tmp_path / "t.npz", features=values, id=data.samples["id"].to_numpy(str))
    table = read_feature_table("t", "t", tmp_path / "t.npz")
    assert table.notes == (
        "2 of 3 columns are stored less their median, since float32 cannot hold them beside so large an offset: 0, 2",
    )
    np.testing.assert_allclose(np.ptp(table.values, axis=0), np.ptp(values, axis=0), rtol=1e-6)
    np.testing.assert_array_equal(table.values[:, 1], values[:, 1].astype(np.float32))
    assert abs(np.corrcoef(table.values[:, 0], values[:, 0])[0, 1] - 1) < 1e-9


def test_a_constant_stays_constant_and_rounding_is_no_feature(tmp_path):
    noise = np.array([1.0, 1 + 2e-16, 1 + 4e-16, 1])
    table = read(tmp_path, {"id": list("abcd"), "a": [0.1] * 4, "b": noise * 1e9, "c": [1, 2, 3, 4]})
    assert np.ptp(table.values, axis=0).tolist() == [0, 0, 3]
    assert table.notes[-1] == "1 of 3 columns differ by rounding only and count as constant: b"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1e-60, 2e-60, 3e-60], "column tiny cannot be held in float32; scale it"),
        ([2**60, 2**60 + 1, 2**60 + 2], "column tiny holds whole numbers above 2\\*\\*53"),
    ],
)
def test_what_float32_cannot_hold_is_an_error(tmp_path, values, message):
    with pytest.raises(FeaturespaceError, match=message):
        read(tmp_path, {"id": list("abc"), "tiny": values})


def test_more_rows_than_images_and_ids_of_any_type(tmp_path):
    np.savez(tmp_path / "images.npz", images=np.zeros((3, 4, 4), np.uint8), id=[7, 8, 9])
    data = open_data(f"x={tmp_path / 'images.npz'}")
    for number, ids in enumerate(([10.0, 9.0, 8.0, 7.0], [10, 9, 8, 7], [b"10", b"9", b"8", b"7"])):
        np.savez(tmp_path / f"{number}.npz", features=np.arange(4.0)[:, None], id=ids)
        assert stored(tmp_path / f"{number}.npz", data, tmp_path)["features"][:, 0].tolist() == [3, 2, 1]


def test_a_csv_from_a_spreadsheet(tmp_path):
    (tmp_path / "t.csv").write_bytes("\ufeffid;f;g\r\na;1;2\r\nb;3;4\r\n".encode())
    table = read_feature_table("t", "t", tmp_path / "t.csv")
    assert table.ids == ["a", "b"] and table.values.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("kind", [np.float32, np.float16, bool])
def test_what_float32_holds_is_stored_as_it_is(tmp_path, rng, kind):
    values = (rng.normal(size=(6, 3)) > 0 if kind is bool else rng.normal(size=(6, 3)) + 1e4).astype(kind)
    np.savez(tmp_path / "t.npz", features=values, id=list("abcdef"))
    table = read_feature_table("t", "t", tmp_path / "t.npz")
    assert table.values.dtype == np.float32 and table.values.tolist() == values.tolist() and table.notes == ()


def test_a_store_of_the_same_table_is_used_again(tmp_path, data, rng):
    np.savez(tmp_path / "t.npz", features=rng.normal(size=(72, 3)))
    first = stored(tmp_path / "t.npz", data, tmp_path)
    (first.path / "mark").touch()
    assert stored(tmp_path / "t.npz", data, tmp_path).manifest == first.manifest and (first.path / "mark").exists()
    np.savez(tmp_path / "t.npz", features=rng.normal(size=(72, 3)))
    changed = stored(tmp_path / "t.npz", data, tmp_path)
    assert changed.manifest["key_sha256"] != first.manifest["key_sha256"] and not (first.path / "mark").exists()
