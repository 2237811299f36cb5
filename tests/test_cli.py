import importlib
import json
import subprocess
import sys
import time

import pytest
from commands import command

from featurespace.options import ANALYZE


def test_help_answers_at_once_without_the_costly_imports():
    code = "import sys, featurespace.cli as c\ntry: c.app(['--help'])\nexcept SystemExit: pass\nprint(sorted(set(sys.modules) & {'torch', 'timm', 'pandas', 'numpy', 'pydantic', 'matplotlib', 'umap', 'sklearn'}))"
    start = time.perf_counter()
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip().endswith("[]") and "analyze" in result.stdout
    assert time.perf_counter() - start < 3  # a guard against a forgotten import, not a measurement


def test_help_tells_every_option_and_its_description():
    text = " ".join(command("analyze", "--help").stdout.replace("│", " ").split())
    for name, option in ANALYZE.items():
        assert f"--{name.replace('_', '-')}" in text
        assert option.help.split(",")[0][:30] in text


def test_version_of_the_module_run_as_a_command():
    result = subprocess.run([sys.executable, "-m", "featurespace", "--version"], capture_output=True, text=True)
    assert result.stdout.startswith("featurespace 0.")


def test_analyze_prints_findings_and_the_report_and_json_is_json(tmp_path, two_domains, checkpoints):
    arguments = ["analyze", f"before=test_resnet@{checkpoints[0]}", f"after=test_resnet@{checkpoints[1]}", "--data", f"b={two_domains[0]}", "--out",
                 tmp_path / "r", "--image-size", 32, "--only", "similarity", "--layers", "stages", "--save-config", tmp_path / "c.yaml"]  # fmt: skip
    result = command(*arguments)
    assert result.returncode == 0, result.stderr
    assert f"Report: {tmp_path / 'r' / 'report.html'}" in result.stdout and "On b, before and after" in result.stdout
    assert "75 of 75 backbone tensors matched" in result.stderr and "images/s" in result.stderr
    again = command(
        "analyze",
        *arguments[1:3],
        "--data",
        f"b={two_domains[0]}",
        "--out",
        tmp_path / "r",
        "--config",
        tmp_path / "c.yaml",
        "--json",
    )
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["models"] == ["before", "after"]
    quiet = command(*arguments, "--quiet")
    assert quiet.stderr == "" and quiet.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("resnet5O@random", [], "did you mean 'resnet50'"),
        ("resnet18@{before}", [], "backbone"),
        ("test_resnet@random", ["--layers", "layer5.0"], "did you mean"),
        ("test_resnet@random", ["--pool", "max"], "option 'pool'"),
        ("test_resnet@random", ["--device", "tpu"], "device 'tpu' is not known"),
        ("test_resnet@random", ["--only", "probes"], "did you mean 'probe'"),
        ("test_resnet@nowhere.pth", [], "nowhere.pth"),
    ],
)
def test_errors_exit_with_2_and_no_traceback(tmp_path, two_domains, checkpoints, model, options, message):
    result = command(
        "analyze",
        model.format(before=checkpoints[0]),
        "--data",
        f"b={two_domains[0]}",
        "--out",
        tmp_path / "r",
        "--image-size",
        32,
        *options,
    )
    assert result.returncode == 2 and message in result.stderr and "Traceback" not in result.stderr


def test_a_folder_without_images_and_an_unknown_option(tmp_path):
    result = command("analyze", "test_resnet@random", "--data", f"x={tmp_path}", "--out", tmp_path / "r")
    assert result.returncode == 2 and "no image in" in result.stderr
    result = command("analyze", "test_resnet@random", "--dta", "x")
    assert result.returncode == 2 and "--data" in result.stderr


def test_models_and_data_must_come_from_somewhere(tmp_path):
    result = command("analyze", "--out", tmp_path / "r")
    assert result.returncode == 2 and "no models given; name them on the command line" in result.stderr
    (tmp_path / "c.yaml").write_text("models: [resnet18@random]")
    result = command("analyze", "--out", tmp_path / "r", "--config", tmp_path / "c.yaml")
    assert result.returncode == 2 and "no data given" in result.stderr
    result = command(
        "analyze", "resnet18@random", "--data", "x=y", "--out", tmp_path / "r", "--save-config", "/proc/none/c.yaml"
    )
    assert result.returncode == 2 and "/proc/none/c.yaml cannot be written" in result.stderr


def test_inspect_tells_what_matches_and_what_differs(checkpoints, tmp_path):
    model = command("inspect", f"test_resnet@{checkpoints[1]}")
    assert "75 of 75 backbone tensors matched" in model.stdout and "layer4.0" in model.stdout
    assert "state_dict" in command("inspect", checkpoints[1]).stdout
    both = json.loads(command("inspect", checkpoints[0], checkpoints[0], "--json").stdout)
    assert {row["status"] for row in both["differences"]} == {"equal"}
    assert command("inspect", checkpoints[0], tmp_path / "none").returncode == 2


def test_report_is_written_again(small_run):
    before = small_run.report.read_bytes()
    small_run.report.unlink()
    result = command("report", small_run.path)
    assert result.returncode == 0 and small_run.report.read_bytes() == before


def test_figures_are_drawn_again_and_verify_names_what_it_read(small_run, monkeypatch):
    monkeypatch.setattr("featurespace.run.FIGURE_FORMATS", ("svg",))
    before = small_run.figure_path("cka_by_layer", "svg").read_bytes()
    small_run.figure_path("cka_by_layer", "svg").unlink()
    result = command("figures", small_run.path)
    assert result.returncode == 0 and "cka_by_layer.png" in result.stdout
    assert small_run.figure_path("cka_by_layer", "svg").read_bytes() == before
    assert "ok features/after/dark" in command("verify", small_run.path).stdout


def test_a_dry_run_tells_the_cost_and_writes_nothing(tmp_path, two_domains):
    arguments = [
        "analyze",
        "m=test_resnet@random",
        "--data",
        f"b={two_domains[0]}",
        "--out",
        tmp_path / "r",
        "--image-size",
        32,
        "--dry-run",
    ]
    result = command(*arguments)
    assert result.returncode == 0, result.stderr
    assert "data b: 72 images" in result.stdout and "model untrained:" in result.stdout and "free)" in result.stdout
    plan = json.loads(command(*arguments, "--json").stdout)
    assert plan["images"] == {"b": 72} and plan["models"][0]["layers"] == 6
    assert plan["disk_bytes"] == int(4 * 72 * sum(model["width"] for model in plan["models"]) * 1.1)
    assert not (tmp_path / "r").exists()


def test_a_bug_of_ours_exits_with_1_and_leaves_a_report(tmp_path, monkeypatch, capsys):
    from featurespace import cli

    def broken(*args, **kwargs):
        raise ZeroDivisionError("deep inside")

    monkeypatch.setattr(importlib.import_module("featurespace.analyze"), "analyze", broken)
    monkeypatch.setattr(
        sys, "argv", ["featurespace", "analyze", "resnet18@random", "--data", "x=y", "--out", str(tmp_path)]
    )
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 1
    (report,) = tmp_path.glob("featurespace-bug-*.txt")
    message = capsys.readouterr().err
    assert f"please report it with the file {report}" in message and "Traceback" not in message
    text = report.read_text()
    assert "deep inside" in text and "featurespace analyze resnet18@random" in text and '"torch"' in text


def test_extract_then_analyze_into_then_export(tmp_path, two_domains, checkpoints):
    run = tmp_path / "r"
    small = ["--image-size", 32, "--layers", "stages"]
    made = command(
        "extract", f"a=test_resnet@{checkpoints[0]}", "--data", f"b={two_domains[0]}", "--out", run, *small, "-v"
    )
    assert made.returncode == 0, made.stderr
    assert "72 images, 6 layers" in made.stdout and "features made anew" in made.stderr and "mean (0." in made.stderr
    added = command(
        "analyze", f"c=test_resnet@{checkpoints[1]}", "--into", run, "--only", "similarity", "--no-control", "-v"
    )
    assert added.returncode == 0, added.stderr
    assert "a on b: features used again" in added.stderr and "c on b: features made anew" in added.stderr
    exported = command("export", run, "--format", "csv", "--layer", "pooled", "--model", "c")
    assert exported.stdout.split() == [str(run / "export" / "c" / "b" / "pooled.csv")]
    both = command("analyze", "resnet18@random", "--data", f"b={two_domains[0]}", "--out", run, "--into", run)
    assert both.returncode == 2 and "either --out" in both.stderr
    assert command("export", run, "--format", "xls").returncode == 2
