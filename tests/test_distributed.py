"""Several processes, started by torchrun, give what one gives."""

import os
import signal
import socket
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from featurespace import distributed
from featurespace.errors import FeaturespaceError

SCRIPT = """
import sys
import featurespace as fs
from featurespace.tables import streamed
streamed.AT_ONCE, streamed.CHUNK = 10, 16
before, after, bright, dark, out, *passing = sys.argv[1:]  # passing: the size of a batch
fs.analyze([f"before=test_resnet@{before}", f"after=test_resnet@{after}"], [f"bright={bright}", f"dark={dark}"], out,
           image_size=32, batch_size=int(passing[0]) if passing else 20, only=("similarity",) if passing else ("similarity", "gap"), measures=(), layers="stages",
           device="cpu", store=not passing)
"""


def torchrun(count, *arguments, **options):
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={count}", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            start_new_session=True, **options)  # fmt: skip


def finished(process, timeout=240):
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def both(tmp_path_factory, two_domains, checkpoints):
    """The run of one process, and that of two."""
    root = tmp_path_factory.mktemp("processes")
    (root / "job.py").write_text(SCRIPT)
    code, _, err = finished(torchrun(1, root / "job.py", *checkpoints, *two_domains, root / "one"))
    assert code == 0, err
    code, _, err = finished(torchrun(2, root / "job.py", *checkpoints, *two_domains, root / "two"))
    assert code == 0, err
    return root / "one", root / "two"


@pytest.mark.slow
def test_two_processes_write_the_same_features(both):
    one, two = both
    found = sorted(each.relative_to(one) for each in one.glob("features/**/*") if each.is_file())
    assert (
        found == sorted(each.relative_to(two) for each in two.glob("features/**/*") if each.is_file())
        and len(found) > 30
    )
    for each in found:
        assert (one / each).read_bytes() == (two / each).read_bytes(), each


@pytest.mark.slow
def test_the_tables_are_equal_but_for_the_order_of_summation(both):
    one, two = both
    names = sorted(each.stem for each in (one / "tables").glob("*.parquet"))
    assert names == sorted(each.stem for each in (two / "tables").glob("*.parquet")) and "domain_gap" in names
    for name in names:
        tables = [pd.read_parquet(run / "tables" / f"{name}.parquet") for run in both]
        pd.testing.assert_frame_equal(*tables, rtol=1e-10, atol=1e-12)
    cka = pd.read_parquet(two / "tables/similarity.parquet").query("metric == 'cka_debiased'")
    assert cka["interval"].str.match("jackknife over .* blocks of groups").all() and np.isfinite(cka["se"]).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "batch, tolerance", [(20, 1e-9), (100, 1e-4)], ids=["batches", "a batch for one process alone"]
)
def test_cka_in_passing_is_that_of_kept_features(both, tmp_path, checkpoints, two_domains, batch, tolerance):
    job = both[0].parent / "job.py"
    code, _, err = finished(torchrun(2, job, *checkpoints, *two_domains, tmp_path / "run", batch))
    assert code == 0, err
    tables = [pd.read_parquet(run / "tables/similarity.parquet").query("metric == 'cka_debiased'").reset_index(drop=True)
              for run in (both[0], tmp_path / "run")]  # fmt: skip
    pd.testing.assert_frame_equal(*tables, rtol=tolerance, atol=1e-12)


@pytest.mark.slow
def test_what_is_wrong_is_told_once(tmp_path, checkpoints):
    command = ["-m", "featurespace", "analyze", f"a=test_resnet@{checkpoints[0]}", "b=test_resnet@random", "--data", "x=nowhere",
               "--out", tmp_path / "run"]  # fmt: skip
    code, out, err = finished(torchrun(2, *command))
    assert code != 0 and out == "" and err.count("error: ") == 1 and "nowhere" in err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_killed_processes_go_on_and_end_with_the_same_bits(tmp_path, checkpoints, two_domains):
    command = ["-m", "featurespace", "extract", f"a=test_resnet@{checkpoints[0]}", "--data", f"bright={two_domains[0]}", "--layers",
               "stages", "--image-size", "64", "--batch-size", "2", "--device", "cpu", "--quiet", "--out"]  # fmt: skip
    assert finished(torchrun(2, *command, tmp_path / "whole"))[0] == 0
    process = torchrun(2, *command, tmp_path / "killed")
    while not list((tmp_path / "killed").glob("features/*/*/layers/*.npy")) and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    code, _, err = finished(torchrun(2, *command, tmp_path / "killed"))
    assert code == 0, err
    for each in (tmp_path / "whole/features").rglob("*"):
        if each.is_file():
            assert each.read_bytes() == (tmp_path / "killed" / each.relative_to(tmp_path / "whole")).read_bytes(), each


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_process_that_dies_ends_the_others_with_a_message(tmp_path, checkpoints, two_domains, killed):
    """As on two machines, where no launcher sees both processes."""
    command = [sys.executable, "-m", "featurespace", "extract", f"a=test_resnet@{checkpoints[0]}", "--data", f"bright={two_domains[0]}",
               "--layers", "stages", "--image-size", "64", "--batch-size", "2", "--device", "cpu", "--quiet", "--out", tmp_path / "run"]  # fmt: skip
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(free.getsockname()[1]),
            "WORLD_SIZE": "2",
            "OMP_NUM_THREADS": "1",
        }
    both = [subprocess.Popen([str(each) for each in command], env=os.environ | place | {"RANK": str(rank)}, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE) for rank in (0, 1)]  # fmt: skip
    while not list((tmp_path / "run").glob("features/*/*/layers/*.npy")) and both[0].poll() is None:
        time.sleep(0.02)
    both[killed].kill()
    both[killed].communicate()
    code, out, err = finished(both[1 - killed], 60)
    assert code == 2 and out == "" and "this is a bug" not in err
    assert err.startswith(f"error: process {2 - killed} of 2 has lost the others (") and "same command again" in err
    for rank in (0, 1):  # and that is true
        both[rank] = subprocess.Popen([str(each) for each in command], env=os.environ | place | {"RANK": str(rank)})
    assert [each.wait(120) for each in both] == [0, 0]


@pytest.mark.parametrize(("size", "rank", "expected"), [("4", "2", " (process 3 of 4)"), ("1", "0", "")])
def test_a_count_of_one_process_is_not_taken_for_that_of_all(monkeypatch, size, rank, expected):
    monkeypatch.setenv("WORLD_SIZE", size)
    monkeypatch.setenv("RANK", rank)
    assert distributed.share() == expected


@pytest.fixture
def second_of_two(monkeypatch):
    """This process as the second of two."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    for name, value in place.items():
        monkeypatch.setenv(name, value)


def test_a_process_that_finds_no_other_says_so(second_of_two, monkeypatch):
    monkeypatch.setattr(distributed, "WAIT", timedelta(seconds=0.2))
    message = r"process 2 of 2 has lost the others \(.+\): one was ended, .*give the same command again to go on"
    with pytest.raises(FeaturespaceError, match=message), distributed.processes():
        pass


@pytest.mark.parametrize("rank, own, other, error", [
    (0, "own", None, "^own$"), (0, None, "other", "^other$"), (0, "own", "other", "^own$"),
    (1, "own", None, "^own$"), (1, None, "other", "^other$"), (1, "own", "other", "^other$"),
])  # fmt: skip
def test_what_one_process_cannot_do_ends_all_and_the_first_tells_it(
    second_of_two, monkeypatch, rank, own, other, error
):
    def make():
        if own:
            raise FeaturespaceError(own)

    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setattr(distributed, "gathered", lambda text: [text, other] if rank == 0 else [other, text])
    with pytest.raises(FeaturespaceError, match=error) as told:
        distributed.together(make)
    assert isinstance(told.value, distributed.Elsewhere) == (rank == 1)  # which the command line passes over in silence


def test_what_all_processes_can_do_is_each_one_s_own(second_of_two, monkeypatch):
    monkeypatch.setattr(distributed, "gathered", lambda text: [None, text])
    assert distributed.together(lambda: 7) == 7
