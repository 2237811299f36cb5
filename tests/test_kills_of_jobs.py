"""Real kills at random moments of extraction, trainings and a study; with the thirty of `test_kills.py`, fifty in all."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

pytestmark = pytest.mark.slow
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}


def started(command):
    return subprocess.Popen(
        [sys.executable, "-m", "featurespace", *map(str, command)], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip


def finished(command):
    process = started(command)
    errors = process.communicate()[1]
    assert process.returncode == 0, errors


def killed(command, out, kills, *, seed):
    """Start a command and kill it at random moments after its folder is there, then let it end."""
    rng, done, longest = np.random.default_rng(seed), 0, 6.0
    while done < kills:
        process = started(command)
        while not out.exists() and process.poll() is None:
            time.sleep(0.01)
        after = rng.uniform(0, longest)
        try:
            errors = process.communicate(timeout=after)[1]
            assert process.returncode == 0, errors
            longest = max(after, 0.05)  # less is left to do
            assert longest > 0.05, "it is finished before it can be killed"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            done += 1
    finished(command)


def same(first, second, pattern, least):
    files = sorted(each.relative_to(first) for each in first.glob(pattern) if each.is_file())
    assert len(files) >= least
    for each in files:
        assert (first / each).read_bytes() == (second / each).read_bytes(), each


def test_seven_kills_of_an_extraction_change_no_bit(tmp_path, two_domains):
    def command(name):
        return ["extract", "a=test_resnet@random", "b=mobilenetv3_small_050@random", "--data", f"bright={two_domains[0]}",
                "--image-size", "128", "--batch-size", "1", "--threads", "1", "--out", tmp_path / name]  # fmt: skip

    finished(command("whole"))
    killed(command("killed"), tmp_path / "killed", 7, seed=1)
    same(tmp_path / "whole", tmp_path / "killed", "features/**/*", 20)


def test_seven_kills_of_a_training_change_no_bit(tmp_path, two_domains):
    def command(name):
        values = {"model": "start=test_resnet@random", "data": f"bright={two_domains[0]}", "out": str(tmp_path / name), "epochs": 30,
                  "image_size": 64, "batch_size": 8, "threads": 1, "loggers": [], "save_minutes": 0, "device": "cpu"}  # fmt: skip
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(values))
        return ["train", "finetune", tmp_path / f"{name}.yaml", "--quiet"]

    finished(command("whole"))
    killed(command("killed"), tmp_path / "killed", 7, seed=2)
    for name in ("predictions.csv", "runs.csv"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes(), name
    weights = [load_file(tmp_path / run / "checkpoint.safetensors") for run in ("whole", "killed")]
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_six_kills_of_a_study_change_no_bit(tmp_path, two_domains):
    def command(name):
        values = {
            "out": str(tmp_path / name),
            "defaults": {"image_size": 32, "batch_size": 8, "loggers": [], "epochs": 10, "threads": 1, "save_minutes": 0, "device": "cpu"},
            "pretrainings": {"scratch": {"model": "test_resnet@random"},
                             "dark": {"train": {"model": "test_resnet", "data": f"dark={two_domains[1]}"}}},
            "tasks": {"levels": {"data": f"bright={two_domains[0]}"}},
            "grid": [{"experiment": "E1", "pretraining": ["scratch", "dark"], "task": "levels", "seed": [0, 1]}],
        }  # fmt: skip
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(values))
        return ["study", tmp_path / f"{name}.yaml", "--quiet"]

    finished(command("whole"))
    killed(command("killed"), tmp_path / "killed", 6, seed=3)
    same(tmp_path / "whole", tmp_path / "killed", "runs.csv", 1)
    same(tmp_path / "whole", tmp_path / "killed", "comparison/tables/*.csv", 2)
