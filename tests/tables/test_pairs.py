"""What a CKA is worth, against slow computations that read the run's feature files."""

import numpy as np
import pandas as pd
import pytest
from oracles.runs import layer_file, slow_cka
from oracles.stores import stores_of

from featurespace.metrics import cka
from featurespace.progress import Progress
from featurespace.tables import kept as kept_room
from featurespace.tables import prepared_layers
from featurespace.tables.pairs import pair_tables

PAIR = ["model_a", "model_b", "layer_a", "layer_b", "data"]


def arrays(run, row):
    return [layer_file(run.path, row[f"model_{side}"], row["data"], row[f"layer_{side}"]) for side in "ab"]


def samples(run, data):
    return pd.read_parquet(run.path / "features" / "before" / data / "samples.parquet")


def test_every_pair_of_trained_models_has_its_rows(small_run):
    layers = small_run.tables["layers"].query("model == 'before'")["layer"].tolist()
    for name, rows in (("scale", 1), ("influence_summary", 2), ("convergence", 4)):
        table = small_run.tables[name]
        assert len(table) == 2 * len(layers) * rows
        assert set(zip(table["model_a"], table["model_b"])) == {("before", "after")}
        assert set(table["layer_a"]) == set(layers) == set(table["layer_b"])


@pytest.mark.parametrize("unit", ["sample", "group"])
def test_influence_is_the_change_without_the_image_or_group(small_run, unit):
    table = small_run.tables["influence"]
    table = table[table["unit"] == unit]
    assert (table["change"] < 0).all() and (table.groupby(PAIR)["rank"].min() == 1).all()
    assert table.groupby(PAIR)["change"].apply(lambda change: change.is_monotonic_increasing).all()
    for _, row in table.sample(12, random_state=1).iterrows():
        X, Y = arrays(small_run, row)
        known = samples(small_run, row["data"])
        left_out = (known["id"] if unit == "sample" else known["group"]) == row["name"]
        assert left_out.sum() == (1 if unit == "sample" else 4)
        without = slow_cka(X[~left_out], Y[~left_out])
        assert row["value_without"] == pytest.approx(without, abs=1e-9)
        assert row["value"] == pytest.approx(slow_cka(X, Y), abs=1e-9)
        assert row["value_without"] == pytest.approx(row["value"] - row["change"], abs=1e-14)
        if unit == "sample":
            assert (
                known.loc[left_out, ["label", "group", "path"]].iloc[0].tolist()
                == row[["label", "group", "path"]].tolist()
            )


def test_what_the_top_holds(small_run):
    table = small_run.tables["influence_summary"]
    for _, row in table[table["top_share"] > 0].sample(8, random_state=2).iterrows():
        assert (row["n_units"], row["top_units"]) == ((72, 1) if row["unit"] == "sample" else (18, 1))
        first = small_run.tables["influence"].merge(row[[*PAIR, "unit"]].to_frame().T).sort_values("rank").iloc[0]
        assert row["value_without_top"] == pytest.approx(first["value_without"], abs=1e-12)
        assert 0 <= row["top_share"] <= 1


def test_scale(small_run):
    table, similarity = small_run.tables["scale"], small_run.tables["similarity"]
    assert np.allclose(table["null_sd"], np.sqrt(2 / (18 * 15))) and (table["null_mean"] == 0).all()
    cka = similarity[similarity["metric"] == "cka_debiased"].set_index(PAIR)["value"]
    for _, row in table.iterrows():
        place = [row[name] for name in PAIR]
        assert row["value"] == pytest.approx(cka[tuple(place)], abs=1e-10)
        place[1] = "untrained"
        assert row["control"] == pytest.approx(cka[tuple(place)], abs=1e-10)
    assert table[["ceiling_a", "ceiling_b"]].max(axis=None) <= 1
    # the halves of the channels tell the same story more than an untrained network does
    assert table["ceiling_a"].mean() > table["control"].mean()


def test_convergence_takes_whole_groups_and_ends_at_the_value(small_run):
    table = small_run.tables["convergence"]
    assert table.groupby("part")["n"].unique().map(list).to_dict() == {0.125: [8], 0.25: [16], 0.5: [36], 1.0: [72]}
    ends = table[table["part"] == 1].set_index(PAIR)["value"]
    cka = small_run.tables["similarity"].query("metric == 'cka_debiased'").set_index(PAIR)["value"]
    np.testing.assert_allclose(ends, cka[ends.index], atol=1e-10)
    few = table[table["part"] == 0.125]
    assert few["interval"].unique().tolist() == ["none: 2 groups, at least 5 needed"]


def test_between_groups_leaves_pairs_within_a_group_out(small_run):
    rows = small_run.tables["similarity"].query("metric == 'cka_between_groups'")
    assert len(rows) == len(small_run.tables["scale"]) and (rows["n_groups"] == 18).all()
    for _, row in rows.sample(4, random_state=3).iterrows():
        X, Y = arrays(small_run, row)
        groups = samples(small_run, row["data"])["group"].to_numpy(str)
        K, L = X @ X.T, Y @ Y.T
        assert row["value"] == pytest.approx(ratio(K, L, groups), abs=1e-9)


def ratio(K, L, groups):
    """CKA between groups of equal size, by masks: sums over indices of different groups."""
    other = (groups[:, None] != groups).astype(float)
    belongs = (groups[:, None] == np.unique(groups)).astype(float)

    def hsic(K, L):
        k, m = K * other, L * other
        A, B = belongs.T @ k @ belongs, belongs.T @ m @ belongs
        rk, rm = k @ belongs, m @ belongs
        pairs = (k * m).sum()
        triples = (rk.sum(axis=1) * rm.sum(axis=1)).sum() - (rk * rm).sum()
        fours = A.sum() * B.sum() - 4 * (A.sum(axis=1) * B.sum(axis=1)).sum() + 2 * (A * B).sum()
        g, size = belongs.shape[1], len(K) / belongs.shape[1]
        return (
            pairs / (g * (g - 1) * size**2)
            + fours / (g * (g - 1) * (g - 2) * (g - 3) * size**4)
            - 2 * triples / (g * (g - 1) * (g - 2) * size**3)
        )

    return hsic(K, L) / np.sqrt(hsic(K, K) * hsic(L, L))


def pairs_of(tmp_path, X, Y, groups=None):
    progress, stores = Progress(), stores_of(tmp_path, {"a": {"l": X}, "b": {"l": Y}}, groups=groups)
    tables, rows = pair_tables(stores, {"x": {"a": ["l"], "b": ["l"]}}, seed=0, progress=progress)
    return tables, rows, progress.messages


def test_too_few_groups_are_said_and_the_value_of_the_images_stands(tmp_path, rng):
    X, Y = rng.normal(size=(2, 12, 3)).astype(np.float32)
    tables, rows, said = pairs_of(tmp_path, X, Y, groups=list("aaaabbbbcccc"))
    assert rows == [] and set(tables["influence_summary"]["unit"]) == {"sample"}
    assert tables["scale"]["null_sd"].isna().all() and tables["scale"]["value"][0] == pytest.approx(cka(X, Y))
    assert said == [
        "no images that drive CKA for a l and b l, on 'x': 3 groups, at least 5 needed",
        "no images that drive CKA for a l and b l, on 'x': without pairs within groups, X has 3 groups; debiased CKA is "
        "defined from 4 groups on",
    ]


def test_halves_of_channels_that_are_none_have_no_ceiling(tmp_path, rng):
    X, Y = rng.normal(size=(20, 1)), np.c_[rng.normal(size=20), np.ones((20, 3))]
    tables, _, said = pairs_of(tmp_path, X, Y)
    row = tables["scale"].iloc[0]
    assert np.isnan(row["ceiling_a"]) and np.isnan(row["ceiling_b"]) and not np.isnan(row["value"]) and not said


def test_parts_in_which_nothing_moves_are_left_out(tmp_path, rng):
    """Two images of 64 are not like the others: none of the parts but the whole holds both."""
    X, Y = np.ones((64, 2)), rng.normal(size=(64, 3))
    X[:2] = [[1, 3], [1, 4]]
    tables, _, said = pairs_of(tmp_path, X, Y)
    table = tables["convergence"]
    assert 1.0 in set(table["part"]) and 0.125 not in set(table["part"])
    assert any(
        "undefined" in each or "constant" in each for each in said
    )  # nor is there a value without one of the two


def test_a_layer_that_is_constant_in_the_sample_of_a_large_data_set_is_said(tmp_path, rng):
    """Whether a layer has a CKA was told from all images; only some of them are taken here."""
    X, Y = np.ones((20, 2)), rng.normal(size=(20, 3))
    tables, rows, said = pairs_of(tmp_path, X, Y)
    assert all(table.empty for table in tables.values()) and rows == []
    assert said == [
        "no images that drive CKA for a l and b l, on 'x': X is constant: every sample has the same features, so CKA with it "
        "is undefined"
    ]


def test_no_number_depends_on_what_is_kept_of_other_pairs(tmp_path, rng, monkeypatch):
    features = {name: {"l": rng.random((40, 6), np.float32), "m": rng.random((40, 9), np.float32)} for name in "abc"}
    stores = stores_of(tmp_path, features)
    usable = {"x": {name: ["l", "m"] for name in "abc"}}
    prepared = []
    make = prepared_layers.prepare_cka
    monkeypatch.setattr(prepared_layers, "prepare_cka", lambda X, **options: prepared.append(1) or make(X, **options))
    kept = pair_tables(stores, usable, seed=0)
    assert len(prepared) == 3 * 2 * 3  # each layer whole, of a half and of a quarter; an eighth is too few images
    monkeypatch.setattr(kept_room, "KEPT_BYTES", 0)
    alone = pair_tables(stores, usable, seed=0)
    assert len(prepared) == 18 + 6 * 2 * 3  # both sides of each pair
    for name, table in kept[0].items():
        pd.testing.assert_frame_equal(table, alone[0][name], check_exact=True)
    scale = kept[0]["scale"]
    assert scale["model_a"].tolist() == ["a"] * 4 + ["b"] * 2 and scale["layer_a"].tolist() == ["l", "m"] * 3
    for _, row in scale.iterrows():
        X, Y = (features[row[f"model_{side}"]][row[f"layer_{side}"]].astype(float) for side in "ab")
        assert row["value"] == pytest.approx(slow_cka(X, Y), abs=1e-12)
