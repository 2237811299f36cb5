"""The benchmark of trainings runs, and its floor does the steps that a training does; it measures nothing here."""

import importlib.util
from pathlib import Path

import pytest
import torch

spec = importlib.util.spec_from_file_location("training_benchmark", Path(__file__).with_name("training.py"))
benchmark = importlib.util.module_from_spec(spec)
spec.loader.exec_module(benchmark)
SMALL = {"arch": "test_resnet", "size": 32, "side": 40, "images": 20, "batch": 8, "precision": "fp32"}


def test_it_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "ROUNDS", 1)
    found = benchmark.bench(SMALL, tmp_path, "cpu")
    assert set(found["ratio"]) == {"resident", "none", "disk", "memory"} and found["ratio"]["resident"] == 1
    assert all(value > 0 for value in found["images_per_second"].values())
    assert found["flops"]["per_second"] > 0 and found["flops"]["peak"] is None


def test_the_floor_does_the_steps_of_a_training(tmp_path):
    benchmark.write_images(tmp_path, 8, 40)
    config = benchmark.settings(SMALL, tmp_path, "memory", "cpu")
    training, resident = benchmark.Training(config), benchmark.Resident(config, "cpu")
    rows = training.prepared.batches.order.batch(0)
    pixels = torch.from_numpy(training.prepared.batches.pixels.fetch(rows)).permute(0, 3, 1, 2)
    resident.batch = resident.batch._replace(pixels=pixels)
    training()
    resident()
    for (name, one), other in zip(training.prepared.module.named_parameters(), resident.module.parameters()):
        torch.testing.assert_close(one, other, msg=name)


def test_flops_are_those_of_the_convolutions(tmp_path):
    benchmark.write_images(tmp_path, 8, 40)
    resident = benchmark.Resident(benchmark.settings(SMALL, tmp_path, "none", "cpu"), "cpu")
    forward = []

    def count(module, inputs, output):
        if isinstance(module, torch.nn.Conv2d):
            forward.append(2 * output.numel() * module.weight[0].numel())
        elif isinstance(module, torch.nn.Linear):
            forward.append(2 * output.numel() * module.in_features)

    for module in resident.module.modules():
        module.register_forward_hook(count)
    flops = resident.flops()
    assert flops == pytest.approx(3 * sum(forward), rel=0.15)  # no gradient of pixels; blur and loss beside
