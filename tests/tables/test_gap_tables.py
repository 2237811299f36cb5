"""Gaps where a layer or a distance has none, and between data sets of which one has groups."""

import numpy as np
import pytest
from oracles.stores import stores_of, written

from featurespace.metrics import energy_jackknife, mmd2_jackknife
from featurespace.progress import Progress
from featurespace.tables.gap import gap_tables
from featurespace.tables.stores import Stores


def tables_of(stores, **options):
    progress = Progress()
    tables, rows = gap_tables(stores, seed=0, progress=progress, **options)
    return tables, rows, progress.messages


def test_a_layer_without_a_gap_is_said_and_has_no_difference(tmp_path, rng):
    X, Y = rng.normal(size=(20, 3)), rng.normal(size=(20, 3)) + 1
    still = np.ones((20, 2))
    models = {"m": {"x": {"l": X}, "y": {"l": Y}}, "still": {"x": {"l": still}, "y": {"l": still}}}
    tables, rows, said = tables_of(stores_of(tmp_path, models), distances=("energy_distance",))
    assert set(tables["domain_gap"]["model"]) == {"m"} and rows == []
    assert tables["domain_gap_by_class"].empty  # without labels
    (message,) = said
    assert message.startswith("no domain gap for still l, 'x' to 'y': ")
    row = tables["domain_gap"].set_index("metric").loc["mmd2"]
    assert row["value"] == pytest.approx(mmd2_jackknife(X.astype(np.float32), Y.astype(np.float32)).value)


def test_where_no_layer_has_a_gap_the_tables_are_empty_and_arms_are_not_compared(tmp_path):
    still = {data: {"l": np.ones((20, 2))} for data in "xy"}
    stores = stores_of(tmp_path, {"a": still, "b": still}, arms={"a": "first", "b": "second"})
    tables, rows, said = tables_of(stores)
    assert tables["domain_gap"].empty and rows == [] and len(said) == 1 and "for a l, b l, 'x' to 'y'" in said[0]


def test_a_distance_without_a_value_takes_no_other_with_it(tmp_path, rng):
    """Precision counts 5 neighbours, which five images do not have."""
    X, Y = (rng.normal(size=(5, 2)).astype(np.float32) + place for place in range(2))
    stores = stores_of(tmp_path, {"m": {"x": {"l": X}, "y": {"l": Y}}})
    tables, _, said = tables_of(stores, distances=("precision", "energy_distance"))
    values = tables["domain_gap"].set_index("metric")["value"]
    assert set(values.index) == {"mmd2", "frechet_distance", "frechet_distance_corrected", "energy_distance"}
    assert values["energy_distance"] == pytest.approx(energy_jackknife(X, Y).value)
    (message,) = said
    assert message.startswith("no precision for m l, 'x' to 'y': k is 5; ")


def test_beside_groups_each_image_without_one_is_its_own(tmp_path, rng):
    X, Y = rng.normal(size=(24, 3)).astype(np.float32), rng.normal(size=(10, 3)).astype(np.float32)
    groups = np.repeat(list("abcdefgh"), 3)
    stores = Stores({
        ("m", "x"): written(tmp_path / "x", "m", {"l": X}, groups=groups),
        ("m", "y"): written(tmp_path / "y", "m", {"l": Y}, data="y"),
    })  # fmt: skip
    row = tables_of(stores)[0]["domain_gap"].set_index("metric").loc["mmd2"]
    expected = mmd2_jackknife(X, Y, groups_x=groups, groups_y=np.arange(10))
    assert (row["value"], row["ci_low"]) == pytest.approx((expected.value, expected.ci_low))
    assert (row["unit"], row["n_groups"]) == ("group", 18)
