import numpy as np
import pytest
from oracles.stores import stores_of, written

from featurespace.errors import FeaturespaceError
from featurespace.tables.stores import Stores, corresponding_layers


def test_equal_lists_pair_by_name():
    assert corresponding_layers(["a", "b"], ["a", "b"]) == [("a", "a"), ("b", "b")]


@pytest.mark.parametrize(("n_a", "n_b"), [(5, 3), (3, 5), (1, 4), (10, 18), (23, 23)])
def test_other_lists_pair_by_relative_depth(n_a, n_b):
    a, b = [f"a{i}" for i in range(n_a)], [f"b{i}" for i in range(n_b)]
    pairs = corresponding_layers(a, b)
    assert len(pairs) == max(n_a, n_b)
    assert pairs[0] == ("a0", "b0")
    assert pairs[-1] == (a[-1] if n_a > 1 else "a0", b[-1])
    depths = [(int(x[1:]), int(y[1:])) for x, y in pairs]
    assert depths == sorted(depths)
    for x, y in depths:
        assert n_a == 1 or n_b == 1 or abs(x / (n_a - 1) - y / (n_b - 1)) <= 0.5 / (min(n_a, n_b) - 1) + 1e-9


def test_stores_of_other_samples_are_refused(tmp_path, rng):
    X = rng.normal(size=(6, 2)).astype(np.float32)
    stores = {("a", "x"): written(tmp_path, "a", {"l": X}), ("b", "x"): written(tmp_path, "b", {"l": X[:5]})}
    with pytest.raises(
        FeaturespaceError, match="features of 'b' on 'x' belong to other samples .* delete the run's folder"
    ):
        Stores(stores)


def test_the_same_samples_are_taken(tmp_path, rng):
    stores = stores_of(tmp_path, {name: {"l": rng.normal(size=(6, 2))} for name in "ab"})
    assert stores.models == ["a", "b"] and stores.samples("x")["id"].iloc[-1] == "i0000005"
