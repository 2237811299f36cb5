import os
import shutil
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import yaml
from filelock import FileLock
from typer.testing import CliRunner

import featurespace as fs
from featurespace import locking
from featurespace.cli import app
from featurespace.errors import FeaturespaceError
from featurespace.studies import ledger, running
from featurespace.studies.cells import make_cells
from featurespace.studying import read_study


def count_trainings(monkeypatch):
    """Names of the cells that are trained from now on."""
    trained, kept = [], running.run_cell

    def counted(cell, threads=None):
        before = ledger.state(cell, verify=True).word
        found = kept(cell, threads)
        if before != ledger.FINISHED:
            trained.append(cell.name)
        return found

    monkeypatch.setattr(running, "run_cell", counted)
    return trained


def test_a_study_ends_in_one_table_of_runs_and_its_comparison(file, tmp_path):
    out = fs.study(read_study(file))
    runs = pd.read_csv(out / "runs.csv")
    assert set(runs["experiment"]) == {"E1", "E2"} and set(runs["pretraining"]) == {"scratch", "dark"}
    assert set(runs["task"]) == {"levels", "levels-50%"} and set(runs["run"]) == {0, 1}
    accuracy = runs[runs["metric"] == "accuracy"]
    assert len(accuracy) == 4 + 4  # the cells of the star's middle are in both experiments
    losses = pd.read_csv(out / "losses.csv")
    assert losses["epoch"].tolist()[:2] == [0, 1] and (losses["samples"] == losses["step"] * 8).all()
    assert set(fs.load(out / "comparison").tables) == {"comparison", "loss_curves", "runs", "runs_summary"}


def test_a_study_asks_whether_its_starts_predict_their_results(file):
    three = "{scratch: {model: test_resnet@random}, other: {model: test_efficientnet@random}, third: {model: test_vit@random}}"
    config = read_study(file, [f"pretrainings={three}", "grid=[{experiment: E1, seed: [0, 1]}]", "predict=true"])
    fs.study(config)
    table = pd.read_csv(config.out / "prediction.csv")
    assert set(table["score"]) >= {"linear probe", "kNN probe", "log_me"} and set(table["n"]) <= {2, 3}
    assert set(fs.load(config.out / "starts").tables["probe"]["model"]) >= {"scratch", "other", "third"}


def test_a_study_tells_what_finetuning_changed_and_up_to_where_layers_could_be_held(file, checkpoints):
    grid = "[{experiment: E1, pretraining: [given, scratch], freeze: [null, layer1.0], seed: [0, 1]}]"
    wanted = "{layers: 'layer1.0,layer3.0,pooled', only: [similarity, probe]}"
    starts = f"{{scratch: {{model: test_resnet@random}}, given: {{model: test_resnet@{checkpoints[0]}}}}}"
    config = read_study(file, [f"pretrainings={starts}", f"grid={grid}", f"analyze={wanted}", "predict=true"])
    fs.study(config)
    table = pd.read_csv(config.out / "freezing.csv")
    assert table["layer"].tolist()[:3] == ["layer1.0", "layer3.0", "pooled"]
    assert table.groupby("pretraining")["run"].nunique().to_dict() == {
        "given": 2,
        "scratch": 1,
    }  # random weights by the seed
    run = fs.load(config.out / "analyses" / "levels" / "given")
    models = set(run.tables["layers"]["model"])
    assert models == {"start", "seed0", "seed1", "freeze-layer1.0-seed0", "freeze-layer1.0-seed1"}
    cka = run.tables["similarity"].query("metric == 'cka_debiased' and layer_a == 'layer1.0' and layer_b == 'layer1.0'")
    held = cka[(cka["model_a"] == "start") & cka["model_b"].str.startswith("freeze")]
    assert (held["value"] > 1 - 1e-9).all() and len(held) == 2  # what was held is as it was
    scores = pd.read_csv(config.out / "start_scores.csv")
    assert "CKA to the start" in set(scores["score"])


def test_the_same_command_again_trains_nothing_and_a_change_what_it_touches(trained_file, monkeypatch):
    config = read_study(trained_file)
    fs.study(config)
    before = (config.out / "runs.csv").read_bytes()
    trained = count_trainings(monkeypatch)
    fs.study(config)
    assert trained == [] and (config.out / "runs.csv").read_bytes() == before
    fs.study(read_study(trained_file, ["grid=[{experiment: E1, seed: [0, 1, 2]}]"]))
    assert trained == ["scratch-levels-seed2", "dark-levels-seed2"]


def test_a_damaged_cell_is_trained_again(trained_file, monkeypatch):
    config = read_study(trained_file)
    fs.study(config)
    before = (config.out / "runs.csv").read_bytes()
    cell = make_cells(config)[1]
    (cell.training / "predictions.csv").write_text("nonsense")
    assert ledger.state(cell, verify=True) == ledger.State(
        ledger.DAMAGED, reason="training/predictions.csv is not what was written"
    )
    trained = count_trainings(monkeypatch)
    fs.study(config)
    assert trained == [cell.name] and (config.out / "runs.csv").read_bytes() == before


def test_a_failed_cell_is_named_with_its_log_and_tried_again_on_request(trained_file, two_domains, monkeypatch):
    config = read_study(trained_file)
    for cell in make_cells(config):
        if "dark" in cell.name:
            shutil.rmtree(cell.folder)
    from featurespace.training import pretrain as module

    kept = module.pretrain
    monkeypatch.setattr(module, "pretrain", lambda *args, **options: 1 / 0)
    with pytest.raises(FeaturespaceError, match=r"1 of 7 cells failed.*\npretrain-dark: ZeroDivisionError.*log.txt"):
        fs.study(config)
    cell = make_cells(config)[0]
    assert "1 / 0" in (cell.folder / ledger.LOG).read_text() and not (config.out / "runs.csv").exists()
    words = {each.name: ledger.state(each).word for each in make_cells(config)}
    assert words["scratch-levels-seed0"] == "finished" and words["dark-levels-seed0"] == "waiting"
    monkeypatch.setattr(module, "pretrain", kept)
    with pytest.raises(FeaturespaceError, match="1 of 7 cells failed"):
        fs.study(config)
    fs.study(config, retry=True)
    assert (config.out / "runs.csv").exists()


def test_a_cell_that_another_process_trains_is_left_to_it(trained_file):
    config = read_study(trained_file)
    cell = make_cells(config)[1]
    shutil.rmtree(cell.folder)
    cell.training.mkdir(parents=True)
    lock = FileLock(cell.training / ".lock")
    with lock:
        with pytest.raises(
            FeaturespaceError, match="1 of 7 cells is trained by another process: scratch-levels-seed0; run the"
        ):
            fs.study(config)
        assert ledger.state(cell).word == ledger.WAITING and not (cell.folder / ledger.FAILED).exists()
    fs.study(config)
    assert (config.out / "runs.csv").exists()


def test_cells_of_one_study_may_be_run_by_several_processes_and_the_whole_ends_it(file):
    config = read_study(file)
    names = [cell.name for cell in make_cells(config)]
    fs.study(config, only=names[:1])
    with locking.locked(config.out, config.out / "study.yaml"):  # somebody ends the study meanwhile
        fs.study(config, only=names[1:])
    assert not (config.out / "runs.csv").exists()
    fs.study(config)
    assert (config.out / "runs.csv").exists()


@pytest.mark.slow
def test_processes_give_the_same_runs(file):
    one = read_study(file)
    fs.study(one)
    two = read_study(file, [f"out={one.out}-2"])
    fs.study(two, jobs=2)
    assert (one.out / "runs.csv").read_bytes() == (two.out / "runs.csv").read_bytes()


@pytest.mark.slow
def test_a_study_killed_three_times_ends_with_the_same_runs(file, tmp_path):
    config = read_study(
        file, ["defaults={image_size: 32, batch_size: 8, loggers: [], epochs: 6, threads: 1, save_minutes: 0}"]
    )
    whole = read_study(file, [f"out={tmp_path / 'whole'}", f"defaults={config.defaults}"])
    fs.study(whole)
    command = [sys.executable, "-m", "featurespace", "study", str(file), "--set", f"defaults={config.defaults}", "-q"]
    killed = 0
    for _ in range(3):
        before = len(list(config.out.glob("cells/*/done.json")))
        process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
        while process.poll() is None and len(list(config.out.glob("cells/*/done.json"))) < before + 1:
            time.sleep(0.02)
        time.sleep(0.3)
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
    assert killed == 3
    fs.study(config)
    assert (config.out / "runs.csv").read_bytes() == (whole.out / "runs.csv").read_bytes()


def test_the_command_lists_tells_and_runs(file):
    def call(*arguments):
        result = CliRunner().invoke(app, ["study", str(file), *arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    lines = call("--list").splitlines()
    assert len(lines) == 7 and lines[0].endswith("--only pretrain-dark")
    told = call("--dry-run", "-q")
    assert "7 cells, 0 finished" in told and "minutes of training for 7 cells by a timed step of each kind" in told
    call("--only", "scratch-levels-seed0", "-q")
    text = call("--status")
    assert text.count("finished") == 2 and text.count("waiting") == 6 and "2 of 2" in text
    assert "1 cell of 7 finished; about 0." in text and "minutes left for 5 cells, one after another" in text
    told = call("--dry-run", "-q")
    assert (
        "minutes for 5 cells by the finished ones" in told and "minutes of training for 1 cell by a timed step" in told
    )
    states = yaml.safe_load(call("--status", "--json"))
    assert {state["word"] for state in states} == {"finished", "waiting"}
    result = CliRunner().invoke(app, ["study", str(file), "--list", "--status"])
    assert "give one of them" in str(result.exception)
