import numpy as np
import pytest

from featurespace.training.order import Order


def test_an_epoch_shows_each_image_once_and_every_epoch_in_another_order():
    order = Order([10, 7], 4, seed=3)
    assert order.steps == 4
    epochs = [np.concatenate([order.batch(step) for step in range(first, first + 4)]) for first in (0, 4)]
    for rows in epochs:
        assert len(set(rows.tolist())) == 16 and set(rows.tolist()) <= set(range(17))
    assert epochs[0].tolist() != epochs[1].tolist()
    np.testing.assert_array_equal(order.batch(5), Order([10, 7], 4, seed=3).batch(5))
    assert order.batch(0).tolist() != Order([10, 7], 4, seed=4).batch(0).tolist()


def test_weights_share_every_batch_and_images_of_a_source_are_used_evenly():
    order = Order([5, 100], 8, seed=0, weights=(1, 3))
    rows = [order.batch(step) for step in range(50)]
    counts = np.array([(each < 5).sum() for each in rows])
    assert all(len(each) == 8 for each in rows) and abs(counts - 2).max() <= 1 and counts.sum() == 100
    seen = np.bincount(np.concatenate(rows), minlength=105)
    assert set(seen[:5]) == {20} and set(seen[5:]) == {3}


@pytest.mark.parametrize("weights", [None, (1, 3)])
def test_processes_and_parts_share_the_same_batches(weights):
    whole = Order([20, 30], 12, seed=1, weights=weights, parts=3)
    numbers = [number for step in range(2) for number, _, _ in whole.pieces(step)]
    assert numbers == list(range(6))
    for step in range(3):
        joined = []
        for rank in range(2):
            half = Order([20, 30], 12, seed=1, weights=weights, parts=3)
            half.rank, half.world = rank, 2
            joined.append([rows[own] for _, rows, own in half.pieces(step)])
        np.testing.assert_array_equal(
            np.concatenate([np.concatenate(pair) for pair in zip(*joined)]), whole.batch(step)
        )
