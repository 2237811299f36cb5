"""Killed at any write or moment, a run that is started again ends with the bits of one that was never killed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from oracles.runs import contents, report_but_for_times

import featurespace as fs
from featurespace import files
from featurespace.features import store as storing
from featurespace.run import Run


class Killed(BaseException):
    pass


class Killer:
    """Stands before everything that changes the disk; from call number ``at`` on nothing is done any more."""

    def __init__(self, monkeypatch, at):
        self.at, self.calls = at, 0
        for owner, name in ((files, "sync"), (os, "replace"), (os, "posix_fallocate"), (shutil, "rmtree"), (Path, "unlink"),
                            (Path, "mkdir"), (storing, "write_rows"), (storing, "cut"), (pd.DataFrame, "to_csv"),
                            (pd.DataFrame, "to_parquet"), (Path, "write_text"), (Figure, "savefig")):  # fmt: skip
            monkeypatch.setattr(owner, name, self.wrapped(name, getattr(owner, name)))

    def wrapped(self, name, function):
        def call(*arguments, **options):
            self.calls += 1
            if self.calls < self.at:
                return function(*arguments, **options)
            if self.calls == self.at and name == "write_rows":  # half of it is on the disk
                function(arguments[0], arguments[1], arguments[2][::2].copy())
            if self.calls == self.at and name == "write_text":
                function(arguments[0], arguments[1][: len(arguments[1]) // 2])
            raise Killed

        return call


def killed_at(at, monkeypatch, run):
    """Whether a run was killed at its write number ``at``, or ended before."""
    with monkeypatch.context() as patch:
        Killer(patch, at)
        try:
            run()
        except Killed:
            return True
    return False


def steps(fast, thorough):
    """Distances between the writes at which a run is killed."""
    return pytest.mark.parametrize("step", [fast, pytest.param(thorough, marks=pytest.mark.slow)])


@steps(97, 1)
def test_a_kill_at_any_write_changes_no_bit(analyze, tmp_path, monkeypatch, step):
    expected = contents(analyze("whole").path)
    for at in range(1, 1000, step):
        if not killed_at(at, monkeypatch, lambda: analyze("killed")):
            break
        assert contents(analyze("killed").path) == expected, f"killed at write {at}"
        shutil.rmtree(tmp_path / "killed")
    assert at > 200


@steps(19, 3)
def test_kills_in_a_row_change_no_bit(analyze, tmp_path, monkeypatch, step):
    expected = contents(analyze("whole").path)
    kills = 1
    while killed_at(kills, monkeypatch, lambda: analyze("killed")):
        kills += step
    assert contents(tmp_path / "killed") == expected and kills > 100


def test_an_unfinished_run_is_never_verified(analyze, tmp_path, monkeypatch):
    expected = contents(analyze("whole").path)
    run = fs.Run(tmp_path / "killed")
    refused = 0
    for at in range(20, 1000, 20):
        if not killed_at(at, monkeypatch, lambda: analyze("killed")):
            break
        if contents(run.path) == expected:  # killed after the last file, when the lock is taken away
            continue
        with pytest.raises(fs.FeaturespaceError, match="unfinished; run the same command again to finish it"):
            run.verify()
        refused += 1
    assert run.verify() and refused > 4


@steps(181, 20)
def test_a_killed_second_command_does_not_spoil_what_the_first_made(analyze, tmp_path, monkeypatch, step):
    """Tables of an earlier command stay as they were, whenever the later one is killed."""
    analyze("whole")
    expected = contents(analyze("whole", only="probe").path)
    for at in range(max(1, step // 2), 1000, step):
        analyze("killed")
        if not killed_at(at, monkeypatch, lambda: analyze("killed", only="probe")):
            break
        run = fs.Run(tmp_path / "killed")
        if not run.report.exists():
            with pytest.raises(fs.FeaturespaceError, match="unfinished"):
                run.verify()
        assert contents(analyze("killed", only="probe").path) == expected, f"killed at write {at}"
        shutil.rmtree(tmp_path / "killed")


@steps(211, 20)
def test_a_killed_addition_to_a_run_changes_no_bit(analyze, tmp_path, monkeypatch, step):
    def add(name):
        return fs.analyze(["b=test_resnet@random"], into=tmp_path / name)

    analyze("whole")
    expected = contents(add("whole").path)
    for at in range(max(1, step // 2), 1000, step):
        analyze("killed")
        if not killed_at(at, monkeypatch, lambda: add("killed")):
            break
        assert contents(add("killed").path) == expected, f"killed at write {at}"
        shutil.rmtree(tmp_path / "killed")


@steps(23, 1)
def test_a_killed_extraction_goes_on(analyze, tmp_path, monkeypatch, step):
    def extract(name):
        options = {"image_size": 32, "layers": "pooled", "batch_size": 5}
        return fs.extract(["m=test_resnet@random"], [f"x={tmp_path / 'm.csv'}"], tmp_path / name, **options)

    expected = contents(extract("whole").path)
    for at in range(1, 1000, step):
        if not killed_at(at, monkeypatch, lambda: extract("killed")):
            break
        run = extract("killed")
        assert contents(run.path) == expected and run.verify(), f"killed at write {at}"
        shutil.rmtree(tmp_path / "killed")


def test_provenance_tells_each_part_of_an_interrupted_run(analyze, tmp_path, monkeypatch):
    assert len(analyze("whole").provenance["parts"]) == 1
    assert killed_at(60, monkeypatch, lambda: analyze("killed"))
    assert killed_at(90, monkeypatch, lambda: analyze("killed"))
    run = analyze("killed")
    parts = run.provenance["parts"]
    assert len(parts) == 3 and all(part["started"] <= part["ended"] for part in parts)
    assert parts[-1]["ended"] == run.provenance["finished"]
    assert len(analyze("killed").provenance["parts"]) == 1  # the run was finished: this is another


# Real processes, killed by real signals ------------------------------------------------------------------------------

TRACES = ("Traceback", "Exception ignored")


class Command:
    """`featurespace analyze` as a user starts it, in a folder, home and temporary folder of its own."""

    def __init__(self, root, models, data, options=(), python=("-m", "featurespace")):
        self.root, self.python = root, python
        self.arguments = ["analyze", *models, "--out", "run", "--threads", "1", *options]
        self.arguments += [each for source in data for each in ("--data", source)]
        self.folders = [root / name for name in ("work", "home", "tmp")]
        for folder in self.folders:
            folder.mkdir(parents=True)
        self.run = Run(root / "work" / "run")

    def start(self):
        work, home, temporary = self.folders
        caches = self.root.parent / "caches"  # of libraries
        environment = {
            **os.environ, "HOME": str(home), "TMPDIR": str(temporary), "NO_COLOR": "1", "COLUMNS": "200",
            "MPLCONFIGDIR": str(caches), "XDG_CACHE_HOME": str(caches), "NUMBA_CACHE_DIR": str(caches),
            "TORCHINDUCTOR_CACHE_DIR": str(caches),
        }  # fmt: skip
        return subprocess.Popen(
            [sys.executable, *self.python, *self.arguments], cwd=work, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip

    def finish(self):
        process = self.start()
        errors = process.communicate()[1]
        assert process.returncode == 0, errors

    def written_elsewhere(self):
        found = [each for folder in self.folders for each in folder.rglob("*")]
        return [each for each in found if each != self.run.path and self.run.path not in each.parents]


def until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def sources(two_domains):
    return [f"{manifest.parent.name}={manifest}" for manifest in two_domains]


@pytest.mark.slow  # `test_run.py` and `test_interrupts.py` tell of the lock and of the signal
def test_a_second_process_is_told_a_terminated_one_says_so_and_the_run_goes_on(tmp_path, two_domains):
    command = Command(tmp_path / "a", ["m=test_resnet@random"], sources(two_domains), ["--image-size", "32"])
    first = command.start()
    until(command.run.config.exists)
    second = command.start()
    errors = second.communicate()[1]
    assert second.returncode == 2 and "another process is working in run; wait until it has finished" in errors
    start = time.monotonic()
    first.send_signal(signal.SIGTERM)
    errors = first.communicate()[1]
    assert first.returncode == 143 and time.monotonic() - start < 2, errors
    assert errors.endswith("terminated; the same command goes on where it stopped\n")
    assert not any(trace in errors for trace in TRACES)
    with command.run.locked():
        assert not list(command.run.path.rglob(".*.partial*"))
    assert command.written_elsewhere() == []


DRIVER = """
from featurespace.interrupts import ends_on_signals
with ends_on_signals():
    import featurespace.features.extract as extract
    from featurespace.cli import main
    extract.CHECKPOINT_SECONDS = -1.0
    main()
"""


@pytest.mark.slow
def test_thirty_kills_at_random_moments_change_no_bit(tmp_path, two_domains):
    """SIGKILL, SIGTERM and SIGINT over the whole duration of a run of every analysis, six on each directory."""
    (tmp_path / "driver.py").write_text(DRIVER)
    rng = np.random.default_rng(0)
    models = ["a=mobilenetv3_small_050@random", "b=test_resnet@random"]

    def command(name):
        options = ["--image-size", "48", "--batch-size", "5", "--layers", "stages"]
        return Command(tmp_path / name, models, sources(two_domains), options, python=(str(tmp_path / "driver.py"),))

    whole = command("whole")
    whole.finish()  # libraries fill their caches
    assert whole.written_elsewhere() == []
    start = time.monotonic()
    again = command("again")
    again.finish()
    duration = time.monotonic() - start
    expected = contents(whole.run.path)
    assert contents(again.run.path) == expected
    data = contents(two_domains[0].parent.parent)
    for directory in range(5):
        one, kills, longest = command(f"killed{directory}"), 0, duration
        while kills < 6:
            after = rng.uniform(0.1, longest)
            if end(one.start(), after=after, number=rng.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])):
                kills += 1
            else:
                longest = after  # less is left to do
        one.finish()
        assert contents(one.run.path) == expected, directory
        assert report_but_for_times(one.run.path) == report_but_for_times(whole.run.path)
        assert one.run.verify() and one.written_elsewhere() == [] and not list(one.root.rglob("*.partial*"))
    assert contents(two_domains[0].parent.parent) == data


def end(process, *, after, number):
    """Whether the process was killed, and ended at once as it should, rather than having finished."""
    try:
        errors = process.communicate(timeout=after)[1]
        assert process.returncode == 0, errors
        return False
    except subprocess.TimeoutExpired:
        pass
    start = time.monotonic()
    process.send_signal(number)
    output, errors = process.communicate()
    seconds = time.monotonic() - start
    if after < 1 or "Report:" in output:  # Python itself is starting or ending
        return True
    codes = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}
    assert (process.returncode == codes[number]) and seconds < 2, (number, process.returncode, seconds, errors)
    assert number == signal.SIGKILL or errors.endswith("the same command goes on where it stopped\n")
    assert not any(trace in errors for trace in TRACES), errors
    return True
