import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import featurespace as fs
from featurespace.errors import FeaturespaceError
from featurespace.run import Run, load


def test_load_gives_tables_and_features(small_run):
    run = fs.load(small_run.path)
    assert isinstance(run.tables["similarity"], pd.DataFrame)
    assert isinstance(run.features("after", "dark")["pooled"], np.memmap)
    assert run.features("after", "dark")["pooled"].shape[0] == 72
    assert "similarity" in repr(run) and "probe" in repr(run.tables)
    assert run.provenance["seed"] == 0 and len(run.provenance["models"]) == 3


def test_unknown_names(small_run):
    with pytest.raises(
        FeaturespaceError, match="features of 'aftr on dark' is not known .*did you mean 'after on dark'"
    ):
        small_run.features("aftr", "dark")
    with pytest.raises(KeyError, match="did you mean 'probe'"):
        small_run.tables["probes"]


def test_no_run(tmp_path):
    with pytest.raises(FeaturespaceError, match="holds no run .*featurespace analyze"):
        load(tmp_path)
    with pytest.raises(FeaturespaceError, match="is the run finished"):
        Run(tmp_path).summary


def test_a_directory_of_another_run_is_refused(tmp_path):
    run = Run(tmp_path / "r")
    run.claim(None)
    run.begin("2026-01-01T00:00:00+00:00", "seed: 0\n")
    run.claim(None)
    with pytest.raises(FeaturespaceError, match=r"holds another run \(seed: 0 there, 1 now\); choose another --out"):
        run.claim("seed: 0 there, 1 now")
    assert run.config.read_text() == "seed: 0\n"


def test_a_directory_with_other_peoples_files_is_refused_only_where_names_collide(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    Run(tmp_path).claim(None)
    (tmp_path / "other" / "tables").mkdir(parents=True)
    with pytest.raises(FeaturespaceError, match="is not empty and no run of ours: it holds tables"):
        Run(tmp_path / "other").claim(None)


def test_an_output_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(FeaturespaceError, match="cannot be written .*choose another --out"):
        Run(tmp_path / "file" / "run").begin("2026-01-01T00:00:00+00:00", "seed: 0\n")


def test_a_second_process_is_told_so(tmp_path, two_domains):
    code = f"from featurespace.run import Run\nwith Run({str(tmp_path / 'r')!r}).locked():\n print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(FeaturespaceError, match="another process is working in .*; wait until it has finished"):
            fs.analyze(["test_resnet@random"], [f"x={two_domains[0]}"], tmp_path / "r", image_size=32)
        other.kill()
    with Run(tmp_path / "r").locked():  # a killed process holds nothing
        pass


def test_a_lock_whose_file_cannot_be_taken_away_is_let_go(tmp_path, monkeypatch):
    def denied(path, missing_ok=False):
        raise PermissionError(13, "denied")

    with monkeypatch.context() as patch, pytest.raises(PermissionError) as kept, Run(tmp_path / "r").locked():
        patch.setattr(Path, "unlink", denied)
    with Run(tmp_path / "r").locked():
        assert kept  # with the frames that hold the lock


def test_verify_reads_everything_and_names_what_differs(small_run, tmp_path):
    shutil.copytree(small_run.path, tmp_path / "run")
    run = load(tmp_path / "run")
    assert len(run.verify()) == 2 * 6 + 2 * len(run.tables) + len(list(run.path.glob("figures/*"))) + 4
    file = next((tmp_path / "run" / "features").rglob("*.npy"))
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    with pytest.raises(FeaturespaceError, match=f"{file.name} does not hold the rows that were written"):
        run.verify()
    content[-3] ^= 1
    file.write_bytes(content)
    for name in ("probe.parquet", "similarity.csv"):
        table = tmp_path / "run" / "tables" / name
        before = table.read_bytes()
        table.write_bytes(before.replace(b"0", b"1", 1))
        with pytest.raises(FeaturespaceError, match=f"{name} is not what was written"):
            run.verify()
        table.write_bytes(before)
    assert run.verify()


def test_an_interrupted_run_is_not_taken_for_the_finished_one_before_it(small_run, tmp_path):
    shutil.copytree(small_run.path, tmp_path / "run")
    run = load(tmp_path / "run")
    run.begin("2026-01-01T00:00:00+00:00", "seed: 0\n")
    with pytest.raises(FeaturespaceError, match="is the run finished"):
        run.summary
    assert not run.report.exists() and run.tables["probe"] is not None
