"""Whatever is not what was written is noticed: by `verify`, and by the next command, which makes it again."""

import itertools
import re
import shutil
import sys
from pathlib import Path

import pytest
from oracles.runs import contents

import featurespace as fs
from featurespace import cli
from featurespace.progress import Progress

DAMAGES = {
    "altered": lambda content, other, older: content[:-1] + bytes([content[-1] ^ 1]),
    "altered at its start": lambda content, other, older: bytes([content[0] ^ 1]) + content[1:],
    "cut": lambda content, other, older: content[:-7],
    "longer": lambda content, other, older: content + b"\0",
    "emptied": lambda content, other, older: b"",
    "swapped": lambda content, other, older: other,
    "older": lambda content, other, older: older,
    "deleted": lambda content, other, older: None,
}


@pytest.fixture
def damage(analyze, tmp_path):
    """A finished run, and a function that damages one of its files; an older run was made of another image."""
    shutil.copy(tmp_path / "0.png", tmp_path / "kept.png")
    shutil.copy(tmp_path / "1.png", tmp_path / "0.png")
    older = analyze("older", only="similarity,probe", layers="maxpool,layer4.0,pooled").path
    shutil.copy(tmp_path / "kept.png", tmp_path / "0.png")
    run = analyze("r", only="similarity,probe", layers="maxpool,layer4.0,pooled")

    def make(name, how):
        file = run.path / name
        other = next(
            each for each in (*sorted(file.parent.glob(f"*{file.suffix}")), run.config, run.report) if each != file
        )
        before = older / name if (older / name).exists() else other
        changed = DAMAGES[how](file.read_bytes(), other.read_bytes(), before.read_bytes())
        if changed is None:
            file.unlink()
        else:
            file.write_bytes(changed)

    return run, make


def names_of(run):
    return [str(file.relative_to(run.path)) for file in sorted(run.path.rglob("*.*")) if file.name != ".lock"]


@pytest.mark.parametrize(
    "how",
    [how if how in ("altered", "deleted") else pytest.param(how, marks=pytest.mark.slow) for how in DAMAGES],
)
def test_a_damaged_file_is_named_by_verify_and_made_again_by_the_next_command(damage, analyze, how):
    run, make = damage
    expected, names = contents(run.path), names_of(run)
    for name in names:
        content = (run.path / name).read_bytes()
        make(name, how)
        changed = not (run.path / name).exists() or (run.path / name).read_bytes() != content
        # Results that are remembered are no part of what a run says: one that is gone is computed again.
        if changed and name != "hashes.json" and not (name.startswith("statistics/") and how == "deleted"):
            with pytest.raises(fs.FeaturespaceError, match=re.escape(Path(name).name)):
                run.verify()
        assert changed or how in ("older", "swapped"), name  # nothing in it depends on the image
        (run.path / name).write_bytes(content)
    assert run.verify()
    stores = [[name for name in names if name.startswith(f"features/{model}/")] for model in "mt"]
    others = set(names).difference(*stores, ["config.yaml"])
    for damaged in (others, *({*each} - {None} for each in itertools.zip_longest(*stores))):  # one file of each store
        for name in sorted(damaged):
            make(name, how)
        analyze("r", only="similarity,probe", layers="maxpool,layer4.0,pooled")
        assert contents(run.path) == expected and run.verify(), damaged


def test_a_run_whose_record_is_damaged_is_not_taken_for_whole(damage):
    run, make = damage
    record = (run.path / "hashes.json").read_bytes()
    for how in ("cut", "emptied", "deleted"):
        make("hashes.json", how)
        with pytest.raises(fs.FeaturespaceError, match="unfinished"):
            run.verify()
        (run.path / "hashes.json").write_bytes(record)
        assert run.verify()


@pytest.mark.parametrize(("name", "how"), [("tables/probe.parquet", "older"), ("tables/probe.csv", "deleted")])
def test_a_damaged_table_of_an_earlier_command_is_taken_away_and_said(damage, analyze, name, how):
    run, make = damage
    make(name, how)
    told = []
    progress = Progress()
    progress.tell = told.append
    analyze("r", only="similarity", layers="maxpool,layer4.0,pooled", progress=progress)
    assert any("table 'probe' was not what an earlier command wrote" in each for each in told)
    assert "probe" not in run.tables and not list(run.path.glob("tables/probe.*")) and run.verify()


def test_figures_and_report_can_be_made_again_and_verify_agrees(analyze, monkeypatch):
    run = analyze("r")
    for command in ("figures", "report"):
        monkeypatch.setattr(sys, "argv", ["featurespace", command, str(run.path)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0 and run.verify()
    run.report.write_text("other")
    monkeypatch.setattr(sys, "argv", ["featurespace", "verify", str(run.path)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
