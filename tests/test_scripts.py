"""The scripts in analyses/ and figures/ run on a run directory, from top to bottom."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

import featurespace as fs
from featurespace.cli import app
from featurespace.studies.cells import make_cells
from featurespace.studying import read_study

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted([*ROOT.glob("analyses/*.py"), *ROOT.glob("figures/*.py")])
TRAINS = ROOT / "analyses" / "does_pretraining_pay.py"  # makes a directory of its own
WORTH = ROOT / "analyses" / "how_many_images_are_slices_worth.py"  # reads volumes
MOVES = ROOT / "analyses" / "how_does_cka_move_during_training.py"
PAPER = ROOT / "analyses" / "miniature.py"  # trains a grid
STUDY = ROOT / "analyses" / "published_study.py"  # reads logs
OF_COMPARISONS = [
    each
    for each in SCRIPTS
    if "featurespace compare" in (text := each.read_text())
    and each.parent.name == "figures"
    and "--predictions" not in text
]
OF_FILTERS, OVERLAYS, WHO_KNOWS = (
    ROOT / "figures" / f"{name}.py" for name in ("feature_reuse", "overlays", "who_knows_what")
)
RECIPES = sorted(ROOT.glob("analyses/recipes/*.yaml"))
MINIATURE = ROOT / "analyses" / "recipes" / "miniature"
IMAGES = MINIATURE / "write_images.py"
SMALLER = {"model", "data", "out", "image_size", "epochs", "batch_size", "devices", "learning_rate", "warmup_epochs", "precision", "options", "classes"}  # fmt: skip
# Of 200 test images: guessing and three standard deviations; of segmentation the best mask that has one class everywhere.
CHANCE = {
    "radnet": ("accuracy", 0.25),
    "chestxray8": ("auc_macro", 0.65),
    "lits": ("dice", 0.47),
    "brats": ("dice", 0.35),
}


def run_script(script, **environment):
    """Run a script here: a process of its own would import everything once more."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, str(value))
        runpy.run_path(str(script), run_name="__main__")


@pytest.mark.slow
def test_the_one_that_trains_runs_and_goes_on(tmp_path):
    environment = {**os.environ, "RUN": str(tmp_path), "EPOCHS": "1", "SEEDS": "1"}
    for _ in range(2):
        subprocess.run([sys.executable, TRAINS], check=True, capture_output=True, env=environment)
    table = pd.read_csv(tmp_path / "does_pretraining_pay.csv")
    assert len(table) == 12 and set(table["verdict"]) == {"no test"}  # one seed shows nothing


@pytest.mark.slow
def test_the_trajectory_of_a_training(tmp_path):
    environment = {**os.environ, "RUN": str(tmp_path), "EPOCHS": "2"}
    subprocess.run([sys.executable, MOVES], check=True, capture_output=True, env=environment)
    table = pd.read_csv(tmp_path / f"{MOVES.stem}.csv")
    away = table[(table["reference"] == "start") & (table["layer"] == "pooled")].set_index("epoch")["value"]
    assert set(away.index) == {1, 2} and away[2] < away[1] < 1  # further from the start with every epoch
    assert (tmp_path / "trajectory.pdf").stat().st_size > 1000


@pytest.mark.slow
def test_the_study_in_miniature_goes_from_images_to_its_comparison(tmp_path):
    changes = ["grid=[{experiment: x, pretraining: [none, ImageNet], task: [levels, tissue], seed: 0}]"]
    tasks = {name: {"data": f"mri={tmp_path / 'mri' / file}", "epochs": 1} for name, file in
             (("levels", "levels.parquet"), ("tissue", "tissue.csv"))}  # fmt: skip
    tasks["tissue"] |= {"task": "segmentation", "classes": ["background", "grey", "white"]}
    environment = {**os.environ, "RUN": str(tmp_path), "SET": ";".join([*changes, f"tasks={tasks}"])}
    subprocess.run([sys.executable, PAPER], check=True, capture_output=True, env=environment)
    runs = pd.read_csv(tmp_path / "study" / "runs.csv")
    assert set(runs["task"]) == {"levels", "tissue"} and set(runs["pretraining"]) == {"none", "ImageNet"}


def test_the_grid_of_the_study_in_miniature(tmp_path):
    text = (ROOT / "analyses" / "miniature.yaml").read_text().replace("runs/miniature/", f"{tmp_path}/")
    (tmp_path / "imagenet.pth").write_bytes(b"")
    (tmp_path / "miniature.yaml").write_text(text)
    cells = make_cells(read_study(tmp_path / "miniature.yaml"))
    assert len(cells) == 48 and sum(cell.kind == "pretrain" for cell in cells) == 4


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_a_recipe_is_a_configuration(recipe):
    from featurespace.training.settings import FinetuneConfig, PretrainConfig
    from featurespace.yaml_files import checked, read_yaml

    schema = PretrainConfig if "method:" in recipe.read_text() else FinetuneConfig
    assert checked(schema, read_yaml(recipe, schema)).image_size in (224, 256)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_a_miniature_differs_from_its_recipe_in_sizes_only(recipe):
    whole, small = (yaml.safe_load(each.read_text()) for each in (recipe, MINIATURE / recipe.name))
    assert {key: whole[key] for key in whole.keys() - SMALLER} == {key: small[key] for key in small.keys() - SMALLER}
    assert small.keys() <= whole.keys()


@pytest.fixture(scope="module")
def miniature(tmp_path_factory):
    """The folder in which the miniatures run, with their images."""
    folder = tmp_path_factory.mktemp("miniature")
    subprocess.run([sys.executable, IMAGES], check=True, capture_output=True, cwd=folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_a_miniature_runs_and_learns(recipe, miniature, monkeypatch):
    monkeypatch.chdir(miniature)
    kind = "pretrain" if "method:" in recipe.read_text() else "finetune"
    run = CliRunner().invoke(app, ["train", kind, str(MINIATURE / recipe.name), "-q"], catch_exceptions=False)
    folder = Path(run.stdout.strip()).parent
    curves = pd.read_csv(folder / "curves.csv")
    assert curves["loss"].iloc[-1] < 0.95 * curves["loss"].iloc[0]
    if kind == "finetune":
        metric, chance = CHANCE[recipe.stem]
        assert pd.read_csv(folder / "runs.csv").set_index("metric")["value"][metric] > chance


@pytest.fixture(scope="module")
def small_comparison(tmp_path_factory):
    """A comparison of two pretrainings on the logs of a small study."""
    folder = tmp_path_factory.mktemp("study")
    for pretraining, score in (("Scratch", 0.6), ("SimCLR_R", 0.7)):
        for run in range(3):
            logs = folder / "logs" / "E1" / f"PT_{pretraining}_FT_R{f'_f{run}' if run else ''}"
            logs.mkdir(parents=True)
            (logs / "test.log").write_text(f"acc,avg_val_loss\n{score + run / 100},0.1\n")
            (logs / "val.log").write_text("epoch,acc\n" + "".join(f"{epoch},{score}\n" for epoch in range(12)))
            (logs / "train.log").write_text(
                "epoch,step,loss\n" + "".join(f"{epoch},{epoch},0.5\n" for epoch in range(1, 13))
            )
    run_script(STUDY, LOGS=folder / "logs", OUT=folder / "out", ADJUST="")
    return folder / "out"


@pytest.fixture(scope="module")
def small_masks(tmp_path_factory):
    """A mask, its image, and two predictions, in folders."""
    folder = tmp_path_factory.mktemp("masks")
    mask = np.eye(16, dtype=np.uint8)
    for name, array in {"masks": mask, "images": 200 * mask, "a": mask, "b": np.triu(mask, 1)}.items():
        (folder / name).mkdir()
        Image.fromarray(array).save(folder / name / "1.png")
    return folder


def test_overlays(small_masks, tmp_path, monkeypatch):
    monkeypatch.chdir(small_masks)
    run_script(OVERLAYS, PREDICTIONS="one=a,other=b", OUT=tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == {"overlays"}


def test_who_knows_what(small_masks, small_comparison, tmp_path):
    run = fs.compare(
        f"{small_comparison}_runs.csv", tmp_path / "run", masks=small_masks / "masks",
        predictions=[f"{name}={small_masks / name}" for name in "ab"],
    )  # fmt: skip
    run_script(WHO_KNOWS, RUN=run.path, OUT=tmp_path / "out")
    assert {path.stem for path in (tmp_path / "out").iterdir()} == {"who_knows_what"}


def test_what_slices_are_worth(tmp_path, rng):
    for number in range(6):
        first = rng.normal(size=(40, 40))
        volume = np.stack([first + 0.1 * step * rng.normal(size=(40, 40)) for step in range(4)])
        for place, each in enumerate(volume):
            (tmp_path / "v" / str(number)).mkdir(parents=True, exist_ok=True)
            np.save(tmp_path / "v" / str(number) / f"{place}.npy", each.astype(np.float32))
    run_script(WORTH, DATA=f"v={tmp_path / 'v'}", RUN=tmp_path)
    table = pd.read_csv(tmp_path / f"{WORTH.stem}.csv").set_index("bound")
    assert (
        table.loc["upper", "ci_low"] > 1.2 and table["n"].tolist() == [24, 24] and table["n_volumes"].tolist() == [6, 6]
    )
    assert 1 < table.loc["upper", "factor"] < 4  # neighbours are alike, and not the same


def test_the_study_from_its_logs(small_comparison):
    tables = fs.load(small_comparison).tables
    assert set(tables) == {"comparison", "loss_curves", "runs", "runs_summary", "time_to_convergence"}
    assert tables["comparison"].query("metric == 'acc'")["verdict"].tolist() == ["b higher", "a higher"]


def test_figures_of_filters(tmp_path):
    tables = tmp_path / "tables"
    tables.mkdir()
    (tables / "feature_reuse.csv").write_text("experiment,pretraining,task,layer,value\nE1,R,CX8,conv1,0.9\n")
    (tables / "feature_uniqueness.csv").write_text("pretraining,layer,value,std\nR,conv1,0.4,0.1\n")
    run_script(OF_FILTERS, TABLES=tables, OUT=tmp_path / "out")
    assert {path.stem for path in (tmp_path / "out").iterdir()} == {"feature_reuse", "feature_uniqueness"}


@pytest.mark.figures
@pytest.mark.parametrize("script", OF_COMPARISONS, ids=lambda path: path.name)
def test_figures_of_a_comparison(script, small_comparison, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_script(script, RUN=small_comparison, OUT=tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} in ({".pdf", ".svg", ".png"}, {".tex", ".html"})


@pytest.mark.figures
@pytest.mark.parametrize(
    "script",
    [
        each
        for each in SCRIPTS
        if each not in (TRAINS, MOVES, WORTH, PAPER, STUDY, OF_FILTERS, OVERLAYS, WHO_KNOWS, *OF_COMPARISONS)
    ],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_it_runs(script, small_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_script(script, RUN=small_run.path, OUT=tmp_path)
    if script.parent.name == "figures":
        assert {path.suffix for path in tmp_path.iterdir()} == {".pdf", ".svg", ".png"}
    else:
        assert (small_run.path / f"{script.stem}.csv").stat().st_size > 100


@pytest.mark.parametrize("script", [*SCRIPTS, IMAGES], ids=lambda path: str(path.relative_to(ROOT)))
def test_it_reads_as_a_script(script):
    text = script.read_text()
    assert text.count("\n") <= 80 and text.startswith('"""') and "# %%" in text
    assert "argparse" not in text and "sys.argv" not in text and "\ndef " not in text
