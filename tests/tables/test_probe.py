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


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"label": ["", ""]}, "its images have no labels (class folders, or a column 'label')"),
        ({"label": ["a", "a", ""]}, "all labels are 'a'; a probe needs two classes"),
        (
            {"label": [*"abab"], "split": ["train"] * 4},
            "the split column leaves 4 labelled training and 0 labelled test",
        ),
        (
            {"label": [*"aaabab"], "split": ["train"] * 4 + ["test"] * 2},
            "1 class has 2 training images or more, and 1 test image is of those; a probe needs two such classes",
        ),
        (
            {"label": [*"aabbcc"], "split": ["train"] * 4 + ["test"] * 2},
            "2 classes have 2 training images or more, and 0 test images are of those",
        ),
    ],
)
def test_why_there_is_no_probe(columns, said):
    progress = Progress()
    assert _split(Samples(**columns), "x", seed=0, progress=progress) is None
    assert progress.messages[-1].startswith(f"no probe on 'x': {said}")


def test_classes_of_one_training_image_are_left_out_and_said():
    progress = Progress()
    columns = {"label": [*"aabbc", *"abc"], "split": ["train"] * 5 + ["test"] * 3}
    split = _split(Samples(**columns), "x", seed=0, progress=progress)
    assert split.train.tolist() == [0, 1, 2, 3] and split.test.tolist() == [5, 6]
    assert "probe on 'x': 2 images of 1 class with fewer than 2 training images left out (c)" in progress.messages
