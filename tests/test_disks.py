"""Full disks, disks that cannot be written or locked, and what killed processes leave on them."""

import errno
import os
import re
import subprocess
import sys

import pandas as pd
import pytest
import torch
from oracles.runs import contents

import featurespace as fs
from featurespace import files, plan
from featurespace.features import store as storing
from featurespace.models.checkpoint import write_checkpoint
from featurespace.models.manifest import REQUIRED

fcntl = pytest.importorskip("fcntl", reason="not on Windows")


def test_temporary_files_of_a_killed_process_are_cleaned_up_and_those_of_a_living_one_stay(analyze, tmp_path):
    run = analyze("r")
    with subprocess.Popen([sys.executable, "-c", "pass"]) as dead:
        dead.wait()
    folders = [run.path, run.path / "tables", run.path / "figures", run.path / "statistics", run.store_path("m", "x")]
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as living:
        for folder in folders:
            for process in (dead, living):
                (folder / f".x.{process.pid}.partial.csv").write_text("half")
        analyze("r")
        for folder in folders:
            assert [file.name for file in folder.glob("*.partial*")] == [f".x.{living.pid}.partial.csv"]
        living.kill()


@pytest.fixture
def small_disk(tmp_path):
    """A function that mounts a disk of so many KiB, or changes its size."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def resize(options):
        remount = ",remount" if os.path.ismount(disk) else ""
        return subprocess.run(["mount", "-t", "tmpfs", "-o", options + remount, "none", disk], capture_output=True)

    if not hasattr(os, "geteuid") or os.geteuid() != 0 or resize("size=40k").returncode:
        pytest.skip("a small disk can be mounted by root only")
    yield resize
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.parametrize("step", [24, pytest.param(8, marks=pytest.mark.slow)])
def test_a_disk_that_fills_at_any_moment_is_told_and_more_space_gives_the_same_bits(
    analyze, small_disk, monkeypatch, step
):
    monkeypatch.setattr("featurespace.plan._free_bytes", lambda path: 10**9)  # which would say so at the start
    expected = contents(analyze("whole").path)
    full = 0
    for size in range(8, 2000, step):
        small_disk(f"size={size}k")
        try:
            run = analyze("disk/r")
        except fs.FeaturespaceError as error:
            assert re.search(
                r"disk.* cannot be written \(.*No space left.*\); the disk is full: make space on it", str(error)
            )
            full += 1
        else:
            break
    assert full > 160 // step and contents(run.path) == expected and run.verify()


def test_a_full_disk_is_an_error_before_the_first_image_and_no_crash(small_disk, tmp_path):
    samples = pd.DataFrame({"id": ["a"] * 100_000, "path": "p"})
    arguments = {"key": {}, "names": ("m", "d"), "samples": samples, "widths": {"a": 10}, "batch_size": 8}
    with pytest.raises(fs.FeaturespaceError, match=r"layers/a\.npy cannot be written .*the disk is full"):
        storing.FeatureStore.create(tmp_path / "disk" / "s", **arguments)


def test_a_checkpoint_that_does_not_fit_is_told_and_leaves_nothing(small_disk, tmp_path):
    manifest = dict.fromkeys(REQUIRED, 0)
    with pytest.raises(fs.FeaturespaceError, match=r"w\.safetensors cannot be written .*the disk is full"):
        write_checkpoint(tmp_path / "disk" / "w.safetensors", {"w": torch.zeros(100_000)}, manifest)
    assert not list((tmp_path / "disk").iterdir())


def test_blocks_that_are_not_there_do_not_count_as_space_for_features(tmp_path, monkeypatch):
    layers = tmp_path / "features" / "m" / "d" / "layers"
    layers.mkdir(parents=True)
    with open(layers / "a.npy", "wb") as handle:
        handle.truncate(10**6)
    monkeypatch.setattr(plan, "_free_bytes", lambda path: 1000)
    monkeypatch.setattr("featurespace.features.extract.layer_widths", lambda model, options: {"a": 100})
    with pytest.raises(fs.FeaturespaceError, match="the features need 43.0 KiB, and the disk of .* has 1000 B left"):
        plan.check_disk([None], {"d": 100}, None, tmp_path)
    (layers / "a.npy").write_bytes(bytes(10**6))
    plan.check_disk([None], {"d": 100}, None, tmp_path)


def test_a_disk_that_can_only_be_read_is_told(analyze, small_disk):
    small_disk("size=2m,ro")
    with pytest.raises(
        fs.FeaturespaceError, match=r"disk.* cannot be written \(Read-only file system\); choose another"
    ):
        analyze("disk/r")


@pytest.mark.parametrize(
    ("number", "step"),
    [
        (errno.ENOSPC, "the disk is full: make space on it, then the same command goes on where it stopped"),
        (errno.EDQUOT, "your quota on that disk is used up: delete something there, then the same command goes on"),
        (errno.EROFS, "choose another --out or file name, on a disk that can be written"),
        (errno.EACCES, "choose another --out or file name where you may write"),
        (errno.ENAMETOOLONG, "choose another --out or file name that is shorter"),
        (errno.EIO, "choose another --out"),
    ],
)
def test_each_failure_of_a_disk_names_the_next_step_and_the_same_command_goes_on(analyze, tmp_path, monkeypatch, number, step):  # fmt: skip
    expected = contents(analyze("whole").path)
    for owner, name in ((os, "posix_fallocate"), (storing, "write_rows"), (os, "replace"), (files, "sync")):

        def fail(*arguments):
            raise OSError(number, os.strerror(number))

        if name == "write_rows":
            fail = files.writing(tmp_path / "killed")(fail)
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, fail)
            with pytest.raises(fs.FeaturespaceError, match=re.escape(f"({os.strerror(number)}); {step}")):
                analyze("killed")
    assert contents(analyze("killed").path) == expected


def test_a_file_system_that_reserves_nothing_is_written_all_the_same(analyze, monkeypatch):
    expected = contents(analyze("whole").path)

    def fail(*arguments):
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "posix_fallocate", fail)
    assert contents(analyze("r").path) == expected
    monkeypatch.delattr(os, "posix_fallocate")
    assert contents(analyze("s").path) == expected


def test_a_name_that_is_too_long(analyze):
    with pytest.raises(fs.FeaturespaceError, match=r"cannot be written \(File name too long\); .* that is shorter"):
        analyze("x" * 300)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch, number):
    def fail(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fail)
    with (
        pytest.raises(fs.FeaturespaceError, match="cannot lock files .* choose an --out on another disk"),
        fs.Run(tmp_path / "r").locked(),
    ):
        pass
