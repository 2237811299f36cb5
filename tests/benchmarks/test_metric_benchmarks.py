"""The benchmark of metrics runs, and what it times is right; it measures nothing here."""

import importlib.util
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location("metric_benchmarks", Path(__file__).with_name("metrics.py"))
benchmarks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(benchmarks)
SMALL = {"N": 60, "D": 10, "CHUNK": 20, "CHUNKS": 20, "WIDTH": 6, "TRAIN": 200, "TEST": 50, "CLASSES": 3}


@pytest.mark.parametrize("part, most", [("cka", 1e-9), ("streaming", 1e-9), ("probe", 1e-3)])
def test_what_is_timed_is_exact(monkeypatch, part, most):
    for name, value in SMALL.items():
        monkeypatch.setattr(benchmarks, name, value)
    for tool, run in benchmarks.PARTS[part].items():
        row = run()
        assert row["seconds"] > 0 and row["note"]
        if tool == "featurespace":
            assert row["error"] < most


def test_distances_that_are_timed_agree(rng):
    X, Y = benchmarks.gaussians(100, 5)
    values = [
        function(X, Y)
        for function in (benchmarks.frechet_distance, benchmarks.root_frechet, benchmarks.nuclear_frechet)
    ]
    assert values == pytest.approx([values[0]] * 3, rel=1e-9)
    X, Y = rng.standard_normal((30, 3)), rng.standard_normal((25, 3))
    found = benchmarks.mmd2_permutation(X, Y, rng=rng, permutations=9)
    assert benchmarks.loop_mmd(X, Y, 3)[0] == pytest.approx(found.value)
