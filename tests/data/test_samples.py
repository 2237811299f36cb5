import os

import numpy as np
import pandas as pd
import pytest

from featurespace.data.samples import as_text, make_samples, oddities
from featurespace.errors import FeaturespaceError


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
        ({"path": list("xxyz")}, [f"1 file stands in more than one row, e.g. {os.path.realpath('x')}"]),
        ({"path": ["a/x", os.path.abspath("a/x"), "a/b/../x", "a/y"]}, [f"1 file stands in more than one row, e.g. {os.path.realpath('a/x')}"]),
        ({"path": ["a\0/x", "a\0/x", "y"]}, ["1 file stands in more than one row, e.g. a\0/x"]),
        ({"group": ["p", None, "", "q"]}, ["2 of 4 images have no group; each counts as a group of its own"]),
        ({"group": [None, ""]}, []),
        ({"label": ["\xe9t\xe9", "e\u0301te\u0301", "a"]},
         [r"labels that differ in spelling only count as classes of their own: 'e\u0301te\u0301' and '\xe9t\xe9'"]),
        ({"label": ["\xc9t", "e\u0301t", " a", "a"]},
         ["labels that differ in spelling only count as classes of their own: ' a' and 'a', 'e\u0301t' and '\xc9t'"]),
    ],
)  # fmt: skip
def test_what_a_careful_reader_would_ask_about(columns, notes):
    assert oddities(samples(**columns)) == notes


@pytest.mark.parametrize("value", [["a", "b"], np.array(["a"]), ("a",), {"a": 1}])
def test_a_cell_that_holds_a_list_is_an_error(value):
    with pytest.raises(
        FeaturespaceError,
        match="row 2 of column 'label' holds a list or the like; each cell holds one text or number",
    ):
        samples(label=["a", value])
