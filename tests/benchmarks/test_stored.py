import importlib.util
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location("stored", Path(__file__).with_name("stored.py"))
stored = importlib.util.module_from_spec(spec)
spec.loader.exec_module(stored)


@pytest.fixture(autouse=True)
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "FILE", tmp_path / "ratios.json")


def test_a_ratio_that_got_clearly_worse_fails(capsys):
    assert stored.check("cka", {"fp32": 1.15, "bf16": 1.3}, write=True) == 0
    assert stored.check("cka", {"fp32": 1.4, "bf16": 0.9, "new": 9.0}, write=False) == 0
    assert stored.check("cka", {"fp32": 1.5, "bf16": 1.3}, write=False) == 1
    assert "cka, fp32: 1.50, 1.30 times the stored 1.15" in capsys.readouterr().out


def test_parts_that_were_not_run_keep_their_ratios():
    stored.check("cka", {"a": 1.0}, write=True)
    stored.check("mmd", {"b": 2.0}, write=True)
    stored.check("cka", {"c": 3.0}, write=True)
    assert stored.check("cka", {"a": 2.0}, write=False) == 1 and stored.check("mmd", {"b": 2.4}, write=False) == 0
