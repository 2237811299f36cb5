import numpy as np
import pandas as pd
import pytest

from featurespace.data.samples import make_samples
from featurespace.data.splits import stratified_rows, train_test_rows
from featurespace.errors import FeaturespaceError


def samples(labels, groups=None, split=None):
    return make_samples(
        "x", id=[str(i) for i in range(len(labels))], path=[None] * len(labels), label=labels, group=groups, split=split
    )


def test_a_given_split_is_used(rng):
    train, test, how = train_test_rows(samples(list("abab"), split=["train", "train", "test", "val"]), rng=rng)
    assert train.tolist() == [0, 1] and test.tolist() == [2] and how == "split column (test is the test)"


def test_val_is_the_test_only_where_there_is_no_test(rng):
    _, test, how = train_test_rows(samples(list("abab"), split=["train", "train", "val", "val"]), rng=rng)
    assert test.tolist() == [2, 3] and "val is the test" in how


def test_no_group_is_on_both_sides_and_every_class_in_both(rng):
    labels = np.repeat(["a", "b", "c"], 60)
    groups = [f"g{index // 5}" for index in range(180)]
    table = samples(labels.tolist(), groups)
    train, test, _ = train_test_rows(table, rng=rng)
    assert not set(table["group"].iloc[train]) & set(table["group"].iloc[test])
    assert sorted(np.r_[train, test]) == list(range(180))
    assert set(labels[train]) == set(labels[test]) == {"a", "b", "c"}
    assert 0.2 < len(test) / 180 < 0.4


def test_unlabelled_samples_take_no_part(rng):
    train, test, _ = train_test_rows(samples(["a", None, "b", "a", "b", None]), rng=rng)
    assert 1 not in [*train, *test] and 5 not in [*train, *test]


def test_the_draw_follows_the_seed():
    table = samples(list("ab") * 50)
    draws = [train_test_rows(table, rng=np.random.default_rng(seed))[1].tolist() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_errors(rng):
    with pytest.raises(FeaturespaceError, match="no class has two groups"):
        train_test_rows(samples(["a", "b"], groups=["p", "q"]), rng=rng)
    with pytest.raises(FeaturespaceError, match="leaves 2 labelled training and 0 labelled test samples"):
        train_test_rows(samples(["a", "b"], split=["train", "train"]), rng=rng)


@pytest.mark.parametrize("limit", [1, 7, 30, 99])
def test_a_limit_is_in_proportion(rng, limit):
    table = samples(["a"] * 60 + ["b"] * 30 + ["c"] * 10)
    rows = stratified_rows(table, limit, rng=rng)
    assert len(rows) == limit and (np.diff(rows) > 0).all()
    counts = table["label"].iloc[rows].value_counts().reindex(["a", "b", "c"], fill_value=0)
    assert np.abs(counts.to_numpy() - limit * np.array([0.6, 0.3, 0.1])).max() <= 1.5
    assert isinstance(table, pd.DataFrame)


def test_a_group_counts_under_its_most_frequent_label_and_of_equals_under_the_first(rng):
    labels = rng.choice(["a", "b", "c"], 400).tolist()
    groups = rng.integers(0, 60, 400).astype(str).tolist()
    members = {}
    for group in sorted(set(groups)):
        own = [label for label, each in zip(labels, groups) if each == group]
        members.setdefault(max(sorted(set(own)), key=own.count), []).append(group)
    own_rng, test = np.random.default_rng(5), set()
    for label in sorted(members):
        test |= set(own_rng.permutation(members[label])[: round(0.3 * len(members[label]))].tolist())
    rows = train_test_rows(samples(labels, groups), rng=np.random.default_rng(5))[1]
    assert rows.tolist() == [row for row, group in enumerate(groups) if group in test]
