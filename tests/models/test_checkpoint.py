import argparse
import json
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from featurespace.errors import FeaturespaceError
from featurespace.models import read_manifest, read_tensors, write_checkpoint

STATE = {"conv.weight": torch.randn(4, 3, 1, 1), "bn.bias": torch.randn(4)}
MANIFEST = {
    "arch": "test_resnet",
    "num_classes": 2,
    "config": {"lr": 0.1},
    "data_hash": "d",
    "parent": {"hash": "p", "spec": "s"},
    "metrics": {"accuracy": 0.5},
    "featurespace_version": "0.1.0",
    "input_size": [3, 64, 64],
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
}


class Evil:
    def __reduce__(self):
        return (open, ("evil.txt", "w"))


@pytest.mark.parametrize(
    ("value", "layout"),
    [
        (STATE, "torch.save of a state_dict"),
        ({"state_dict": STATE, "epoch": 3}, "under 'state_dict'"),
        ({"model": STATE, "optimizer": {"state": {0: {"exp_avg": torch.ones(9)}}}}, "under 'model'"),
        ({"model": {"state_dict": STATE}}, "under 'model' / 'state_dict'"),
        ({"state": {"network": STATE}}, "under 'state' / 'network'"),
        ({"model_state_dict": STATE, "best": torch.ones(3)}, "under 'model_state_dict'"),
        ({"net": STATE, "args": argparse.Namespace(lr=0.1)}, "under 'net'"),
        ({"model": STATE, "best_acc": np.float64(0.5), "epochs": np.arange(3)[1]}, "under 'model'"),
        ({"weird_name": STATE}, "under 'weird_name'"),
        ({"student": STATE, "teacher": STATE}, "under 'teacher'; 'student' is there too and was not used"),
        ({"state_dict": STATE, "state_dict_ema": STATE}, "under 'state_dict_ema'; 'state_dict' is there too"),
        ({"state_dict": STATE, "pytorch-lightning_version": "2.5", "callbacks": {}}, "Lightning checkpoint"),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_every_layout_is_unwrapped(tmp_path, value, layout, zipped):
    torch.save(value, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    found = read_tensors(tmp_path / "x.pt")
    assert layout in found.layout
    assert list(found.tensors) == list(STATE)
    assert all(torch.equal(found.tensors[name], STATE[name]) for name in STATE)


def test_other_entries_are_listed_and_plain_values_kept(tmp_path):
    torch.save({"state_dict": STATE, "epoch": 3, "optimizer": {}, "note": "x"}, tmp_path / "x.pt")
    found = read_tensors(tmp_path / "x.pt")
    assert found.ignored == ["epoch", "optimizer", "note"]
    assert found.metadata == {"epoch": 3, "note": "x"}


def test_safetensors_in_any_order(tmp_path):
    save_file(STATE, tmp_path / "x.safetensors", metadata={"format": "pt"})
    found = read_tensors(tmp_path / "x.safetensors")
    assert found.layout == "safetensors"
    assert found.metadata == {"format": "pt"}
    assert found.tensors.keys() == STATE.keys()


def test_a_malicious_pickle_is_refused_and_does_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": STATE, "extra": Evil()}, "new.pt")
    torch.save({"state_dict": STATE, "extra": Evil()}, "old.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Evil(), protocol=2))
    for name in ("new.pt", "old.pt", "plain.pkl"):
        with pytest.raises(FeaturespaceError, match=r"(?s)refused.*torch.save\(model.state_dict"):
            read_tensors(name)
    assert not (tmp_path / "evil.txt").exists()


def test_a_whole_module_is_refused_by_name(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "x.pt")
    with pytest.raises(FeaturespaceError, match="torch.nn.modules.linear.Linear.*save weights only"):
        read_tensors(tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"", "x.pt", r"is empty \(0 bytes\)"),
        (b"hello, this is text\n", "x.pt", "is a text file"),
        (b"version https://git-lfs.github.com/spec/v1\noid\n", "x.pt", "git lfs pull"),
        (b"\x00\x01\x02\xff" * 9, "x.pt", "is no checkpoint|cannot be read"),
        (b"\x89HDF\r\n\x1a\n" + b"\x00" * 64, "x.h5", "is no checkpoint|cannot be read"),
        (b"abc", "x.safetensors", "not a safetensors file or was cut off"),
        (b"\x10" + b"\x00" * 7 + b"x" * 20, "x.safetensors", "is not JSON"),
        (b"\x02" + b"\x00" * 7 + b"[]", "x.safetensors", "no table of tensors"),
        (b"\x02" + b"\x00" * 7 + b"{}", "x.safetensors", "holds no tensors"),
    ],
)
def test_what_is_no_checkpoint_is_said_so(tmp_path, content, name, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FeaturespaceError, match=message):
        read_tensors(tmp_path / name)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_a_truncated_file_is_said_to_be_cut_off(tmp_path, zipped, keep):
    torch.save(
        {"a": torch.randn(1000), "b": torch.randn(1000)}, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped
    )
    content = (tmp_path / "x.pt").read_bytes()
    (tmp_path / "x.pt").write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(FeaturespaceError, match="cut off|damaged"):
        read_tensors(tmp_path / "x.pt")


def test_a_truncated_safetensors_file(tmp_path):
    save_file({"a": torch.randn(1000)}, tmp_path / "x.safetensors")
    content = (tmp_path / "x.safetensors").read_bytes()
    (tmp_path / "x.safetensors").write_bytes(content[:-10])
    with pytest.raises(FeaturespaceError, match=f"announces {len(content)} bytes and it has {len(content) - 10}"):
        read_tensors(tmp_path / "x.safetensors")


def test_a_safetensors_file_with_a_strange_header(tmp_path):
    header = b'{"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}'
    (tmp_path / "x.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"abcd")
    with pytest.raises(FeaturespaceError, match="cannot be read as safetensors"):
        read_tensors(tmp_path / "x.safetensors")


def test_directories_and_absent_files(tmp_path):
    with pytest.raises(FeaturespaceError, match="is a directory"):
        read_tensors(tmp_path)
    with pytest.raises(FeaturespaceError, match="does not exist"):
        read_tensors(tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("value", "message"),
    [(torch.ones(3), "holds a Tensor"), ({"epoch": 3}, "holds no weights under a name known here; it holds epoch")],
)
def test_a_file_without_named_tensors(tmp_path, value, message):
    torch.save(value, tmp_path / "x.pt")
    with pytest.raises(FeaturespaceError, match=message):
        read_tensors(tmp_path / "x.pt")


def test_our_own_checkpoint_round_trips_with_its_manifest_inside_and_beside(tmp_path):
    tied = dict(STATE, again=STATE["bn.bias"], half=torch.ones(2, dtype=torch.bfloat16))
    path = write_checkpoint(tmp_path / "x.safetensors", tied, MANIFEST)
    found = read_tensors(path)
    assert list(found.tensors) == list(tied)  # the network's order, though safetensors sorts
    assert all(torch.equal(found.tensors[name], tied[name]) for name in tied)
    assert found.layout == "featurespace checkpoint"
    assert found.metadata["manifest"] == MANIFEST
    assert json.loads((tmp_path / "x.json").read_text()) == MANIFEST
    (tmp_path / "x.json").write_text('{"arch": "stale", "featurespace_version": "0"}')
    assert read_manifest(path) == MANIFEST
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.json", "x.safetensors"]


def test_the_manifest_beside_counts_for_other_formats(tmp_path):
    torch.save(STATE, tmp_path / "x.pt")
    assert read_manifest(tmp_path / "x.pt") is None
    (tmp_path / "x.json").write_text('{"hidden_size": 3}')
    assert read_manifest(tmp_path / "x.pt") is None
    (tmp_path / "x.json").write_text("not json")
    assert read_manifest(tmp_path / "x.pt") is None
    (tmp_path / "x.json").write_text(json.dumps(MANIFEST))
    assert read_manifest(tmp_path / "x.pt") == MANIFEST
    (tmp_path / "x.json").write_text(json.dumps(MANIFEST)[:-3])
    with pytest.raises(FeaturespaceError, match="x.json is not valid JSON.*write ARCH@FILE"):
        read_manifest(tmp_path / "x.pt")


def test_a_checkpoint_is_written_only_whole(tmp_path):
    with pytest.raises(FeaturespaceError, match="must end in .safetensors, e.g. .*x.safetensors"):
        write_checkpoint(tmp_path / "x.pt", STATE, MANIFEST)
    with pytest.raises(FeaturespaceError, match="lacks data_hash, metrics"):
        write_checkpoint(
            tmp_path / "x.safetensors", STATE, {k: v for k, v in MANIFEST.items() if k not in ("data_hash", "metrics")}
        )
    assert not list(tmp_path.iterdir())
