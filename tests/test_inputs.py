"""What a stranger may give the command: it finishes, or says what is wrong, and never writes beside --out."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import featurespace as fs
from featurespace import cli
from featurespace.errors import FeaturespaceError
from featurespace.extraction import extract
from featurespace.progress import Progress

FRAMES = [Image.new("RGB", (16, 16), (60 * number, 0, 0)) for number in range(3)]


@pytest.fixture
def images(tmp_path, rng):
    """A folder of two classes with four images each."""
    for index in range(8):
        path = tmp_path / "images" / "ab"[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
    return tmp_path / "images"


@pytest.fixture
def analyze(tmp_path, monkeypatch, capsys):
    """The command with a tiny model; returns the exit code and what it said."""

    def run(*arguments, models=("m=test_resnet@random",), out="r", only="gap", size=32, pictures=False):
        fixed = ["--out", str(tmp_path / out), "--layers", "pooled", "--only", only, "--no-control"]
        fixed += [] if pictures else ["--no-pictures"]
        scaled = ["--image-size", str(size)] if size else []
        monkeypatch.setattr(sys, "argv", ["featurespace", "analyze", *models, *fixed, *scaled, *map(str, arguments)])
        before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(tmp_path / out)}
        code = 0
        try:
            cli.main()
        except SystemExit as stopped:
            code = stopped.code
        after = {path for path in tmp_path.rglob("*") if not path.is_relative_to(tmp_path / out)}
        assert after == before
        return code, capsys.readouterr().err

    return run


def test_broken_images_are_named_and_the_run_goes_on(images, tmp_path, analyze):
    (images / "a" / "empty.png").write_bytes(b"")
    (images / "b" / "text.png").write_text("hello")
    os.symlink(tmp_path / "nowhere", images / "b" / "link.png")
    os.mkfifo(images / "b" / "pipe.png")
    code, said = analyze("--data", f"x={images}", pictures=True)
    assert code == 0
    for expected in ("empty.png is not an image that can be read (the file is empty)", "text.png is not an image", "link.png does not exist",
                     "1 file that is no image was passed over, e.g. pipe.png"):  # fmt: skip
        assert expected in said
    assert len(pd.read_parquet(tmp_path / "r/features/m/x/samples.parquet")) == 8
    code, said = analyze("--data", f"x={images}", "--on-bad-image", "error", out="other")
    assert code == 2 and "empty.png" in said and "--on-bad-image skip leaves it out" in said


def test_what_is_left_out_of_images_is_said_once(images, analyze):
    for name in ("c.gif", "d.gif"):
        FRAMES[0].save(images / "a" / name, save_all=True, append_images=FRAMES[1:])
    Image.new("RGBA", (1, 10_000)).save(images / "b" / "long.png")
    code, said = analyze(
        "--data", f"x={images}", models=["m=test_resnet@random", "n=test_resnet@random"], pictures=True
    )
    assert code == 0
    assert said.count("2 of 11 images hold several frames or pages, of which the first is used, e.g. a/c.gif") == 1
    assert said.count("1 of 11 images hold transparency, which is left out, e.g. b/long.png") == 1
    assert "images have 2 sizes, 16 x 16 to 1 x 10000" in said


def test_hostile_labels_survive_and_are_escaped_in_the_report(images, tmp_path, analyze):
    labels = [
        "<script>alert(1)</script>",
        "a\nb",
        "$\\frac{1}$",
        "=SUM(A1)",
        "u\u0308",
        "\x1b[31mred",
        "'\"",
        "x" * 500,
    ]
    files = sorted(str(path) for path in images.rglob("*.png"))
    pd.DataFrame({"path": files, "label": labels, "split": ["train", "test"] * 4}).to_csv(
        tmp_path / "m.csv", index=False
    )
    code, said = analyze("--data", f"x={tmp_path / 'm.csv'}", only="probe,similarity", pictures=True)
    assert code == 0 and "<script>" in said and "\x1b" not in said
    assert pd.read_parquet(tmp_path / "r/features/m/x/samples.parquet")["label"].tolist() == labels
    report = (tmp_path / "r/report.html").read_text()
    assert "<script>alert" not in report and "&lt;script&gt;alert" in report
    assert any("<script>" in each for each in json.loads((tmp_path / "r/provenance.json").read_text())["messages"])


def test_a_folder_whose_name_is_no_utf_8(images, tmp_path, analyze):
    os.rename(images, os.fsencode(tmp_path) + b"/images\xff")
    code, said = analyze("--data", f"x={tmp_path}/images\udcff", pictures=True)
    assert code == 0 and r"images\udcff" in (tmp_path / "r/report.html").read_text()
    code, said = analyze("--data", f"x={tmp_path}/images\udcff", pictures=True)
    assert code == 0, said  # the configuration that was written is read again


@pytest.mark.parametrize("label", ["../../x", "/etc/x", "..", "a b", "x/../../y", "\x1b[31m", ""])
def test_labels_that_would_leave_the_run_directory_are_refused(images, analyze, label):
    assert analyze("--data", f"{label}={images}")[0] == 2
    code, said = analyze("--data", f"x={images}", models=[f"{label}=test_resnet@random"], out="other")
    assert code == (0 if label == ".." else 2), said  # written under a name that is none of a folder above


def test_very_long_labels(images, analyze):
    code, said = analyze("--data", f"{'y' * 400}={images}", models=[f"{'m' * 400}=test_resnet@random"])
    assert code == 0, said


@pytest.mark.parametrize(
    ("path", "message"),
    [("imagse", "does not exist; did you mean"), ("pipe.csv", "nor a regular"), ("text.txt", "nor a regular"), ("/dev/zero", "nor a regular"),
     ("x" * 5000, "does not exist"), ("~nobody/x", "does not exist"), ("a\0b", "names no path"), ("\ud800", "does not exist"), ("empty", "it is empty")],
)  # fmt: skip
def test_what_is_no_data_set_is_refused(images, tmp_path, analyze, monkeypatch, path, message):
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "text.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    code, said = analyze("--data", f"x={path}")
    assert code == 2 and message in said


def test_a_pipe_does_not_block_the_real_command(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    command = [
        sys.executable,
        "-m",
        "featurespace",
        "analyze",
        "test_resnet@random",
        "--data",
        "x=y",
        "--out",
        str(tmp_path / "r"),
    ]
    result = subprocess.run(
        [*command, "--config", str(tmp_path / "pipe.yaml")], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 2 and "is no regular file" in result.stderr and "Traceback" not in result.stderr


@pytest.mark.parametrize("count", [1, 2, 3])
def test_too_few_images_say_which_table_to_leave_out(images, tmp_path, analyze, count):
    for path in sorted(images.rglob("*.png"))[count:]:
        path.unlink()
    code, said = analyze("--data", f"x={images}", only="similarity")
    assert code == 2 and "a debiased similarity needs at least 4" in said and "--only probe,embedding,gap" in said
    code, said = analyze("--data", f"x={images}", only="probe,gap", out="other")
    assert code == 0 and "no probe on 'x'" in said and (tmp_path / "other/report.html").exists()


def test_one_readable_image_has_no_control(images, analyze):
    for path in sorted(images.rglob("*.png"))[1:]:
        path.write_bytes(b"")
    code, said = analyze("--data", f"x={images}", "--control", models=["resnet18@random"], pictures=True)
    assert code == 0, said


def test_missing_files_of_a_manifest_are_counted_and_left_out(images, tmp_path, analyze):
    files = [*sorted(str(path) for path in images.rglob("*.png")), "no1.png", "no2.png"]
    pd.DataFrame({"path": files}).to_csv(tmp_path / "m.csv", index=False)
    code, said = analyze("--data", f"x={tmp_path / 'm.csv'}")
    assert code == 0 and "2 of 10 files named in" in said and "no1.png does not exist" in said
    code, said = analyze("--data", f"x={tmp_path / 'm.csv'}", "--on-bad-image", "error", out="other")
    assert code == 2 and "no1.png does not exist" in said


def test_images_with_nan_are_left_out(tmp_path, rng, analyze):
    array = rng.random((8, 16, 16))
    array[3, 0, 0] = np.nan
    np.savez(tmp_path / "a.npz", images=array)
    code, said = analyze("--data", f"x={tmp_path / 'a.npz'}", pictures=True)
    assert code == 0 and "image number 3 in" in said
    assert analyze("--data", f"x={tmp_path / 'a.npz'}", "--on-bad-image", "error", out="other")[0] == 2


def test_the_same_images_twice_are_said(images, analyze):
    code, said = analyze("--data", f"x={images}", "--data", f"y={images}")
    assert code == 0 and "x and y hold the same images" in said


def test_copies_within_a_data_set_and_missing_groups_are_said(images, tmp_path, analyze):
    names = [f"images/{'ab'[index % 2]}/{index}.png" for index in range(8)]
    (tmp_path / names[3]).write_bytes((tmp_path / names[1]).read_bytes())
    pd.DataFrame({"path": names, "group": ["p", None] * 4}).to_csv(tmp_path / "m.csv", index=False)
    code, said = analyze("--data", f"x={tmp_path / 'm.csv'}")
    said = " ".join(said.split())
    assert code == 0 and "x: 4 of 8 images have no group; each counts as a group of its own" in said
    assert "x: 1 image is a copy of another one (same bytes), e.g. images/b/1.png and images/b/3.png" in said


@pytest.mark.parametrize("limit", [(), ("--limit", 6)])
def test_a_table_without_ids_needs_every_image(images, tmp_path, rng, analyze, limit):
    np.savez(tmp_path / "t.npz", features=rng.normal(size=(8, 3)))
    models = ("m=test_resnet@random", f"t={tmp_path / 't.npz'}")
    code, said = analyze("--data", f"x={images}", *limit, models=models)
    said = " ".join(said.split())
    assert "t: has no column id: its rows are taken in the order of the images" in said
    if limit:
        assert code == 2 and "only 6 of the 8 images of 'x' take part" in said and "give it a column 'id'" in said
    else:
        assert code == 0


def test_a_table_without_ids_is_refused_where_an_image_cannot_be_read(images, tmp_path, rng, analyze):
    (images / "a" / "0.png").write_bytes(b"broken")
    np.savez(tmp_path / "t.npz", features=rng.normal(size=(8, 3)))
    code, said = analyze("--data", f"x={images}", models=("m=test_resnet@random", f"t={tmp_path / 't.npz'}"))
    assert code == 2 and "only 7 of the 8 images of 'x' take part" in " ".join(said.split())


def test_a_run_among_its_images_is_refused(images, analyze):
    code, said = analyze("--data", f"x={images}", out="images/run")
    assert code == 2 and "lies in the images of 'x'" in said
    with pytest.raises(FeaturespaceError, match="lies in the images of 'x'"):
        extract(["test_resnet@random"], [f"x={images}"], images / "other", image_size=32)


def test_too_few_groups_have_no_interval(images, tmp_path, analyze):
    files = sorted(str(path) for path in images.rglob("*.png"))
    pd.DataFrame({"path": files, "group": [index % 3 for index in range(8)]}).to_csv(tmp_path / "m.csv", index=False)
    assert analyze("--data", f"x={tmp_path / 'm.csv'}", only="similarity")[0] == 0
    row = pd.read_csv(tmp_path / "r/tables/similarity.csv").iloc[0]
    assert np.isnan(row["ci_low"]) and "at least 5 needed" in row["interval"]


def local_model(folder, side):
    import timm
    import torch

    folder.mkdir()
    torch.save(timm.create_model("test_resnet").state_dict(), folder / "pytorch_model.bin")
    config = {"architecture": "test_resnet", "pretrained_cfg": {"input_size": [3, side, side]}}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_each_model_sees_the_images_at_its_own_size(images, tmp_path, analyze):
    def sizes(out):
        models = json.loads((tmp_path / out / "provenance.json").read_text())["models"]
        return [model["preprocessing"]["input_size"] for model in models]

    models = [f"{name}=local-dir:{local_model(tmp_path / name, side)}" for name, side in (("a", 64), ("b", 96))]
    code, said = analyze("--data", f"x={images}", models=models, size=None, pictures=True)
    assert code == 0 and "own size, a at 64 x 64, b at 96 x 96 pixels; --image-size gives all of them one" in said
    assert sizes("r") == [[3, 64, 64], [3, 96, 96]]
    code, said = analyze("--data", f"x={images}", models=models, out="other")
    assert code == 0 and "own size" not in said and sizes("other") == [[3, 32, 32]] * 2


@pytest.mark.parametrize("kind", ["a constant column", "constant"])
def test_thin_tables_of_features(images, tmp_path, rng, analyze, kind):
    names = sorted(str(path.relative_to(images)) for path in images.rglob("*.png"))
    table = pd.DataFrame({"id": names, "f": 1.0 if kind == "constant" else rng.normal(size=8)})
    (table.assign(g=1.0) if kind == "a constant column" else table).to_csv(tmp_path / "t.csv", index=False)
    code, said = analyze("--data", f"x={images}", models=[str(tmp_path / "t.csv")], only="similarity")
    assert code == 0, said
    assert ("no similarity on 'x' for t features: is constant" in said) == (kind == "constant")


def test_a_row_of_zeros_has_no_mutual_neighbours_and_the_rest_stands(tmp_path, two_domains, checkpoints):
    from featurespace.data.specs import open_data

    ids = open_data(f"b={two_domains[0]}").samples["id"]
    features = np.random.default_rng(0).standard_normal((len(ids), 5))
    features[3] = 0
    pd.DataFrame(features).add_prefix("f").assign(id=ids).to_csv(tmp_path / "t.csv", index=False)
    progress = Progress()
    models = [f"a=test_resnet@{checkpoints[0]}", f"t={tmp_path / 't.csv'}"]
    run = fs.analyze(models, [f"b={two_domains[0]}"], tmp_path / "r", image_size=32, only="similarity", control=False, layers="stages", progress=progress)  # fmt: skip
    assert any("no mutual_knn on 'b'" in each and "rows of zeros" in each for each in progress.messages)
    assert set(run.tables["similarity"]["metric"]) == {"cka_debiased", "cka_between_groups", "procrustes_distance"}


def command(*arguments, monkeypatch, capsys):
    """Run the command in this process; return its exit code and what it wrote."""
    monkeypatch.setattr(sys, "argv", ["featurespace", *map(str, arguments)])
    code = 0
    try:
        cli.main()
    except SystemExit as stop:
        code = stop.code or 0
    written = capsys.readouterr()
    return code, written.out + written.err


SMALL = ("--image-size", 32, "--layers", "stages", "--no-control", "--only", "similarity")


def test_paths_that_are_empty_or_at_home(images, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    base = ("analyze", "test_resnet@random", "--data", f"b={images}", *SMALL)
    code, text = command(*base, "--out", "", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 2 and "empty" in text
    code, text = command(*base, "--out=~/run", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0, text
    assert (tmp_path / "home" / "run" / "report.html").exists() and not list((tmp_path / "work").iterdir())
    mine = tmp_path / "work" / "mine.txt"
    mine.write_text("my own words")
    code, text = command(*base, "--out=~/run", "--save-config", mine, monkeypatch=monkeypatch, capsys=capsys)
    assert code == 2 and "choose another file" in text and mine.read_text() == "my own words"


def test_a_refused_directory_stays_as_it_was(images, tmp_path, monkeypatch, capsys):
    base = ("analyze", "test_resnet@random", "--data", f"b={images}", *SMALL)
    (tmp_path / "foreign" / "tables").mkdir(parents=True)
    before = sorted(images.rglob("*"))
    for out in (images / "run", images / "a", tmp_path / "foreign"):
        assert command(*base, "--out", out, monkeypatch=monkeypatch, capsys=capsys)[0] == 2
    assert sorted(images.rglob("*")) == before and len(list((tmp_path / "foreign").iterdir())) == 1


def test_what_changed_since_the_last_run_is_said(images, tmp_path, monkeypatch, capsys):
    base = ("analyze", "m=test_resnet@random", "--data", f"b={images}", "--out", tmp_path / "r", *SMALL)
    assert command(*base, monkeypatch=monkeypatch, capsys=capsys)[0] == 0
    Image.new("RGB", (16, 16), (1, 2, 3)).save(images / "a" / "0.png")
    code, text = command(*base, monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0 and "m on b: data changed since the last run, so features are made anew" in text


def test_unfinished_and_damaged_runs_have_no_report_and_no_export(images, tmp_path, monkeypatch, capsys):
    base = (
        "m=test_resnet@random",
        "--data",
        f"b={images}",
        "--out",
        tmp_path / "r",
        "--image-size",
        32,
        "--layers",
        "stages",
    )
    assert command("extract", *base, monkeypatch=monkeypatch, capsys=capsys)[0] == 0
    for verb in ("figures", "report"):
        code, text = command(verb, tmp_path / "r", monkeypatch=monkeypatch, capsys=capsys)
        assert code == 2 and "holds no tables" in text
    assert command("analyze", *base, "--only", "similarity", monkeypatch=monkeypatch, capsys=capsys)[0] == 0
    for name in ("tables/similarity.parquet", "summary.json"):
        file = tmp_path / "r" / name
        content = file.read_bytes()
        for damage in (content[:-7], None):
            file.unlink() if damage is None else file.write_bytes(damage)
            for verb in ("figures", "report"):
                code, text = command(verb, tmp_path / "r", monkeypatch=monkeypatch, capsys=capsys)
                assert code == 2 and f"{file} is not what was written" in text
            file.write_bytes(content)
    layer = next((tmp_path / "r" / "features").rglob("pooled.npy"))
    layer.write_bytes(layer.read_bytes()[:-1] + b"\x7f")
    code, text = command("export", tmp_path / "r", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 2 and "pooled.npy" in text and not (tmp_path / "r" / "export").exists()
    code, text = command(
        "export", tmp_path / "r", "--out", tmp_path / "r" / "features", monkeypatch=monkeypatch, capsys=capsys
    )
    assert code == 2 and "the run's own features" in text


def test_a_table_of_one_feature_has_no_embedding_and_the_rest_stands(tmp_path):
    progress = Progress()
    models = ["m=test_resnet@random", f"t={tmp_path / 't.csv'}"]
    many = tmp_path / "many"
    many.mkdir()
    rng = np.random.default_rng(0)
    for index in range(20):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(many / f"{index:02d}.png")
    pd.DataFrame({"id": [f"{index:02d}.png" for index in range(20)], "f": np.arange(20.0)}).to_csv(
        tmp_path / "t.csv", index=False
    )
    fs.analyze(models, [f"b={many}"], tmp_path / "r", image_size=32, only="embedding", control=False, layers="stages", progress=progress)  # fmt: skip
    assert any("no embedding of 'b' by 't'" in each for each in progress.messages)


def test_the_report_counts_the_images_that_were_used(images, tmp_path, monkeypatch, capsys):
    (images / "a" / "0.png").write_bytes(b"")
    base = ("m=test_resnet@random", "--data", f"b={images}", "--out", tmp_path / "r", *SMALL)
    assert command("analyze", *base, monkeypatch=monkeypatch, capsys=capsys)[0] == 0
    report = (tmp_path / "r" / "report.html").read_text()
    assert "Images: b (7, 1 left out)" in report and re.search(r"<td>7</td>\s*<td>1</td>", report)
    assert "Corresponding layers" not in report  # one model has none: no empty table


def test_the_name_of_a_data_set_changes_no_probe(two_domains, tmp_path):
    tables = []
    for name in ("p", "other"):
        run = fs.analyze(["m=test_resnet@random"], [f"{name}={two_domains[0]}"], tmp_path / name, image_size=32, only="probe", control=False, layers="stages", limit=60)  # fmt: skip
        tables.append(run.tables["probe"].drop(columns="data"))
    pd.testing.assert_frame_equal(*tables)
