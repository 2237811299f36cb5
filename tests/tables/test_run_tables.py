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
    K, L, M = rbf_kernel(X, gamma=gamma), rbf_kernel(Y, gamma=gamma), rbf_kernel(X, Y, gamma=gamma)
    groups = [pd.read_parquet(small_run.path / "features/after" / data / "samples.parquet")["group"].to_numpy(str)
              for data in ("bright", "dark")]  # fmt: skip
    other = [each[:, None] != each for each in groups]  # pairs within a group do not count
    expected = K[other[0]].mean() + L[other[1]].mean() - 2 * M.mean()
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
    assert len(quality) == 15 and quality["value"].between(0, 1).all()


def test_csv_and_parquet_hold_the_same_floats(small_run):
    for name in small_run.tables:
        csv = pd.read_csv(small_run.path / "tables" / f"{name}.csv")
        parquet = small_run.tables[name]
        assert list(csv.columns) == list(parquet.columns) and len(csv) == len(parquet)
        for column in parquet.select_dtypes("float64").columns:
            np.testing.assert_array_equal(csv[column], parquet[column])


def test_other_measures_have_intervals_of_groups(small_run):
    rows = small_run.tables["similarity"]
    for metric in ("procrustes_distance", "mutual_knn"):
        found = rows[rows["metric"] == metric]
        assert len(found) == 2 * 3 * len(small_run.tables["layers"].query("model == 'before'"))
        moved = found[found["value"].between(1e-6, 1 - 1e-6)]
        assert (moved["interval"] == "group jackknife").all() and (moved["n_groups"] == 18).all()
        assert (moved["ci_low"] <= moved["value"]).all() and (moved["value"] <= moved["ci_high"]).all()


def test_every_measure_can_be_asked_for(two_domains, checkpoints, tmp_path):
    import featurespace as fs
    from featurespace.options import MEASURES
    from featurespace.tables.corresponding import MEASURES as KNOWN

    assert set(MEASURES) == set(KNOWN)
    models = [f"before=test_resnet@{checkpoints[0]}", f"after=test_resnet@{checkpoints[1]}"]
    options = {"image_size": 32, "layers": "stages", "only": "similarity", "control": False}
    run = fs.analyze(models, [f"d={two_domains[0]}"], tmp_path / "r", measures="all", **options)
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


def test_p_over_layers_is_that_of_the_maximum_and_no_less_sharp_than_holms(small_run):
    rows = small_run.tables["domain_gap"].query("metric == 'mmd2'")
    assert (rows["p_max"] >= rows["p_value"] - 1e-12).all() and (rows["p_max"] <= 0.05).any()
    assert (rows["p_max"] <= rows["p_holm"] + 0.01).all()
    assert small_run.tables["domain_gap"].query("metric != 'mmd2'")["p_max"].isna().all()


def test_differences_of_gaps_are_those_of_the_features(small_run):
    from featurespace.metrics import mmd2_difference

    table = small_run.tables["differences"].query("analysis == 'gap'")
    layers = small_run.tables["layers"].query("model == 'before'")["layer"].tolist()
    assert len(table) == 3 * len(layers) and set(table["data"]) == {"bright to dark"}
    groups = [pd.read_parquet(small_run.path / "features/after" / data / "samples.parquet")["group"].to_numpy(str)
              for data in ("bright", "dark")]  # fmt: skip
    for row in table.sample(4, random_state=1).itertuples():
        arrays = [
            layer_file(small_run.path, model, data, row.layer)
            for model in (row.a, row.b)
            for data in ("bright", "dark")
        ]
        expected, p_value = mmd2_difference(*arrays, groups_x=groups[0], groups_y=groups[1])
        assert row.value == pytest.approx(expected.value, abs=1e-9)
        if not np.isnan(p_value):
            interval = (expected.ci_low, expected.ci_high)
            assert (row.ci_low, row.ci_high) == pytest.approx(interval, abs=1e-8, nan_ok=True)
            assert row.p_value == pytest.approx(p_value, rel=1e-5)


def test_gaps_of_each_shared_class(small_run):
    from featurespace.metrics import mmd2_jackknife

    table = small_run.tables["domain_gap_by_class"]
    assert set(table["label"]) == {"class0", "class1", "class2"} and (table[["n_a", "n_b"]] == 24).all(axis=None)
    row = table[table["model"] == "after"].iloc[-1]
    sides = [
        pd.read_parquet(small_run.path / "features/after" / data / "samples.parquet") for data in ("bright", "dark")
    ]
    rows = [each["label"] == row["label"] for each in sides]
    X, Y = (
        layer_file(small_run.path, "after", data, row["layer"])[kept] for data, kept in zip(("bright", "dark"), rows)
    )
    groups = {f"groups_{side}": each.loc[kept, "group"].to_numpy(str) for side, each, kept in zip("xy", sides, rows)}
    expected = mmd2_jackknife(X, Y, **groups)
    assert (row["value"], row["ci_low"]) == pytest.approx((expected.value, expected.ci_low))


def test_every_distance_can_be_asked_for(two_domains, checkpoints, tmp_path):
    import featurespace as fs
    from featurespace.metrics import energy_jackknife
    from featurespace.options import DISTANCES
    from featurespace.tables.distances import DISTANCES as KNOWN

    assert set(DISTANCES) == set(KNOWN)
    options = {"image_size": 32, "layers": "maxpool", "only": "gap", "control": False, "distances": "all"}
    data = [f"bright={two_domains[0]}", f"dark={two_domains[1]}"]
    run = fs.analyze([f"m=test_resnet@{checkpoints[0]}"], data, tmp_path / "r", **options)
    table = run.tables["domain_gap"].set_index("metric")
    assert set(table.index) == {*DISTANCES, "mmd2", "frechet_distance", "frechet_distance_corrected"}
    assert (table["ci_low"].notna() | table["interval"].str.startswith("none: ")).all()
    X, Y = (layer_file(run.path, "m", data, "maxpool") for data in ("bright", "dark"))
    groups = [
        pd.read_parquet(run.path / "features/m" / name / "samples.parquet")["group"].to_numpy(str)
        for name in ("bright", "dark")
    ]
    assert table.loc["energy_distance", "value"] == pytest.approx(
        energy_jackknife(X, Y, groups_x=groups[0], groups_y=groups[1]).value
    )


def test_images_that_make_the_gap(small_run):
    from featurespace.metrics import conformal_p_values, mmd2_influence

    table = small_run.tables["gap_influence"]
    assert (
        len(table) == 2 * (72 + 72) and set(table["layer"]) == {"pooled"} and set(table["model"]) == {"before", "after"}
    )
    sides = [
        pd.read_parquet(small_run.path / "features/after" / data / "samples.parquet") for data in ("bright", "dark")
    ]
    X, Y = (layer_file(small_run.path, "after", data, "pooled") for data in ("bright", "dark"))
    groups = [each["group"].to_numpy(str) for each in sides]
    found = mmd2_influence(X, Y, groups_x=groups[0], groups_y=groups[1])
    own = table.query("model == 'after' and data == 'dark'")
    assert own["name"].tolist() == sides[1]["id"].tolist()
    np.testing.assert_allclose(own["change"], found.samples_y, atol=1e-12)
    np.testing.assert_allclose(own["witness"], found.witness_y, atol=1e-12)
    np.testing.assert_allclose(own["p_outside"], conformal_p_values(X, Y, groups_x=groups[0]), atol=1e-12)
    assert (own["p_outside_bh"] >= own["p_outside"]).all()


def test_the_answers_of_the_probe_are_its_accuracy_and_colour_the_images(small_run):
    answers, probe = small_run.tables["probe_answers"], small_run.tables["probe"]
    scores = probe.query("probe == 'linear' and metric == 'accuracy'").set_index(["data", "model", "layer"])
    assert set(answers["model"]) == {"before", "after"} and not answers.duplicated(["data", "model", "sample"]).any()
    for key, rows in answers.groupby(["data", "model", "layer"]):
        assert (
            rows["correct"].mean() == pytest.approx(scores.loc[key, "value"]) and len(rows) == scores.loc[key, "n_test"]
        )
    images = small_run.tables["images"].merge(answers.query("model == 'after'"), on=["data", "sample"], how="left")
    asked = images["correct"].notna()
    assert (
        images.loc[asked, "probe of after"] == images.loc[asked, "correct"].map({True: "right", False: "wrong"})
    ).all()
    assert images.loc[~asked, "probe of after"].isna().all() and asked.any()
    assert "probe of after" in small_run.report.read_text()
