"""Memory that runs out: said so, taken for no damage of a file and no fault of the program, and nothing is lost."""

import re
import subprocess
import sys

import nibabel
import numpy as np
import pandas as pd
import pyarrow.parquet
import pydicom
import pytest
import timm
import torch
from data.medical import write_series
from oracles.runs import contents
from PIL import Image

import featurespace as fs
from featurespace import cli, memory
from featurespace.data import dicom_pixels, nifti
from featurespace.data.columns import read_table
from featurespace.data.dicom import read_frames
from featurespace.data.images import read_image
from featurespace.data.nifti import nifti_scans
from featurespace.data.scans import NotUsed
from featurespace.data.specs import open_data
from featurespace.data.volume_index import read_index
from featurespace.data.volume_masks import volume_masks
from featurespace.data.volumes import read_volume
from featurespace.data.windows import VolumeSettings
from featurespace.errors import FeaturespaceError
from featurespace.features.extract import input_batches
from featurespace.models import trace
from featurespace.models.load import load_model
from featurespace.models.networks import create_network
from featurespace.models.specs import parse_model_specs
from featurespace.models.unpickling import load_pickle
from featurespace.tables.folder import Tables

resource = pytest.importorskip("resource", reason="not on Windows")


def full(*arguments, **options):
    raise MemoryError("Unable to allocate 1 GiB")


@pytest.mark.parametrize(
    ("error", "expected"),
    [(MemoryError(), True), (OSError(12, "Cannot allocate memory"), True), (torch.OutOfMemoryError("CUDA out of memory"), True),
     (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True), (RuntimeError("can't start new thread"), True),
     (ImportError("libx.so: failed to map segment from shared object"), True),
     (ValueError("a shape"), False), (OSError(28, "No space left on device"), False)],
)  # fmt: skip
def test_what_says_that_memory_ran_out(error, expected):
    assert memory.out_of_memory(error) is expected
    outer = FeaturespaceError("outer")
    outer.__cause__ = error
    assert memory.out_of_memory(outer) is expected
    error.__context__ = outer  # a circle ends
    assert memory.out_of_memory(outer) is expected


def readers(folder):
    """What is read -> the function that has no memory, and how it is read."""
    Image.new("L", (8, 8)).save(folder / "a.png")
    torch.save({"x": torch.ones(2)}, folder / "a.pth")
    pd.DataFrame({"path": ["a.png"]}).to_csv(folder / "a.csv", index=False)
    pd.DataFrame({"a": [1]}).to_parquet(folder / "t.parquet")
    np.savez(folder / "a.npz", images=np.zeros((2, 8, 8), np.uint8))
    voxels = np.arange(64, dtype=np.int16).reshape(4, 4, 4)
    for name in ("v.nii", "volumes/v.nii", "masks/v.nii"):
        (folder / name).parent.mkdir(exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), folder / name)
    (folder / "filled.yaml").write_text("path: volumes\nfilled: 0.1\n")
    (folder / "masked.yaml").write_text("path: volumes\nmasks: masks\n")
    write_series(folder / "series")
    frame = str(next((folder / "series").iterdir()))
    fs.index(f"x={folder / 'series'}", folder / "i.parquet")
    masked = open_data(f"x={folder / 'masked.yaml'}")
    return {
        "a.png": (Image, "open", lambda: read_image(folder / "a.png")),
        "a.pth": (torch, "load", lambda: load_pickle(folder / "a.pth")),
        "a.csv": (pd, "read_csv", lambda: read_table(folder / "a.csv")),
        "a.npz": (np, "load", lambda: open_data(f"x={folder / 'a.npz'}")),
        "t.parquet": (pd, "read_parquet", lambda: Tables(folder)["t"]),
        "i.parquet": (
            pyarrow.parquet,
            "read_table",
            lambda: read_index("x", VolumeSettings(path=str(folder / "i.parquet"))),
        ),
        "v.nii": (nibabel, "load", lambda: nifti_scans(str(folder), "v.nii")),
        "volume": (nifti.NiftiPixels, "__call__", lambda: read_volume(folder / "v.nii")),
        "empty slices": (nifti.NiftiPixels, "__call__", lambda: open_data(f"x={folder / 'filled.yaml'}")),
        "mask": (nifti.NiftiPixels, "__call__", lambda: volume_masks(masked.images, masked.source).numbers(0)),
        ".dcm": (pydicom, "dcmread", lambda: read_frames(frame)),
        "slice": (dicom_pixels, "frame_values", lambda: open_data(f"x={folder / 'series'}").image(0)),
        "test_resnet": (timm, "create_model", lambda: create_network("test_resnet")),
    }


READERS = ["a.png", "a.pth", "a.csv", "a.npz", "t.parquet", "i.parquet", "v.nii", "volume", "empty slices", "mask", ".dcm", "slice",
           "test_resnet"]  # fmt: skip


@pytest.mark.parametrize("name", READERS)
def test_a_file_is_at_fault_where_there_is_memory_and_not_where_there_is_none(tmp_path, monkeypatch, name):
    known = readers(tmp_path)
    assert list(known) == READERS
    owner, function, read = known[name]
    read()
    monkeypatch.setattr(owner, function, full)
    with pytest.raises((FeaturespaceError, NotUsed)):
        read()
    monkeypatch.setattr(memory, "is_short", lambda: True)
    with pytest.raises(MemoryError, match=r"Unable to allocate 1 GiB while [^()]*$") as caught:
        read()
    assert str(caught.value).count("while") == 1


def test_images_are_not_left_out_for_want_of_memory(tmp_path, monkeypatch):
    for number in range(3):
        Image.new("L", (8, 8), number).save(tmp_path / f"{number}.png")
    data = open_data(f"x={tmp_path}")
    model = load_model(parse_model_specs(["m=test_resnet@random"])[0], image_size=32)
    monkeypatch.setattr(Image, "open", full)
    (batch,) = input_batches(data, model.preprocessing, batch_size=3, on_bad_image="skip")
    assert len(batch[2]) == 3
    monkeypatch.setattr(memory, "is_short", lambda: True)
    with pytest.raises(MemoryError):
        list(input_batches(data, model.preprocessing, batch_size=3, on_bad_image="skip"))


def test_the_command_line_says_what_to_do(monkeypatch, capsys):
    monkeypatch.setattr(cli, "app", full)
    with pytest.raises(SystemExit) as end:
        cli.main()
    told = capsys.readouterr().err
    assert end.value.code == 2 and "bug" not in told
    assert (
        told.startswith("error: out of memory (Unable to allocate 1 GiB); what is finished is kept")
        and "--batch-size" in told
    )


def test_memory_is_short_under_a_limit():
    code = ("import resource; from featurespace import memory; assert not memory.is_short()\n"
            "resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28)); assert memory.is_short()")  # fmt: skip
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


MEASURED = """
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_module("featurespace", run_name="__main__")
finally:
    print("PEAK", open("/proc/self/status").read().split("VmPeak:")[1].split()[0])
"""


@pytest.mark.slow
def test_any_limit_of_memory_is_told_and_without_it_the_same_bits_come(tmp_path, two_domains, checkpoints):
    """From what libraries and networks take to nearly enough, on one directory."""

    def command(out):
        return ["analyze", f"a=test_resnet@{checkpoints[0]}", f"b=test_resnet@{checkpoints[1]}", "--data", f"bright={two_domains[0]}",
                "--image-size", "224", "--batch-size", "72", "--threads", "1", "--only", "similarity,probe",
                "--out", str(tmp_path / out)]  # fmt: skip

    def peak(*options):
        python = [sys.executable, "-c", MEASURED, "featurespace", *command("whole"), *options]
        found = subprocess.run(python, capture_output=True, text=True)
        assert found.returncode == 0, found.stderr
        return 1024 * int(re.search(r"PEAK (\d+)", found.stdout)[1])

    def limited(size):
        resource.setrlimit(resource.RLIMIT_AS, (size, size))

    ended = []
    for size in np.linspace(peak("--dry-run"), peak() - (1 << 20), 16).astype(int).tolist():
        process = subprocess.run(
            [sys.executable, "-m", "featurespace", *command("short")], capture_output=True, text=True,
            preexec_fn=lambda size=size: limited(size),
        )  # fmt: skip
        ended.append((process.returncode, process.stderr))
        assert process.returncode == 0 or (process.returncode == 2 and "error: out of memory" in process.stderr), ended[
            -1
        ]
        assert "bug" not in process.stderr and "Traceback" not in process.stderr, ended[-1]
    assert len([each for each in ended if each[0] == 2]) >= 5, ended
    assert (
        subprocess.run([sys.executable, "-m", "featurespace", *command("short")], capture_output=True).returncode == 0
    )
    assert contents(tmp_path / "short") == contents(tmp_path / "whole")


def test_a_network_is_not_at_fault_for_the_memory_of_its_device():
    class Large(torch.nn.Module):
        def forward(self, images):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    with pytest.raises(torch.OutOfMemoryError):
        trace.run(Large(), torch.zeros(1, 3, 8, 8))
