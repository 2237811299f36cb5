import numpy as np
import pandas as pd
import pytest

from featurespace.data.samples import as_text, make_samples, oddities


def samples(**columns):
    n = len(next(iter(columns.values())))
    return make_samples("x", **{"id": range(n), "path": [f"{index}.png" for index in range(n)], **columns})


@pytest.mark.parametrize(
    ("value", "text"),
    [("a ", "a "), (" ", None), ("", None), (None, None), (np.nan, None), (pd.NA, None), (pd.NaT, None), (1, "1"), (3.0, "3"),
     (np.float32(2.0), "2"), (2.5, "2.5"), (np.inf, "inf"), (True, "True"), (b"a\xff", r"a\xff"), ("a\udcff", r"a\udcff"), ([1], "[1]")],
)  # fmt: skip
def test_every_cell_becomes_text_or_missing(value, text):
    assert as_text(value) == text


@pytest.mark.parametrize(
    ("columns", "notes"),
    [
        ({"label": ["1", "1.0", "01", "2"]}, ["labels that differ in spelling only count as classes of their own: '01' and '1' and '1.0'"]),
        ({"label": ["Cat", "cat ", "dog", None]}, ["labels that differ in spelling only count as classes of their own: 'Cat' and 'cat '"]),
        ({"label": ["nan", "a", "a", "b"]}, ["label 'nan' counts as a class; leave the cell empty where there is no label"]),
        ({"label": list("abca"), "split": ["train", "train", "test", "test"]}, ["labels in one split only: 'b' in train, 'c' in test"]),
        ({"label": list("aabb"), "split": ["train", "val", "train", "val"]}, []),
        ({"label": list("abab"), "split": ["train", "train", "test", "test"]}, []),
        ({"path": list("xxyz")}, ["1 files stand in more than one row, e.g. x"]),
    ],
)  # fmt: skip
def test_what_a_careful_reader_would_ask_about(columns, notes):
    assert oddities(samples(**columns)) == notes
