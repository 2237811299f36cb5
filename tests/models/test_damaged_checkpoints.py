"""Whatever is cut off or flipped in a checkpoint ends in an error that the user can read, in bounded time."""

import argparse
import random
import time
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from featurespace.errors import FeaturespaceError
from featurespace.models import inspect_file, read_manifest, read_tensors

STATE = {"conv.weight": torch.randn(8, 3, 3, 3), "bn.running_mean": torch.randn(8), "half": torch.ones(9).half()}
VALUE = {"state_dict": STATE, "epoch": 3, "args": argparse.Namespace(lr=0.1), "best": np.float64(1), "at": np.arange(3)}


def write(path, kind):
    if kind == "safetensors":
        save_file(STATE, path, metadata={"format": "pt", "order": '["half", "conv.weight", "bn.running_mean"]'})
    else:
        torch.save(VALUE, path, _use_new_zipfile_serialization=kind != "legacy")
    if kind == "uncrc":  # with checksums, what is flipped in the pickle would not be unpickled
        with zipfile.ZipFile(path) as archive:
            return {entry.filename: archive.read(entry) for entry in archive.infolist()}
    return path.read_bytes()


def damaged(kind, content, draw):
    """Return the content with a few bytes flipped, set, cut out or doubled."""
    if kind == "uncrc":
        name = next(name for name in content if name.endswith("data.pkl"))
        return {**content, name: damaged("", content[name], draw)}
    content = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 5])):
        place = draw.randrange(len(content))
        how = draw.randrange(5)
        if how == 0:
            content[place] ^= 1 << draw.randrange(8)
        elif how == 1:
            content[place] = draw.choice([0, 255, draw.randrange(256)])
        elif how == 2:
            del content[place : place + draw.choice([1, 4, 100])]
        elif how == 3:
            content[place:place] = content[place : place + draw.choice([1, 8, 64])]
        else:
            content[place : place + 8] = draw.randbytes(8)
        if not content:
            break
    return bytes(content[: draw.randrange(len(content) + 1)] if draw.random() < 0.1 else content)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["zip", "uncrc", "legacy", "safetensors"])
def test_damaged_checkpoints_are_errors_or_read(tmp_path, kind):
    path = tmp_path / ("x.safetensors" if kind == "safetensors" else "x.pt")
    content, draw = write(path, kind), random.Random(0)
    slowest, refused = 0.0, 0
    for _ in range(400):
        changed = damaged(kind, content, draw)
        if kind == "uncrc":
            with zipfile.ZipFile(path, "w") as archive:
                for name, part in changed.items():
                    archive.writestr(name, part)
        else:
            path.write_bytes(changed)
        start = time.perf_counter()
        try:
            read_manifest(path)
            read_tensors(path)
        except FeaturespaceError:
            refused += 1
        slowest = max(slowest, time.perf_counter() - start)
    assert slowest < 2
    assert refused > 100


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b'{"a": 3}', "is damaged, or this is no safetensors file"),
        (b'{"a": {"data_offsets": [0]}}', "is damaged"),
        (b'{"a": {"data_offsets": ["x", "y"]}}', "is damaged"),
        (b'{"__metadata__": {"format": 3}}', "is damaged"),
        (b'{"__metadata__": []}', "is damaged"),
        (b"[" * 100_000, "is not JSON"),
    ],
)
def test_headers_of_safetensors_that_are_none(tmp_path, header, message):
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"abcd")
    for read in (read_tensors, read_manifest, inspect_file):
        with pytest.raises(FeaturespaceError, match=message):
            read(path)


@pytest.mark.parametrize("order", ["[", "3", "[1, 2]", '["other"]', "[" * 5000])
def test_the_order_of_another_tool_is_passed_over(tmp_path, order):
    save_file(STATE, tmp_path / "x.safetensors", metadata={"order": order})
    assert read_tensors(tmp_path / "x.safetensors").tensors.keys() == STATE.keys()
