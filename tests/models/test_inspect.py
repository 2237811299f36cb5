import io
import json
import math

import pytest
import timm
import torch
from rich.console import Console

from featurespace.errors import FeaturespaceError
from featurespace.inspection import inspect_target
from featurespace.models import compare_files, inspect_file, inspect_model, parse_model_spec


def test_a_model_with_its_layers_in_order(tmp_path):
    torch.save(timm.create_model("test_resnet", num_classes=3).state_dict(), tmp_path / "x.pt")
    info = inspect_model(parse_model_spec(f"test_resnet@{tmp_path / 'x.pt'}"), image_size=64)
    names = [row.name for row in info.layers]
    assert info.arch == "test_resnet" and info.match.share_of_tensors == 1
    assert names[-1] == "pooled" and names.index("layer1.0") < names.index("layer1") < names.index("layer2")
    rows = {row.name: row for row in info.layers}
    assert rows["layer1.0"].selected == ("blocks",) and rows["layer1"].selected == ("stages",)
    assert rows["pooled"].selected == ("blocks", "stages") and len(rows["pooled"].shape) == 1
    assert info.parameters == sum(p.numel() for p in timm.create_model("test_resnet", num_classes=0).parameters())


def test_a_network_without_stages_is_listed_all_the_same():
    info = inspect_model(parse_model_spec("crossvit_tiny_240@random"))
    assert {row.name for row in info.layers if "blocks" in row.selected} >= {"blocks.0.fusion.0", "pooled"}
    assert not any("stages" in row.selected for row in info.layers)


def test_a_file_with_its_guess(tmp_path):
    state = {f"net.{k}": v for k, v in timm.create_model("resnet18", num_classes=2).half().state_dict().items()}
    torch.save({"model": state, "epoch": 4, "optimizer": {"lr": 0.1}}, tmp_path / "x.pt")
    info = inspect_file(tmp_path / "x.pt")
    assert info.guesses[0][0] == "resnet18" and info.guesses[0][1] > 0.9
    assert info.dtypes == {"float16": 102, "int64": 20} and len(info.sha256) == 64
    assert info.tensors[0].name == "net.conv1.weight" and info.tensors[0].shape == (64, 3, 7, 7)
    assert info.metadata == {"epoch": 4} and info.ignored == ("epoch", "optimizer") and info.manifest is None


def test_two_files_tensor_by_tensor(tmp_path):
    a = {"same": torch.ones(3), "moved": torch.tensor([3.0, 4.0]), "zero": torch.zeros(2), "gone": torch.ones(1)}
    b = {"same": torch.ones(3), "moved": torch.tensor([3.0, 4.5]), "zero": torch.ones(2), "new": torch.ones(2)}
    a["shaped"], b["shaped"] = torch.ones(2, 3), torch.ones(3, 2)
    torch.save(a, tmp_path / "a.pt")
    torch.save(b, tmp_path / "b.pt")
    rows = {row.name: row for row in compare_files(tmp_path / "a.pt", tmp_path / "b.pt")}
    assert {name: row.status for name, row in rows.items()} == {
        "same": "equal", "moved": "differs", "zero": "differs", "gone": "only_a", "new": "only_b", "shaped": "shape",
    }  # fmt: skip
    assert (rows["moved"].max_abs, rows["moved"].relative) == (0.5, 0.1)
    assert rows["same"].relative == 0 and math.isnan(rows["zero"].relative)
    torch.save({"x": torch.ones(1)}, tmp_path / "c.pt")
    with pytest.raises(FeaturespaceError, match="have no tensor name in common .same, x."):
        compare_files(tmp_path / "a.pt", tmp_path / "c.pt")


def test_an_architecture_alone_is_inspected():
    found, _ = inspect_target("test_resnet")
    assert found["model"]["arch"] == "test_resnet"


def test_names_in_a_file_do_nothing_to_a_terminal(tmp_path):
    odd = "[red]x[/red]\x1b[31m\u202e.weight"
    torch.save({"state_dict": {odd: torch.ones(2, 2)}, "note": "[link=x]\x1b]0;t\x07"}, tmp_path / "x.pt")
    for targets in ([tmp_path / "x.pt"], [tmp_path / "x.pt", tmp_path / "y.pt"]):
        torch.save({odd: torch.zeros(2, 2)}, tmp_path / "y.pt")
        console = Console(file=io.StringIO(), width=240, force_terminal=True, color_system=None)
        console.print(inspect_target(*map(str, targets))[1])
        printed = console.file.getvalue()
        assert "[red]x[/red]\\x1b[31m\\u202e.weight" in printed and "\x07" not in printed
        assert "\x1b" not in printed and "\u202e" not in printed


def test_what_a_file_tells_of_its_training_and_health_is_printed(tmp_path):
    torch.save({"model": timm.create_model("resnet18").state_dict(), "epoch": 4}, tmp_path / "x.pt")
    found, text = inspect_target(str(tmp_path / "x.pt"))
    console = Console(file=io.StringIO(), width=240)
    console.print(text)
    printed = console.file.getvalue()
    assert "certainly resnet18: 100.0% of the tensors fit by name and shape" in printed
    assert "training: epoch 4" in printed and "never trained: normalisations" in printed
    assert found["file"]["training"] == {"epoch": 4} and json.dumps(found)
