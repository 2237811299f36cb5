"""The benchmark of metrics runs, and what it times is right; it measures nothing here."""

import importlib.util
from pathlib import Path

spec = importlib.util.spec_from_file_location("metric_benchmarks", Path(__file__).with_name("metrics.py"))
benchmarks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(benchmarks)


def test_the_linear_probe_of_the_benchmark_is_exact(monkeypatch, capsys):
    for name, value in {"TRAIN": 200, "TEST": 50, "WIDTH": 10, "CLASSES": 3, "REPEATS": 1}.items():
        monkeypatch.setattr(benchmarks, name, value)
    benchmarks.PARTS["linear_probe"]()
    ours, theirs = capsys.readouterr().out.splitlines()
    assert "featurespace" in ours and "scikit-learn" in theirs
    assert float(ours.split("|")[5].split()[0]) < 1e-3
