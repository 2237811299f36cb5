import numpy as np
import pytest

from featurespace.tables import memo as room
from featurespace.tables.memo import Memo, Result

RESULT = Result([{"value": 0.1 + 0.2, "ci_low": float("nan"), "n": np.int64(3), "text": "ä\n"}], {"x": np.arange(3.0)})


def never():
    pytest.fail("computed again")


def test_what_was_made_is_recalled_to_the_last_bit(tmp_path):
    first = Memo(tmp_path)
    first.recall("probe", {"a": 1}, lambda: RESULT)
    found = Memo(tmp_path).recall("probe", {"a": 1}, never)
    assert found.rows[0]["value"] == 0.1 + 0.2 and np.isnan(found.rows[0]["ci_low"]) and found.rows[0]["text"] == "ä\n"
    assert found.arrays["x"].tolist() == [0, 1, 2] and first.made == 1


def test_another_key_kind_or_code_is_made_anew(tmp_path, monkeypatch):
    Memo(tmp_path).recall("probe", {"a": 1}, lambda: RESULT)
    memo = Memo(tmp_path)
    assert memo.find("probe", {"a": 2}) is None and memo.find("gap", {"a": 1}) is None
    monkeypatch.setattr(room, "_code", lambda: "changed")
    assert memo.find("probe", {"a": 1}) is None


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 half a file", None])
def test_a_damaged_file_is_as_none(tmp_path, damage):
    Memo(tmp_path).recall("probe", {}, lambda: RESULT)
    file = next(tmp_path.iterdir())
    file.write_bytes(file.read_bytes()[:200] if damage is None else damage)
    assert Memo(tmp_path).find("probe", {}) is None
    assert Memo(tmp_path).recall("probe", {}, lambda: RESULT).rows


def test_a_file_in_the_place_of_another_is_as_none(tmp_path):
    memo = Memo(tmp_path)
    memo.recall("probe", {"a": 1}, lambda: RESULT)
    memo.recall("probe", {"a": 2}, lambda: RESULT)
    first, second = tmp_path.iterdir()
    first.write_bytes(second.read_bytes())
    found = [memo.find("probe", {"a": a}) for a in (1, 2)]
    assert sorted(result is None for result in found) == [False, True]


def test_results_that_nobody_asks_for_are_forgotten_by_kind(tmp_path):
    memo = Memo(tmp_path)
    for kind in ("probe", "gap"):
        for a in (1, 2):
            memo.recall(kind, {"a": a}, lambda: RESULT)
    again = Memo(tmp_path)
    again.find("probe", {"a": 1})
    again.forget_unused({"probe"})
    assert sorted(file.name.split("-")[0] for file in tmp_path.iterdir()) == ["gap", "gap", "probe"]


def test_without_a_folder_nothing_is_remembered():
    memo = Memo()
    assert memo.recall("probe", {}, lambda: RESULT).rows and memo.find("probe", {}) is None
    memo.forget_unused({"probe"})
