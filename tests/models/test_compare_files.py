import re

import pytest
import timm
import torch

from featurespace.inspection import inspect_target
from featurespace.models.compare import blocks, compare_files, verdict


@pytest.fixture
def state():
    torch.manual_seed(0)
    return timm.create_model("test_resnet", num_classes=4).state_dict()


def written(tmp_path, first, second):
    paths = str(tmp_path / "a.pt"), str(tmp_path / "b.pt")
    torch.save(first, paths[0])
    torch.save(second, paths[1])
    return paths


def moved(state, scale, names=""):
    torch.manual_seed(1)
    return {
        name: value + scale * value.abs().mean() * torch.randn_like(value)
        if value.is_floating_point() and name.startswith(names)
        else value
        for name, value in state.items()
    }


def test_a_file_of_lightning_is_compared_with_a_plain_one(tmp_path, state):
    wrapped = {f"model._orig_mod.{name}": value for name, value in moved(state, 0.01).items()}
    rows = compare_files(*written(tmp_path, state, {"state_dict": wrapped, "pytorch-lightning_version": "2.5"}))
    assert {row.name for row in rows} == set(state) and not any(row.status.startswith("only") for row in rows)


def test_the_largest_change_comes_first_and_blocks_are_grouped(tmp_path, state):
    other = moved(moved(state, 0.01, "layer1."), 0.3, "layer4.")
    rows = compare_files(*written(tmp_path, state, other))
    relative = [row.relative for row in rows if row.relative == row.relative]
    assert relative == sorted(relative, reverse=True) and rows[0].name.startswith("layer4.")
    grouped = {block.block: block for block in blocks(rows)}
    assert next(iter(grouped)).startswith("layer4.") and grouped["layer2.0"].equal == grouped["layer2.0"].tensors
    assert sum(block.tensors for block in grouped.values()) == len(state)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda state: dict(state), "the same encoder"),
        (lambda state: {**state, "fc.weight": torch.zeros(9, 9)}, "the same encoder"),
        (lambda state: moved(state, 0.05), "probably the first trained further"),
        (lambda state: moved(state, 0.05, "layer4."), r"the first trained further.*equal bit for bit \(frozen\)"),
        (lambda state: moved(state, 5), "trained independently"),
        (lambda state: {k: v for k, v in state.items() if "layer1" not in k}, "not the same architecture"),
    ],
)
def test_what_the_second_file_is(tmp_path, state, change, sentence):
    assert re.search(sentence, verdict(compare_files(*written(tmp_path, state, change(state)))))


def test_independent_trainings_are_not_taken_for_finetuned(tmp_path):
    states = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        states.append(timm.create_model("test_vit").state_dict())
    assert "trained independently" in verdict(compare_files(*written(tmp_path, *states)))


def test_the_command_tells_it_all(tmp_path, state):
    values, text = inspect_target(*written(tmp_path, state, moved(state, 0.05)))
    assert values["verdict"].startswith("the second is probably") and values["blocks"][0]["tensors"]
    assert len(values["differences"]) == len(state) and text.renderables[1] == values["verdict"]
