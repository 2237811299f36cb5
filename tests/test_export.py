import shutil
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest

import featurespace as fs
from featurespace.errors import FeaturespaceError
from featurespace.features import extract as extraction
from featurespace.features.table import read_feature_table


@pytest.fixture(scope="module")
def features(tmp_path_factory, two_domains, checkpoints):
    models = [f"a=test_resnet@{checkpoints[0]}", f"b=test_resnet@{checkpoints[1]}"]
    data = [f"bright={two_domains[0]}", f"dark={two_domains[1]}"]
    out = tmp_path_factory.mktemp("extracted") / "r"
    return models, data, fs.extract(models, data, out, image_size=32, layers="stages")


def test_extract_writes_features_and_where_they_come_from(features):
    _, data, run = features
    assert sorted(path.name for path in run.path.iterdir() if not path.name.startswith(".")) == [
        "config.yaml", "features", "hashes.json", "provenance.json",
    ]  # fmt: skip
    assert run.verify()
    assert {(store.manifest["model"], store.manifest["data"]) for store in run.stores()} == {
        (model, name) for model in ("a", "b") for name in ("bright", "dark")
    }
    assert run.provenance["models"][0]["label"] == "a" and len(run.tables) == 0


def test_analyze_goes_on_from_extracted_features(features, tmp_path, monkeypatch):
    models, data, run = features
    made = []
    fill = extraction._fill
    monkeypatch.setattr(extraction, "_fill", lambda *args, **kwargs: made.append(args[2]) or fill(*args, **kwargs))
    analysed = fs.analyze(models, data, run.path, image_size=32, layers="stages", only="similarity")
    assert set(made) == {"untrained"} and analysed.report.exists()
    fs.extract(models, data, run.path, image_size=32, layers="stages")
    assert analysed.report.exists() and "similarity" in analysed.tables  # features alone do not cost the report


def test_one_parquet_holds_every_vector(features, tmp_path):
    run = features[2]
    (file,) = fs.export(run, out=tmp_path)
    table = pyarrow.parquet.read_table(file).to_pandas()
    assert list(table)[:3] == ["model", "data", "layer"] and list(table)[-1] == "vector"
    wanted = table[(table["model"] == "b") & (table["data"] == "dark") & (table["layer"] == "pooled")]
    store = run.features("b", "dark")
    assert np.array_equal(np.stack(wanted["vector"].to_list()), store["pooled"])
    assert wanted["id"].tolist() == store.samples["id"].tolist()
    assert wanted["label"].tolist() == store.samples["label"].tolist()
    assert len(table) == sum(len(store[layer]) for store in run.stores() for layer in store)


def test_what_was_exported_is_a_table_of_features(features, tmp_path):
    run = features[2]
    (file,) = fs.export(run, out=tmp_path / "one", models=["b"], data=["dark"], layers=["pooled"])
    table = read_feature_table("t", str(file), file)
    np.testing.assert_array_equal(table.values, run.features("b", "dark")["pooled"])
    assert table.ids == pd.read_parquet(file)["id"].tolist() and table.notes == (
        f"uses the {table.values.shape[1]} values of column vector as features",
    )
    (file,) = fs.export(run, out=tmp_path / "all", data=["dark"])
    with pytest.raises(
        FeaturespaceError,
        match=r"holds \d+ (model|layer)s \(.*\); a table of features has one: .*export .* --(model|layer) ",
    ):
        read_feature_table("t", str(file), file)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [([[1.0, 2.0], [3.0]], "vectors have 1 to 2 values"), ([["a"], ["b"]], "something else than lists of numbers"),
     ([[1.0], [float("nan")]], "1 of 2 rows hold NaN"), ([[], []], "expected .images, features.")],
)  # fmt: skip
def test_vectors_that_are_none(tmp_path, vectors, message):
    pd.DataFrame({"id": ["a", "b"], "vector": vectors}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(FeaturespaceError, match=message):
        read_feature_table("t", "t.parquet", tmp_path / "t.parquet")


def test_csv_keeps_every_bit_and_hdf5_too(features, tmp_path, monkeypatch):
    monkeypatch.setattr("featurespace.exporting.CHUNK_ROWS", 5)
    run = features[2]
    store = run.features("a", "bright")
    files = fs.export(run, form="csv", out=tmp_path, models=["a"], layers=["pooled"])
    assert [str(file.relative_to(tmp_path)) for file in files] == ["a/bright/pooled.csv", "a/dark/pooled.csv"]
    table = pd.read_csv(files[0], dtype={"id": str})
    values = table.filter(regex=r"^f\d+$").to_numpy(np.float32)
    assert np.array_equal(values, store["pooled"]) and table["id"].tolist() == store.samples["id"].tolist()

    h5py = pytest.importorskip("h5py")
    (file,) = fs.export(run, form="hdf5", out=tmp_path)
    with h5py.File(file) as content:
        group = content["b/dark"]
        other = run.features("b", "dark")
        assert set(group["layers"]) == set(other)
        assert np.array_equal(group["layers/pooled"][:], other["pooled"])
        assert group["samples/label"].asstr()[:].tolist() == other.samples["label"].tolist()


def test_an_interrupted_export_leaves_nothing_half(features, tmp_path, monkeypatch):
    from featurespace.features.store import FeatureStore

    run, read = features[2], FeatureStore.__getitem__
    asked = []

    def failing(self, layer):
        asked.append(layer)
        if len(asked) > 3:
            raise KeyboardInterrupt
        return read(self, layer)

    monkeypatch.setattr(FeatureStore, "__getitem__", failing)
    with pytest.raises(KeyboardInterrupt):
        fs.export(run, out=tmp_path / "x")
    assert not list((tmp_path / "x").iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"form": "xlsx"}, "form 'xlsx'.*csv, hdf5|parquet"),
        ({"models": ["aa"]}, "model 'aa'.*'a'"),
        ({"data": ["brigth"]}, "data set 'brigth'.*'bright'"),
        ({"layers": ["poolde"]}, "layer 'poolde'.*'pooled'"),
        ({"out": "/proc/nowhere"}, "cannot be written"),
    ],
)
def test_errors_name_what_there_is(features, arguments, message):
    with pytest.raises(FeaturespaceError, match=message):
        fs.export(features[2], **arguments)


def test_a_run_without_features(tmp_path):
    with pytest.raises(FeaturespaceError, match="holds no run"):
        fs.export(tmp_path)


def test_what_is_not_there_to_export_says_what_makes_it(features, tmp_path, monkeypatch):
    shutil.copytree(features[2].path, tmp_path / "r", ignore=shutil.ignore_patterns("features"))
    with pytest.raises(
        FeaturespaceError, match="r holds no finished features; `featurespace extract` or `analyze` with"
    ):
        fs.export(tmp_path / "r")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(
        FeaturespaceError, match=r"HDF5 needs h5py: pip install 'featurespace\[hdf5\]'; or export parquet"
    ):
        fs.export(features[2], form="hdf5", out=tmp_path)


def test_unfinished_features_are_not_left_out_in_silence(features, tmp_path):
    shutil.copytree(features[2].path, tmp_path / "r")
    (next((tmp_path / "r").glob("features/b/dark/manifest.json"))).write_text("{}")
    with pytest.raises(FeaturespaceError, match="features of b on dark in .* are unfinished or damaged"):
        fs.export(tmp_path / "r", out=tmp_path / "x")
