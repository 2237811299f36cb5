"""The benchmark itself runs, and what it times is right; it measures nothing here."""

import importlib.util
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location("speed", Path(__file__).with_name("speed.py"))
speed = importlib.util.module_from_spec(spec)
spec.loader.exec_module(speed)


@pytest.mark.slow
def test_the_benchmark_of_cka_is_exact(tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "IMAGES", 96)
    monkeypatch.setattr(speed, "ROUNDS", 1)
    monkeypatch.setattr(speed, "peers", lambda *arguments: {})
    results = speed.bench_cka(tmp_path)
    for precision in ("fp32", "bf16"):
        assert float(results[f"{precision} {speed.OURS}"]["error"]) < 1e-9
