"""Data sets above the stated numbers of images: CKA of all of them from chunks, other statistics from a sample."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from oracles.runs import song_hsic
from oracles.stores import stores_of, written

from featurespace.metrics.similarity import cka
from featurespace.metrics.sketch import CountSketch
from featurespace.progress import Progress
from featurespace.report.verdicts import verdict_sentence
from featurespace.tables import sampling, similarity, streamed, tiles
from featurespace.tables.probe import probe_tables
from featurespace.tables.sampling import sampling_table
from featurespace.tables.similarity import similarity_tables
from featurespace.tables.stores import Stores
from featurespace.tables.streamed import StreamedCKA
from featurespace.tables.verdicts import verdicts_table


@pytest.fixture
def stores(tmp_path, rng):
    n, groups = 900, np.repeat([f"p{g:02d}" for g in range(60)], 15)
    base = rng.normal(size=(n, 6)) * 3 + 100 + rng.normal(size=(60, 6))[np.repeat(np.arange(60), 15)]
    made = {}
    for place, name in enumerate(("first", "second")):
        layers = {f"l{width}": (base @ rng.normal(size=(6, width)) + rng.normal(size=(n, width)) * (1 + place)).astype(np.float32)
                  for width in (4, 7, 3)}  # fmt: skip
        layers["still"] = np.ones((n, 2), np.float32)
        made[name, "x"] = written(tmp_path, name, layers, groups=groups, labels=np.where(np.arange(n) % 3, "a", "b"))
    return Stores(made)


def tables_of(stores, **options):
    progress = Progress()
    return similarity_tables(stores, seed=0, measures=(), progress=progress, **options)[0], progress.messages


@pytest.mark.parametrize("tile", [8, 4096])
def test_cka_from_chunks_is_that_of_all_images(stores, monkeypatch, tile):
    whole, said = tables_of(stores)
    monkeypatch.setattr(streamed, "AT_ONCE", 100)
    monkeypatch.setattr(streamed, "CHUNK", 128)
    monkeypatch.setattr(streamed, "TILE", tile)
    found, told = tables_of(stores)
    key = ["metric", "model_a", "model_b", "layer_a", "layer_b", "data"]
    both = [each["similarity"].query("metric == 'cka_debiased'") for each in (whole, found)]
    assert both[0][key].equals(both[1][key]) and len(both[1]) == 3 * 9
    np.testing.assert_allclose(both[1]["value"], both[0]["value"], atol=1e-10)
    assert both[1]["interval"].str.fullmatch("jackknife over (19|20) blocks of groups").all() and set(
        both[1]["n_groups"]
    ) == {60}
    apart = both[1]["value"] != 1
    ratio = (both[1]["se"] / both[0]["se"].to_numpy())[apart]
    assert ratio.between(0.5, 2).all() and ratio.mean() == pytest.approx(1, abs=0.3)
    assert any("still" in each and "constant" in each for each in told)
    assert len(told) == len(said)


def test_the_mirror_image_is_the_same_number(stores, monkeypatch):
    monkeypatch.setattr(streamed, "AT_ONCE", 100)
    found = tables_of(stores)[0]["similarity"].query("model_a == model_b and metric == 'cka_debiased'")
    values = found.set_index(["model_a", "layer_a", "layer_b"])["value"]
    assert all(values[m, a, b] == values[m, b, a] for m, a, b in values.index)


def test_features_are_in_memory_of_few_models_at_a_time_and_no_number_changes(stores, monkeypatch):
    several = Stores({**stores.stores, ("third", "x"): stores.stores["first", "x"]})
    whole, _ = tables_of(several)
    monkeypatch.setattr(streamed, "MEMORY", 1)
    monkeypatch.setattr(similarity, "is_streamed", lambda stores, data: False)
    assert similarity._at_once(several, "x", several.models) == [["first"], ["second"], ["third"]]
    found, _ = tables_of(several)
    pd.testing.assert_frame_equal(found["similarity"], whole["similarity"], check_exact=True)


def test_a_layer_that_one_image_moves_is_said_and_has_no_difference_to_the_control(tmp_path, rng):
    X, Y = rng.normal(size=(2, 30, 3))
    models = {name: {"l": X + place, "k": Y * (place + 1)} for place, name in enumerate(("a", "b"))}
    models["untrained"] = {"l": Y, "k": np.eye(30)[:, :1]}
    stores = stores_of(tmp_path, models, controls={"b": "untrained"})
    progress = Progress()
    tables, differences = similarity_tables(stores, seed=0, measures=(), progress=progress)
    assert [row["layer"] for row in differences] == ["l"]
    rows = tables["similarity"].query("model_b == 'untrained' and metric == 'cka_debiased'")
    assert set(rows["layer_b"]) == {"l"}
    assert (
        "no similarity on 'x' for untrained k: is constant but for at most one sample, so CKA with it is undefined"
        in progress.messages
    )


def test_a_process_that_helps_goes_through_the_passes_of_the_first(stores, monkeypatch):
    monkeypatch.setattr(streamed, "AT_ONCE", 100)
    monkeypatch.setattr(streamed, "TILE", 8)
    told, handed = [], {"first": [], "helper": []}
    monkeypatch.setattr(streamed.distributed, "told", lambda job: told.append(job) or job)

    def passes(who):
        monkeypatch.setattr(
            streamed.distributed, "total", lambda arrays: handed[who].append([each.copy() for each in arrays]) or arrays
        )

    passes("first")
    tables_of(stores)
    jobs = iter([*told, None])
    monkeypatch.setattr(streamed.distributed, "told", lambda job: next(jobs))
    passes("helper")
    streamed.help_with_cka(stores)
    assert len(handed["first"]) == len(handed["helper"]) > tiles.BLOCKS and next(jobs, "all") == "all"
    for first, helper in zip(handed["first"], handed["helper"]):
        assert all(np.array_equal(one, other) for one, other in zip(first, helper, strict=True))


def test_features_are_placed_on_the_device():
    X = np.arange(6.0).reshape(2, 3)
    assert tiles.placed(X, "cpu") is X
    tensor = tiles.placed(X, "cpu:0")
    assert tensor.device.type == "cpu" and (tensor.numpy() == X).all()


@pytest.fixture
def wide(tmp_path, rng):
    """A model with a wide layer beside a narrow one, and another such model."""
    base, made = rng.normal(size=(600, 12)), {}
    for place, name in enumerate(("first", "second")):
        layers = {"wide": base @ rng.normal(size=(12, 3000)) + 3 * rng.normal(size=(600, 3000)), "narrow": base + place}
        made[name, "x"] = written(tmp_path, name, {layer: X.astype(np.float32) for layer, X in layers.items()})
    return Stores(made)


def test_layers_too_wide_are_sketched_within_the_error_that_is_told(wide, monkeypatch):
    exact = tables_of(wide)[0]["similarity"].query("metric == 'cka_debiased'")
    monkeypatch.setattr(streamed, "AT_ONCE", 100)
    monkeypatch.setattr(streamed, "WIDEST", 1000)
    monkeypatch.setattr(streamed, "SKETCH", 500)
    found = tables_of(wide)[0]["similarity"].query("metric == 'cka_debiased'")
    assert len(found) == len(exact) == 12
    moved = found["value"].to_numpy() - exact["value"].to_numpy()
    sketched = (found["interval"].str.contains("sketch of layers wider than 1,000, its error counted")).to_numpy()
    between = (found["layer_a"].eq("wide") | found["layer_b"].eq("wide")) & (found["value"] < 1)
    np.testing.assert_array_equal(sketched, between)
    assert np.abs(moved[~sketched]).max() < 1e-9 and 1e-6 < np.abs(moved[sketched]).max() < 0.03
    assert (exact["value"].to_numpy()[sketched] > found["ci_low"].to_numpy()[sketched]).all()
    assert (exact["value"].to_numpy()[sketched] < found["ci_high"].to_numpy()[sketched]).all()


def test_a_sketch_has_no_bias(wide, monkeypatch):
    """Over many sketches the mean is the exact value, of HSIC with itself too, which one sketch alone would inflate."""
    X = wide.features("first", "x", "wide")[:200].astype(float)
    X -= X.mean(axis=0)
    exact, own, plain = song_hsic(X @ X.T, X @ X.T), [], []
    for seed in range(40):
        A, B = (CountSketch(3000, width=100, rng=np.random.default_rng([seed, side]))(X) for side in (0, 1))
        own.append(song_hsic(A @ A.T, B @ B.T) / exact)
        plain.append(song_hsic(A @ A.T, A @ A.T) / exact)
    error = np.std(own) / np.sqrt(len(own))
    assert abs(np.mean(own) - 1) < 3 * error < 0.05
    assert np.mean(plain) > 1.02


def test_a_data_set_whose_features_are_too_large_is_gone_through_in_chunks(wide, monkeypatch):
    assert not streamed.is_streamed(wide, "x")
    monkeypatch.setattr(streamed, "MEMORY", 8 * 600 * 600)
    assert streamed.is_streamed(wide, "x") and streamed.bytes_at_once(wide, "first", 600) == 8 * 600 * (600 + 12)


def test_of_very_wide_layers_fewer_images_are_taken(wide, monkeypatch):
    monkeypatch.setattr(sampling, "BYTES", 8 * 3000 * 400)
    monkeypatch.setattr(sampling, "LEAST", 10)
    assert len(sampling.sampled(wide, "probe", seed=0).samples("x")) == 400
    assert set(sampling_table(wide, ("probe",))["n"]) == {400}


def test_memory_does_not_grow_with_the_images(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(streamed, "CHUNK", 500)
    peaks = []
    for n in (4000, 16000):
        X = rng.normal(size=(n, 16)).astype(np.float32)
        made = {(name, "x"): written(tmp_path / str(n), name, {"l": X + place}) for place, name in enumerate("ab")}
        cka_of = StreamedCKA(Stores(made), "x")
        tracemalloc.start()
        for sums in cka_of.passes([("a", "b")]):
            cka_of.add(sums)
            assert not sums.sums  # of one pass after the other, not of all
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert cka_of.estimate(("a", "l"), ("b", "l")).value == pytest.approx(cka(X, X + 1), abs=1e-12)
    assert peaks[1] < 1.2 * peaks[0]


def test_other_statistics_take_a_sample_that_is_the_same_for_all_models(stores, monkeypatch):
    monkeypatch.setitem(sampling.AT_MOST, "probe", ("probe", 300, "probes"))
    few = sampling.sampled(stores, "probe", seed=3)
    assert len(few.samples("x")) == 300 and few.samples("x")["label"].value_counts()["b"] == 100
    again = sampling.sampled(replace(stores, stores=dict(reversed(stores.stores.items()))), "probe", seed=3)
    assert few.samples("x").equals(again.samples("x"))
    assert not few.samples("x").equals(sampling.sampled(stores, "probe", seed=4).samples("x"))
    rows = few.rows["x"]
    np.testing.assert_array_equal(few.features("first", "x", "l4"), stores.features("first", "x", "l4")[rows])
    assert few.samples("x")["id"].tolist() == stores.samples("x")["id"].iloc[rows].tolist()
    assert few.content("first", "x") != stores.content("first", "x")
    table = probe_tables(stores, {}, seed=3)[0]["probe"]
    assert set(table["n_train"] + table["n_test"]) == {300}
    assert few.at_most(10_000, seed=3).rows == {}  # a sample of all, not of the sample


def test_what_is_sampled_is_in_a_table_and_said(stores, monkeypatch):
    assert not len(sampling_table(stores, ("similarity", "probe")))
    monkeypatch.setitem(sampling.AT_MOST, "probe", ("probe", 300, "probes"))
    monkeypatch.setitem(sampling.AT_MOST, "gap", ("gap", 300, "gaps"))
    table = sampling_table(stores, ("similarity", "probe"))
    assert table[["what", "data", "n", "n_total"]].values.tolist() == [["probe", "x", 300, 900]]
    layers = pd.DataFrame({"model": ["first"], "layer": ["l4"], "depth": [0], "role": ["model"], "arm": [None]})
    row = verdicts_table({"layers": layers, "sampling": table}).iloc[0]
    assert verdict_sentence(row).endswith(": probes 300 (table sampling).")


def test_a_process_without_images_changes_no_sum(rng, monkeypatch):
    columns = [("model", layer, "") for layer in "ab"]
    features, block = rng.normal(size=(40, 6)), np.arange(40) % 5
    whole, none = (tiles.TileSums(columns, columns, dict.fromkeys(columns, 3)) for _ in range(2))
    whole.add(features, features, block)
    sizes = np.bincount(block, minlength=tiles.BLOCKS)
    expected, others = list(whole.hsic(sizes)), iter(whole.sums)

    def total(arrays):  # as the library does it, in place
        return [np.add(own, more, out=own) for own, more in zip(arrays, next(others))]

    monkeypatch.setattr(tiles.distributed, "total", total)
    for (columns_of, one), (same, other) in zip(expected, none.hsic(sizes), strict=True):
        assert columns_of == same and one.value == other.value
        np.testing.assert_array_equal(one.without, other.without)
