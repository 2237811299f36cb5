import numpy as np
import pandas as pd
import pytest

from featurespace.data.columns import read_table
from featurespace.spreadsheets import guarded, unguarded

TEXTS = [
    "=1+1",
    "+x",
    "-x",
    "@SUM(A1)",
    "\tx",
    "\rx",
    "'=x",
    "''-x",
    "'plain'",
    "plain",
    "-1",
    "+2.5",
    "1e-3",
    "",
    "-",
    "a=b",
    "-inf",
]
FORMULAS = ("=", "+", "-", "@", "\t", "\r")


@pytest.mark.parametrize("dtype", [object, "string", "str"])
def test_formulas_are_marked_and_come_back(dtype):
    table = pd.DataFrame({"text": pd.Series(TEXTS, dtype=dtype), "number": np.arange(len(TEXTS)) - 3.5})
    marked = guarded(table)
    for before, after in zip(table["text"], marked["text"]):
        assert not after.startswith(FORMULAS) or after == before and np.isreal(float(after))
    assert marked["number"].equals(table["number"])
    assert unguarded(marked)["text"].tolist() == table["text"].tolist()


def test_missing_values_and_tables_without_formulas_stay():
    table = pd.DataFrame({"text": ["a", None], "flag": [True, False], "day": pd.to_datetime(["2026-01-02"] * 2)})
    assert guarded(table) is table
    assert guarded(pd.DataFrame({"text": ["=a", None]}))["text"].isna().tolist() == [False, True]


def test_a_csv_read_again_holds_the_text_itself(tmp_path):
    table = pd.DataFrame({"id": [text for text in TEXTS if text], "value": 1.5})
    guarded(table).to_csv(tmp_path / "x.csv", index=False, quoting=2)
    assert read_table(tmp_path / "x.csv")["id"].tolist() == table["id"].tolist()


def test_names_that_look_like_formulas_pass_through_a_runs_table(tmp_path):
    from featurespace.results.rows import read_runs
    from featurespace.training.runs import append_rows
    from featurespace.training.settings import FinetuneConfig

    file = tmp_path / "runs.csv"
    for run in ("0", "1"):
        config = FinetuneConfig(
            model="test_resnet", out=tmp_path, data="x=y", pretraining="=HYPERLINK(1)", run=run, runs=file, batch_size=8
        )
        append_rows(file, config, "start", "x", {"accuracy": 0.5})
    assert file.read_text().count("'=HYPERLINK(1)") == 2
    assert set(read_runs([file])["pretraining"]) == {"=HYPERLINK(1)"}
