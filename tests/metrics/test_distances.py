"""The one room for distances: exact where products cancel."""

import numpy as np
import pytest
import torch

from featurespace.metrics import distances as room
from featurespace.metrics import places
from featurespace.metrics.distances import distances, squared_distances


def exact(A, B):
    """Return squared distances from differences, summed without rounding to speak of."""
    return ((A[:, None].astype(np.longdouble) - B.astype(np.longdouble)) ** 2).sum(axis=2)


def cases():
    rng = np.random.default_rng(0)
    plain = rng.standard_normal((40, 6))
    clusters = plain * 1e-6 + np.repeat(rng.standard_normal((4, 6)), 10, axis=0)
    return {
        "plain": plain,
        "clusters": clusters,
        "one far": np.r_[plain, plain[:1] + 1e5],
        "offset float32": np.float32(np.round(plain * 256) / 256 + 1000).astype(float),
        "1e-150": plain * 1e-150,
        "1e150": plain * 1e150,
        "grid": rng.integers(0, 3, (40, 4)).astype(float),
    }


@pytest.mark.parametrize("name", cases())
def test_distances_are_exact(name):
    X = cases()[name]
    Z = X - X.mean(axis=0)
    found, truth = distances(Z, Z), np.sqrt(exact(Z, Z)).astype(float)
    largest = np.sqrt((Z.astype(np.longdouble) ** 2).sum(axis=1).max())
    np.testing.assert_allclose(found, truth, rtol=0, atol=float(1e-13 * largest))
    assert not np.diag(found).any()


@pytest.mark.parametrize("name", cases())
def test_equal_rows_are_at_zero_and_others_are_not(name):
    X = cases()[name]
    X = np.r_[X, X[:3]]
    Z = X - X.mean(axis=0)
    equal = (Z[:, None] == Z).all(axis=2)
    assert ((squared_distances(Z, Z) == 0) == equal).all()


def test_a_block_is_that_part_of_the_whole(monkeypatch):
    Z = cases()["clusters"]
    whole = squared_distances(Z, Z)
    np.testing.assert_allclose(squared_distances(Z[5:9], Z), whole[5:9], rtol=1e-9)
    np.testing.assert_allclose(whole, whole.T, rtol=1e-9)
    blocks = list(room.upper_rows(Z))
    assert len(blocks) == 1 and (blocks[0][2] == whole).all()
    monkeypatch.setattr(room, "ROWS", 7)
    for start, stop, block in room.upper_rows(Z):
        np.testing.assert_allclose(block, whole[start:stop, start:], rtol=1e-9)


@pytest.mark.parametrize("name", cases())
def test_distances_of_tensors(monkeypatch, name):
    monkeypatch.setattr(places, "DEVICES", ("cpu",))
    Z = cases()[name]
    Z = Z - Z.mean(axis=0)
    found = squared_distances(torch.from_numpy(Z), torch.from_numpy(Z[:9]))
    np.testing.assert_allclose(found.numpy(), squared_distances(Z, Z[:9]), rtol=1e-9)
