"""`--config`: a YAML file is equal to the options of every command that has some."""

import json

import pytest
import typer
from commands import command

from featurespace.cli import app


def commands(group, path=()):
    for name, each in group.commands.items():
        yield from commands(each, (*path, name)) if hasattr(each, "commands") else [((*path, name), each)]


def test_every_command_takes_a_file():
    for path, each in commands(typer.main.get_command(app)):
        assert "config" in [parameter.name for parameter in each.params], path


@pytest.fixture
def write(tmp_path):
    def file(**values):
        path = tmp_path / "options.yaml"
        path.write_text("\n".join(f"{key}: {json.dumps(value)}" for key, value in values.items()))
        return path

    return file


def test_a_file_is_equal_to_the_flags_and_flags_override_it(small_run, tmp_path, write):
    run, folder = str(small_run.path), str(tmp_path / "a")
    flags = ["--format", "csv", "--out", folder, "--model", "after", "--data", "dark", "--layer", "pooled"]
    file = write(directory=run, format="csv", out=folder, model="after", data=["dark"], layer=["pooled"])
    by_flags, by_file = command("export", run, *flags, "-q"), command("export", "--config", file, "-q")
    assert by_file == by_flags and by_file.stdout.split() == [f"{folder}/after/dark/pooled.csv"]
    assert by_file.returncode == 0, by_file.stderr
    other = command("export", "--model", "before", "--config", file, "--out", tmp_path / "b", "-q")
    assert other.stdout.split() == [f"{tmp_path}/b/before/dark/pooled.csv"]
    assert command("export", tmp_path, "--config", file).stderr.startswith(f"error: {tmp_path} holds no run")


def test_arguments_of_any_number_and_options_without_a_default(two_domains, tmp_path, write):
    data = [f"bright={two_domains[0]}", f"dark={two_domains[1]}"]
    by_flags = command("leakage", *data, "--json")
    assert by_flags.returncode == 0 and command("leakage", "--config", write(data=data), "--json") == by_flags
    file = write(data=f"a={two_domains[0]}", out=str(tmp_path / "a.csv"))
    assert command("index", "--config", file, "-q").stdout.strip() == str(tmp_path / "a.csv")
    (tmp_path / "empty.yaml").write_text("{}")
    missing = command("index", "--config", tmp_path / "empty.yaml")
    assert missing.returncode == 2 and "Missing argument" in missing.stderr


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("export", "directory: r\nformt: csv", "options.yaml:2: unknown key 'formt'; did you mean 'format'?"),
        ("export", "directory: r\nlayers: a", "options.yaml:2: unknown key 'layers'; did you mean 'layer'?"),
        ("export", "directory: r\n\nlayer: [a, 3]", "options.yaml:3: option 'layer.1': .*valid string; the value was 3"),
        ("export", "directory: 5", "options.yaml:1: option 'directory': .*valid string; the value was 5"),
        ("export", "trust: true", "options.yaml:1: unknown key 'trust'; it is given on the command line alone, as --trust"),
        ("export", "dir: r", "did you mean 'directory'?"),
        ("analyze", "out: r", "unknown key 'out'; it is given on the command line alone, as --out"),
        ("analyze", "seed: 1\npool: max", "options.yaml:2: option 'pool': .*'avg', 'cls' or 'none'; the value was 'max'"),
        ("extract --out r", "limit: true", "options.yaml:1: option 'limit': expected a whole number"),
        ("compare --out r", "seed: 1\nalpha: x", "options.yaml:2: option 'alpha': .*number"),
        ("train pretrain", "model: resnet18@random\nepochs: many", "options.yaml:2: option 'epochs': .*valid integer"),
        ("study", "out: r\ngrid: 3", "options.yaml:2: option 'grid': "),
        ("demo", "out: r\nseed: true", "options.yaml:2: option 'seed': .*valid integer; the value was True"),
        ("demo", "config: x", "unknown key 'config'; it is given on the command line alone"),
        ("demo", "colour: x", "unknown key 'colour'; allowed: out, seed\n"),
        ("demo", "sed: 3", "options.yaml:1: unknown key 'sed'; did you mean 'seed'?"),
        ("index", "data: a=b\nout: [r]", "options.yaml:2: option 'out': .*valid string; the value was"),
        ("inspect", "targt: resnet18", "did you mean 'target'?"),
        ("inspect", "target: resnet18\ntrust: true", "options.yaml:2: unknown key 'trust'"),
        ("leakage", "data: {a: b}", "options.yaml:1: option 'data': .*valid list; the value was"),
        ("report", "directry: r", "did you mean 'directory'?"),
        ("figures", "- r", "options.yaml must hold keys and values, e.g. 'directory: ...'"),
        ("verify", "directory: [", "options.yaml cannot be read as YAML"),
    ],
)  # fmt: skip
def test_errors_name_the_place_and_the_nearest_key(tmp_path, name, text, message):
    (tmp_path / "options.yaml").write_text(text)
    flag = [] if name.startswith(("train", "study")) else ["--config"]
    result = command(*name.split(), *flag, tmp_path / "options.yaml")
    assert result.returncode == 2 and "Traceback" not in result.stderr
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(result.stderr)


def test_a_model_from_a_file_is_inspected(write):
    by_flags, by_file = (
        command("inspect", "test_resnet@random"),
        command("inspect", "--config", write(target="test_resnet@random")),
    )
    assert by_file == by_flags and by_file.returncode == 0
    assert command("inspect", "--config", "nowhere.yaml").stderr.startswith("error: nowhere.yaml cannot be read")
