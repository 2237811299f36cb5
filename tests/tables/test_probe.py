import pytest

from featurespace.data.samples import make_samples
from featurespace.progress import Progress
from featurespace.tables.splits import probe_split as _split


class Samples:
    """What a probe asks of stores for its split."""

    def __init__(self, **columns):
        n = len(columns["label"])
        self.table = make_samples("x", id=range(n), path=[str(index) for index in range(n)], **columns)

    def samples(self, data):
        return self.table

    def column(self, data, name):
        values = self.table[name]
        return None if values.isna().all() else values.to_numpy(dtype=str, na_value="")


@pytest.mark.parametrize(
    ("more_labels", "more_splits", "said"),
    [
        ("aabb  ", ["val"] * 4 + ["train", "test"], "4 images of split val and 2 without label take no part"),
        ("a b", [None, "val", None], "2 images without split and 1 without label take no part"),
        ("aa", ["val", None], "1 image of split val and 1 without split take no part"),
        (" ", ["val"], "1 image without label takes no part"),
        ("", [], None),
    ],
)
def test_images_that_take_no_part_are_counted(more_labels, more_splits, said):
    labels = [*"aabbab", *(each.strip() for each in more_labels)]
    splits = ["train"] * 4 + ["test"] * 2 + more_splits
    progress = Progress()
    split = _split(Samples(label=labels, split=splits), "x", seed=0, progress=progress)
    assert len(split.train) == 4 and len(split.test) == 2
    found = [each for each in progress.messages if "no part" in each]
    assert found == ([f"probe on 'x': {said}"] if said else [])


def test_without_a_split_column_only_labels_count():
    progress = Progress()
    _split(Samples(label=[*"aabbaabb", ""]), "x", seed=0, progress=progress)
    assert progress.messages[0] == "probe on 'x': 1 image without label takes no part"
