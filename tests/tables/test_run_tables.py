"""The tables of a small run against slow computations that read its feature files and nothing of ours."""

import numpy as np
import pandas as pd
import pytest
from oracles.runs import layer_file, slow_cka
from scipy import stats
from sklearn.metrics.pairwise import rbf_kernel


@pytest.fixture(scope="module")
def cka(small_run):
    table = small_run.tables["similarity"]
    return table[table["metric"] == "cka_debiased"]


def test_every_pair_is_there_once(cka, small_run):
    layers = small_run.tables["layers"].groupby("model")["layer"].size()
    assert set(layers.index) == {"before", "after", "untrained"} and layers.nunique() == 1
    assert len(cka) == 2 * 6 * layers.iloc[0] ** 2
    assert cka["n"].unique().tolist() == [72] and (cka["unit"] == "group").all() and (cka["n_groups"] == 18).all()


def test_values_equal_songs_formula(cka, small_run):
    for _, row in cka.sample(25, random_state=0).iterrows():
        X = layer_file(small_run.path, row["model_a"], row["data"], row["layer_a"])
        Y = layer_file(small_run.path, row["model_b"], row["data"], row["layer_b"])
        assert row["value"] == pytest.approx(slow_cka(X, Y), rel=1e-7, abs=1e-9)


def test_intervals_equal_a_jackknife_that_leaves_each_group_out(cka, small_run):
    groups = pd.read_parquet(small_run.path / "features" / "before" / "bright" / "samples.parquet")["group"].to_numpy(
        str
    )
    row = cka[(cka["model_a"] == "before") & (cka["model_b"] == "after") & (cka["data"] == "bright")].iloc[-1]
    X, Y = (layer_file(small_run.path, row[f"model_{s}"], "bright", row[f"layer_{s}"]) for s in "ab")
    values = np.array([slow_cka(X[groups != g], Y[groups != g]) for g in np.unique(groups)])
    se = np.sqrt((len(values) - 1) / len(values) * ((values - values.mean()) ** 2).sum())
    half = stats.t.ppf(0.975, len(values) - 1) * se
    assert row["ci_low"] == pytest.approx(row["value"] - half, rel=1e-6)
    assert row["ci_high"] == pytest.approx(row["value"] + half, rel=1e-6)


def test_a_layer_is_itself(cka):
    own = cka[(cka["model_a"] == cka["model_b"]) & (cka["layer_a"] == cka["layer_b"])]
    assert len(own) and np.abs(own["value"] - 1).max() < 1e-9


def test_untouched_layers_agree_and_moved_ones_do_not(cka):
    pair = cka[(cka["model_a"] == "before") & (cka["model_b"] == "after") & (cka["layer_a"] == cka["layer_b"])]
    value = pair.groupby("layer_a")["value"].min()
    assert value["layer1.0"] == pytest.approx(1, abs=1e-9)
    assert value["layer4.0"] < 0.999


def test_procrustes_and_mutual_knn_by_other_roads(small_run):
    table = small_run.tables["similarity"]
    rows = table[(table["model_a"] == "before") & (table["model_b"] == "after") & (table["data"] == "dark")]
    row = rows[rows["metric"] == "procrustes_distance"].iloc[-1]
    X, Y = (layer_file(small_run.path, row[f"model_{s}"], "dark", row[f"layer_{s}"]) for s in "ab")
    X, Y = X - X.mean(0), Y - Y.mean(0)
    X, Y = X / np.linalg.norm(X), Y / np.linalg.norm(Y)
    U, _, V = np.linalg.svd(X.T @ Y, full_matrices=False)
    assert row["value"] == pytest.approx(np.linalg.norm(X @ U @ V - Y), rel=1e-6)
    row = rows[rows["metric"] == "mutual_knn"].iloc[-1]
    X, Y = (layer_file(small_run.path, row[f"model_{s}"], "dark", row[f"layer_{s}"]) for s in "ab")
    shared = []
    for index in range(len(X)):
        sets = []
        for Z in (X, Y):
            cosine = Z @ Z[index] / np.linalg.norm(Z, axis=1) / np.linalg.norm(Z[index])
            cosine[index] = -np.inf
            sets.append(set(np.argsort(-cosine, kind="stable")[:10]))
        shared.append(len(sets[0] & sets[1]) / 10)
    assert row["value"] == pytest.approx(np.mean(shared), abs=1e-12)


def test_mmd_equals_the_double_sum(small_run):
    table = small_run.tables["domain_gap"]
    row = table[(table["metric"] == "mmd2") & (table["model"] == "after")].iloc[-1]
    X, Y = (layer_file(small_run.path, "after", data, row["layer"]) for data in ("bright", "dark"))
    pooled = np.vstack([X, Y])
    distances = np.sqrt(((pooled[:, None] - pooled[None]) ** 2).sum(-1))
    sigma = np.median(distances[np.triu_indices(len(pooled), 1)])
    gamma = 1 / (2 * sigma**2)
    n = len(X)
    K, L, M = rbf_kernel(X, gamma=gamma), rbf_kernel(Y, gamma=gamma), rbf_kernel(X, Y, gamma=gamma)
    expected = (K.sum() - n) / (n * (n - 1)) + (L.sum() - n) / (n * (n - 1)) - 2 * M.mean()
    assert row["value"] == pytest.approx(expected, rel=1e-6)
    assert row["p_value"] == pytest.approx(1 / 1001) and row["ci_low"] < row["value"] < row["ci_high"]


def test_probe_rows(small_run):
    table = small_run.tables["probe"]
    assert set(table["metric"]) == {"accuracy", "balanced_accuracy", "auc_macro"} and set(table["probe"]) == {
        "linear",
        "knn",
    }
    assert (table["n_train"] == 48).all() and (table["n_test"] == 24).all()
    assert table.loc[table["metric"] == "accuracy", "chance"].unique() == pytest.approx([1 / 3])
    assert set(table["model"]) == {"before", "after", "untrained", "pixels"}
    assert ((table["value"] >= 0) & (table["value"] <= 1)).all()


def test_differences_are_those_of_the_values(small_run):
    table = small_run.tables["differences"]
    np.testing.assert_allclose(table["value"], table["value_a"] - table["value_b"], atol=1e-12)
    assert (table["p_holm"].dropna() >= table.loc[table["p_holm"].notna(), "p_value"]).all()
    assert {
        ("similarity", "before / after", "before / untrained"),
        ("probe", "after", "before"),
        ("probe", "after", "pixels"),
    } <= set(zip(table["analysis"], table["a"], table["b"]))


def test_embedding_has_every_image_once_a_picture(small_run):
    table = small_run.tables["embedding"]
    assert len(table) == 2 * 3 * 2 * 72
    quality = small_run.tables["embedding_quality"]
    assert len(quality) == 12 and quality["value"].between(0, 1).all()


def test_csv_and_parquet_hold_the_same_floats(small_run):
    for name in small_run.tables:
        csv = pd.read_csv(small_run.path / "tables" / f"{name}.csv")
        parquet = small_run.tables[name]
        assert list(csv.columns) == list(parquet.columns) and len(csv) == len(parquet)
        for column in parquet.select_dtypes("float64").columns:
            np.testing.assert_array_equal(csv[column], parquet[column])


def test_other_measures_have_intervals_of_groups(small_run):
    rows = small_run.tables["similarity"]
    for metric, interval in (
        ("procrustes_distance", "group jackknife"), ("mutual_knn", "group jackknife"), ("distance_correlation", "group jackknife")
    ):  # fmt: skip
        found = rows[rows["metric"] == metric]
        assert len(found) == len(rows.query("metric == 'procrustes_distance'"))
        moved = found[found["value"].between(1e-6, 1 - 1e-6)]
        assert set(moved["interval"]) <= {interval, "none: all replicates equal"} and (moved["n_groups"] == 18).all()
        assert (moved["ci_low"] <= moved["value"]).all() and (moved["value"] <= moved["ci_high"]).all()


def test_every_measure_can_be_asked_for(two_domains, checkpoints, tmp_path):
    import featurespace as fs
    from featurespace.options import MEASURES
    from featurespace.tables.corresponding import MEASURES as KNOWN

    assert set(MEASURES) == set(KNOWN)
    models = [f"before=test_resnet@{checkpoints[0]}", f"after=test_resnet@{checkpoints[1]}"]
    options = {"image_size": 32, "layers": "stages", "only": "similarity", "control": False}
    run = fs.analyze(models, [f"d={two_domains[0]}"], tmp_path / "r", measures=",".join(MEASURES), **options)
    table = run.tables["similarity"]
    last = table[
        (table["layer_a"] == "pooled") & (table["layer_b"] == "pooled") & (table["model_a"] != table["model_b"])
    ]
    assert set(last["metric"]) == {*MEASURES, "cka_debiased", "cka_between_groups"}
    assert (last["ci_low"].notna() | last["interval"].str.startswith("none: ")).all()
    directed = last[last["metric"] == "linear_predictivity"]
    assert list(zip(directed["model_a"], directed["model_b"])) == [("before", "after"), ("after", "before")]
    again = fs.analyze(models, [f"d={two_domains[0]}"], tmp_path / "r", measures="rsa", **options).tables["similarity"]
    assert set(again["metric"]) == {"rsa", "cka_debiased", "cka_between_groups"}
    pd.testing.assert_frame_equal(
        again[again["metric"] == "rsa"].reset_index(drop=True), table[table["metric"] == "rsa"].reset_index(drop=True)
    )
