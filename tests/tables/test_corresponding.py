"""Measures of layers that stand for each other, on stores of few images and of odd features."""

from dataclasses import replace

import numpy as np
import pytest
from oracles.stores import stores_of

from featurespace.metrics import knn_jaccard, mutual_knn, mutual_knn_jackknife
from featurespace.progress import Progress
from featurespace.tables import corresponding
from featurespace.tables import kept as kept_room
from featurespace.tables.corresponding import corresponding_rows
from featurespace.tables.memo import Memo


def rows_of(stores, measures):
    progress, usable = Progress(), {model: stores.layers(model) for model in stores.models}
    rows = list(corresponding_rows(stores, usable, "x", measures=measures, seed=0, progress=progress))
    return rows, progress.messages


def test_few_images_have_fewer_neighbours_and_that_is_said(tmp_path, rng):
    X, Y = rng.normal(size=(2, 8, 3)).astype(np.float32)
    stores = stores_of(tmp_path, {"a": {"l": X}, "b": {"l": Y}})
    rows, said = rows_of(stores, ("mutual_knn", "knn_jaccard"))
    assert said == ["nearest neighbours on 'x' are k = 7, because there are 8 images"]
    assert rows[0]["value"] == mutual_knn(X, Y, k=7) == 1 and rows[1]["value"] == knn_jaccard(X, Y, k=7)
    assert not rows_of(stores, ("procrustes_distance",))[1]


def test_what_has_no_value_is_said_and_the_other_measures_stand(tmp_path, rng):
    X, Y = rng.normal(size=(2, 20, 3))
    X[4] = 0
    stores = stores_of(tmp_path, {"a": {"l": X, "m": Y}, "b": {"l": Y, "m": X + 1}})
    rows, said = rows_of(stores, ("mutual_knn", "procrustes_distance"))
    assert [(row["layer_a"], row["metric"]) for row in rows] == [
        ("l", "procrustes_distance"), ("m", "mutual_knn"), ("m", "procrustes_distance"),
    ]  # fmt: skip
    (message,) = said
    assert message.startswith("no mutual_knn on 'x' for a l and b l: ") and "zero" in message


def test_a_directed_measure_has_a_row_each_way(tmp_path, rng):
    X = rng.normal(size=(40, 4))
    Y = np.c_[X[:, :2], rng.normal(size=(40, 2))]
    rows, _ = rows_of(stores_of(tmp_path, {"a": {"l": X}, "b": {"k": Y[:, :2]}}), ("linear_predictivity",))
    assert [(row["model_a"], row["layer_a"], row["model_b"], row["layer_b"]) for row in rows] == [
        ("a", "l", "b", "k"), ("b", "k", "a", "l"),
    ]  # fmt: skip
    assert rows[0]["value"] == pytest.approx(1, abs=0.01) and rows[1]["value"] < 0.8


def test_neighbours_are_found_once_a_layer_where_memory_allows_and_no_number_depends_on_it(tmp_path, rng, monkeypatch):
    X = rng.normal(size=(4, 30, 5))
    stores = stores_of(tmp_path, {name: {"l": X[i], "m": X[i] ** 2} for i, name in enumerate("abcd")})
    asked = []
    find = corresponding.prepare_neighbours
    monkeypatch.setattr(corresponding, "prepare_neighbours", lambda X, **options: asked.append(1) or find(X, **options))
    kept, _ = rows_of(stores, ("mutual_knn",))
    assert len(kept) == 6 * 2 and len(asked) == 4 * 2
    for row in kept:
        pair = [X["abcd".index(row[f"model_{side}"])] ** (2 if row["layer_a"] == "m" else 1) for side in "ab"]
        alone = mutual_knn_jackknife(*pair, k=10)
        assert (row["value"], row["se"], row["ci_low"]) == (alone.value, alone.se, alone.ci_low)
    monkeypatch.setattr(kept_room, "KEPT_BYTES", 0)
    again, _ = rows_of(stores, ("mutual_knn",))
    assert again == kept and len(asked) == 8 + 2 * 12


def test_a_pair_is_remembered_once_a_measure(tmp_path, rng):
    X = rng.normal(size=(3, 30, 5))
    stores = stores_of(tmp_path, {name: {"l": X[i], "m": X[i] ** 2} for i, name in enumerate("abc")})
    stores = replace(stores, memo=Memo(tmp_path / "statistics"))
    first, _ = rows_of(stores, ("mutual_knn", "procrustes_distance"))
    assert len(list((tmp_path / "statistics").iterdir())) == 3 * 2 and stores.memo.made == 6
    assert rows_of(stores, ("mutual_knn", "procrustes_distance"))[0] == first and stores.memo.recalled == 6
