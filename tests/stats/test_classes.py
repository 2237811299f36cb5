import numpy as np
import pytest

from featurespace.stats import per_class


def shift(X, Y):
    return float(Y.mean() - X.mean())


def test_each_class_sees_its_own_rows_and_groups(rng):
    X, Y = rng.standard_normal((20, 2)), rng.standard_normal((15, 2))
    of_x, of_y = rng.integers(0, 3, 20), rng.integers(0, 3, 15)
    found = per_class(shift, X, Y, of_x, of_y)
    assert found.values == {c: shift(X[of_x == c], Y[of_y == c]) for c in range(3)} and not found.left_out
    assert found.counts == {c: ((of_x == c).sum(), (of_y == c).sum()) for c in range(3)}
    gx, gy = np.arange(20) // 2, np.arange(15) // 2
    seen = per_class(lambda X, Y, groups_x, groups_y: (groups_x, groups_y), X, Y, of_x, of_y, groups_x=gx, groups_y=gy)
    for c in range(3):
        np.testing.assert_array_equal(seen.values[c][0], gx[of_x == c])
        np.testing.assert_array_equal(seen.values[c][1], gy[of_y == c])


def test_a_change_of_class_mix_is_no_gap_within_classes(rng):
    of_x, of_y = np.repeat([0, 1], [90, 10]), np.repeat([0, 1], [10, 90])
    X, Y = (5.0 * each[:, None] + 0.1 * rng.standard_normal((100, 1)) for each in (of_x, of_y))
    assert shift(X, Y) > 3
    assert max(abs(v) for v in per_class(shift, X, Y, of_x, of_y).values.values()) < 0.2


def test_tensors_and_lists(rng):
    import torch

    X, Y = rng.standard_normal((6, 2)), rng.standard_normal((4, 2))
    expected = per_class(shift, X, Y, list("aabbbb"), list("abab")).values
    assert per_class(shift, X.tolist(), Y.tolist(), list("aabbbb"), list("abab")).values == expected
    found = per_class(shift, torch.from_numpy(X), torch.from_numpy(Y), list("aabbbb"), list("abab")).values
    assert found == pytest.approx(expected)


def test_classes_left_out_have_a_reason():
    def picky(X, Y):
        if X[0, 0] == 3:
            raise ValueError("it is constant")
        return 1.0

    X, labels = np.array([[1.0], [1], [2], [3], [3], [4], [4]]), list("aabccdd")
    found = per_class(picky, X, X[:-2], labels, labels[:-2])
    assert found.values == {"a": 1.0} and found.counts == {"a": (2, 2)}
    assert found.left_out == {
        "b": "1 samples of X and 1 of Y, at least 2 each needed", "c": "it is constant", "d": "not in Y",
    }  # fmt: skip


@pytest.mark.parametrize(
    "change, message",
    [
        ({"labels_x": ["a"] * 3}, r"labels of X have shape \(3,\); it needs one class for each of the 4"),
        ({"labels_y": ["a", None, "b", "b"]}, "labels of Y has 1 missing, the first in row 1"),
        ({"labels_y": [1.0, 1.0, 1.0, np.nan]}, "missing, the first in row 3"),
        ({"groups_x": list("aabb")}, "groups of only one sample"),
        ({"groups_x": list("aab"), "groups_y": list("aabb")}, "groups has shape"),
        ({"least": 0}, "least is 0"),
    ],
)
def test_errors_name_the_reason(change, message):
    given = {"X": np.ones((4, 1)), "Y": np.ones((4, 1)), "labels_x": list("aabb"), "labels_y": list("aabb")}
    with pytest.raises(ValueError, match=message):
        per_class(shift, **given | change)
