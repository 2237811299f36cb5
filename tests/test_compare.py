import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

import featurespace as fs
from featurespace.cli import app
from featurespace.errors import FeaturespaceError

KEYS = ["experiment", "pretraining", "task", "run"]


def write_inputs(folder, *, runs=4, epochs=20, seed=0):
    """Runs, curves and losses of three pretrainings on two tasks, and an adjustment."""
    rng = np.random.default_rng(seed)
    rows, curves, losses = [], [], []
    for place, name in enumerate(("scratch", "photos", "ct")):
        for task in ("xray", "mri"):
            for run in range(runs):
                key = ["E1", name, task, run]
                rows.append([*key, "acc", 0.7 + 0.05 * place + rng.normal(0, 0.01)])
                for epoch in range(epochs):
                    level = 1 - np.exp(-(epoch + 1) / (5 - place))
                    curves.append([*key, epoch, "acc", level + rng.normal(0, 0.001)])
                    losses.append([*key, epoch, 10 * (epoch + 1), 640 * (epoch + 1), 1.2 - level])
    files = {"runs": folder / "runs.csv", "curves": folder / "curves.csv", "losses": folder / "losses.csv"}
    pd.DataFrame(rows, columns=[*KEYS, "metric", "value"]).to_csv(files["runs"], index=False)
    pd.DataFrame(curves, columns=[*KEYS, "epoch", "metric", "value"]).to_csv(files["curves"], index=False)
    pd.DataFrame(losses, columns=[*KEYS, "epoch", "step", "samples", "loss"]).to_csv(files["losses"], index=False)
    files["adjust"] = folder / "adjust.yaml"
    files["adjust"].write_text(
        "adjustments: [{name: ct2, small: {pretraining: photos, size: 10}, large: {pretraining: ct, size: 30}, factor: 2}]\n"
    )
    return files


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    files = write_inputs(folder)
    arguments = ["compare", str(files["runs"]), "--out", str(folder / "out"), "--draws", "1000"]
    for name in ("curves", "losses", "adjust"):
        arguments += [f"--{name}", str(files[name])]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return folder, arguments, result


def test_the_command_makes_a_run_directory(made):
    folder, _, result = made
    run = fs.load(folder / "out")
    assert set(run.tables) == {"comparison", "loss_curves", "runs", "runs_summary", "time_to_convergence"}
    assert list(dict.fromkeys(run.tables["runs"]["pretraining"])) == ["scratch", "photos", "ct2", "ct"]
    assert (
        len(run.tables["comparison"]) == 2 * 2 * 6 + 2 * 2 * 3
    )  # two tasks of four, and of their epochs to convergence three
    assert "- xray (acc, E1): ct has the highest mean" in result.stdout and "Report: " in result.stdout
    assert sorted(run.verify())[:2] == ["config.yaml", "figures/loss_curves_epochs.csv"]
    assert {"pairwise_E1", "scores_E1", "time_to_convergence", "loss_curves_samples", "loss_curves_epochs"} == set(
        run.summary["figures"]
    )
    assert (run.path / "figures" / "results_E1.tex").read_text().startswith(r"\begin{tabular}{lcc}")
    report = run.report.read_text(encoding="utf-8")
    for text in ("Comparison", "Time to convergence", "Losses", "ct has the highest mean", "runs.csv, SHA-256"):
        assert text in report
    assert "Models and data" not in report and "<h1>Runs compared: scratch / photos / ct2 / ct</h1>" in report
    assert "ct2: no runs, but those of another pretraining moved along a line" in report


def test_time_to_convergence_is_compared_too_and_lower_is_better(made):
    table = fs.load(made[0] / "out").tables["comparison"]
    epochs = table[table["metric"] == "epochs_to_convergence acc"]
    assert (
        not epochs["higher_is_better"].any() and (epochs.query("a == 'ct' and b == 'scratch'")["difference"] < 0).all()
    )


def test_figures_and_report_can_be_made_again(made):
    folder, *_ = made
    for command in ("figures", "report"):
        result = CliRunner().invoke(app, [command, str(folder / "out")])
        assert result.exit_code == 0, result.output
    assert CliRunner().invoke(app, ["verify", str(folder / "out")]).exit_code == 0


def write_predictions(folder, label, *, right, seed):
    """Predictions of 90 samples of three classes in 30 groups."""
    rng = np.random.default_rng(seed)
    truth = np.arange(90) % 3
    predicted = np.where(rng.uniform(size=90) < right, truth, (truth + 1) % 3)
    table = pd.DataFrame({"id": [f"{n:03}.png" for n in range(90)], "group": [f"p{n // 3}" for n in range(90)]})
    names = np.array(["a", "b", "c"])
    table = table.assign(label=names[truth], predicted=names[predicted])
    for place, name in enumerate(names):
        table[f"p_{name}"] = np.where(predicted == place, 0.8, 0.1)
    (folder / label).mkdir()
    table.to_csv(folder / label / "predictions.csv", index=False)
    return f"{label}={folder / label / 'predictions.csv'}"


@pytest.mark.figures
def test_who_knows_what_from_predictions(tmp_path):
    files = write_inputs(tmp_path)
    given = [
        write_predictions(tmp_path, name, right=right, seed=n)
        for n, (name, right) in enumerate({"ct": 0.9, "photos": 0.6}.items())
    ]
    arguments = [word for each in given for word in ("--predictions", each)]
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["compare", str(files["runs"]), "--out", str(out), "--task", "xray", *arguments])
    assert result.exit_code == 0, result.output
    assert "On xray, all models are right on" in result.stdout and "error consistency" in result.stdout
    run = fs.load(out)
    table = run.tables["agreement"]
    assert table["set"].tolist() == ["none", "ct", "photos", "ct + photos"] and table["count"].sum() == 90
    assert set(table["unit"]) == {"group"} and "who_knows_what_xray" in run.summary["figures"]
    report = run.report.read_text(encoding="utf-8")
    assert "Who knows what" in report and "Exact sets of models that are right on xray" in report and run.verify()


def write_masks(folder, seed=0):
    """Ten masks of two classes, their images, and what two models predict."""
    rng = np.random.default_rng(seed)
    for n in range(10):
        mask = np.zeros((12, 10), np.uint8)
        mask[2:8, 2:8] = 1 + n % 2
        one, other = (np.where(rng.uniform(size=mask.shape) < wrong * n / 10, 0, mask) for wrong in (0.2, 0.6))
        picture = rng.integers(0, 255, (12, 10)).astype(np.uint8)
        for name, array in {"masks": mask, "one": one, "other": other, "images": picture}.items():
            (folder / name / "x").mkdir(parents=True, exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(folder / name / "x" / f"{n}.png")
    predictions = [f"{name}={folder / name}" for name in ("one", "other")]
    return {"predictions": predictions, "masks": folder / "masks", "images": folder / "images"}


def test_who_knows_what_of_a_segmentation_with_overlays(tmp_path):
    files, given = write_inputs(tmp_path), write_masks(tmp_path)
    run = fs.compare(files["runs"], tmp_path / "out", draws=1000, **given)
    table = run.tables["agreement"].set_index("set")
    assert table["count"].sum() == 360 and table.loc["one", "count"] > table.loc["other", "count"]
    assert run.summary["figures"][-1] == "overlays" and "least of one mind" in run.report.read_text(encoding="utf-8")
    assert CliRunner().invoke(app, ["figures", str(run.path)]).exit_code == 0 and run.verify()


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"masks": None, "images": None, "predictions": None, "by_class": True},
            "by_class is given without predictions",
        ),
        ({"masks": None}, "images is given without masks, which it belongs to; give masks, too"),
        ({"predictions": ["one"]}, "'one' is no LABEL=PATH"),
        ({"predictions": ["a=x", "a=y"]}, "a label is given twice among a, a; each model needs its own"),
        ({"predictions": ["a=nothing", "b=nothing"]}, "nothing is no folder; masks are files"),
        ({"images": "nothing"}, "nothing is no folder"),
    ],
)
def test_bad_predictions_are_named(tmp_path, change, message):
    files = write_inputs(tmp_path)
    with pytest.raises(FeaturespaceError, match=message):
        fs.compare(files["runs"], tmp_path / "out", draws=1000, **write_masks(tmp_path) | change)


@pytest.mark.usefixtures("no_figures")
def test_images_that_do_not_fit_their_masks_are_named(tmp_path):
    files, given = write_inputs(tmp_path), write_masks(tmp_path)
    Image.new("L", (5, 5)).save(tmp_path / "images" / "x" / "9.png")
    with pytest.raises(FeaturespaceError, match="9.png is 5 x 5 pixels and its mask 10 x 12"):
        fs.compare(files["runs"], tmp_path / "out", draws=1000, **given)
    (tmp_path / "images" / "x" / "9.png").unlink()
    with pytest.raises(FeaturespaceError, match="lacks the image of the mask 'x/9'; give every mask its image"):
        fs.compare(files["runs"], tmp_path / "again", draws=1000, **given)


@pytest.fixture
def no_figures(monkeypatch):
    """Figures take most of the time; `made` draws them all."""
    monkeypatch.setattr("featurespace.report.write.draw_figures", lambda run: [])


@pytest.mark.usefixtures("no_figures")
def test_the_same_command_again_gives_the_same_bytes_and_more_runs_other_tables(tmp_path):
    files = write_inputs(tmp_path)
    options = {"draws": 1000, "curves": files["curves"]}
    run = fs.compare(files["runs"], tmp_path / "out", **options)
    before = {file.name: file.read_bytes() for file in (run.path / "tables").iterdir()}
    fs.compare(files["runs"], tmp_path / "out", **options)
    assert before == {file.name: file.read_bytes() for file in (run.path / "tables").iterdir()}
    write_inputs(tmp_path, runs=5)
    fs.compare(files["runs"], tmp_path / "out", **options)
    assert set(run.tables["comparison"]["n_a"]) == {5} and run.verify()


@pytest.mark.usefixtures("no_figures")
def test_another_configuration_or_another_kind_of_run_is_not_overwritten(tmp_path):
    files = write_inputs(tmp_path)
    fs.compare(files["runs"], tmp_path / "out", draws=1000)
    with pytest.raises(
        FeaturespaceError, match="out holds another run .family: .* there, .* now.; choose another --out"
    ):
        fs.compare(files["runs"], tmp_path / "out", draws=1000, family="all")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.yaml").write_text("models: [resnet18]\ndata: [x=y]\n")
    with pytest.raises(FeaturespaceError, match="other holds another run .its config.yaml is none of a comparison"):
        fs.compare(files["runs"], tmp_path / "other")
    (tmp_path / "foreign" / "tables").mkdir(parents=True)
    with pytest.raises(FeaturespaceError, match="foreign is not empty and no run of ours"):
        fs.compare(files["runs"], tmp_path / "foreign")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"family": "seed"}, "part of a family 'seed' is not known; allowed: experiment, task, metric, all"),
        ({"alpha": 0}, "option 'alpha': .*greater than 0"),
        ({"margin": -1}, "option 'margin'"),
        ({"power": 1}, "option 'power'"),
        ({"std": "robust"}, "option 'std': .*'population' or 'sample'"),
        ({"draws": 10}, "option 'draws'"),
        ({"colour": 1}, "unknown option 'colour'"),
        ({"adjust": "nothing.yaml"}, "nothing.yaml cannot be read as YAML .it does not exist"),
        ({"curves": ["nothing.csv"]}, "nothing.csv does not exist; name a curves table"),
    ],
)
def test_bad_options_are_named_and_nothing_is_written(tmp_path, options, message):
    files = write_inputs(tmp_path)
    with pytest.raises(FeaturespaceError, match=message):
        fs.compare(files["runs"], tmp_path / "out", **options)
    assert not (tmp_path / "out" / "config.yaml").exists()


def test_curves_too_short_or_with_gaps_are_named(tmp_path):
    files = write_inputs(tmp_path, epochs=9)
    with pytest.raises(
        FeaturespaceError, match="the curve of experiment E1, .*: the curve has 9 epochs; at least 10 are needed"
    ):
        fs.compare(files["runs"], tmp_path / "out", curves=files["curves"])
    table = pd.read_csv(write_inputs(tmp_path)["curves"])
    table.drop(index=3).to_csv(files["curves"], index=False)
    with pytest.raises(
        FeaturespaceError, match="pretraining scratch, .*run 0 has no epoch 3; epochs count from 0 without gaps"
    ):
        fs.compare(files["runs"], tmp_path / "out", curves=files["curves"])


@pytest.mark.usefixtures("no_figures")
def test_a_configuration_file_is_equal_to_the_options(made, tmp_path):
    folder, arguments, _ = made
    first = fs.load(arguments[arguments.index("--out") + 1])
    result = CliRunner().invoke(app, ["compare", "--config", str(first.config), "--out", str(tmp_path / "again"), "-q"])
    assert result.exit_code == 0, result.exception
    again = fs.load(tmp_path / "again")
    assert again.config.read_text() == first.config.read_text()
    pd.testing.assert_frame_equal(again.tables["comparison"], first.tables["comparison"])
    with pytest.raises(FeaturespaceError, match="no runs given; name runs tables"):
        CliRunner().invoke(app, ["compare", "--out", str(tmp_path / "x")], catch_exceptions=False)


@pytest.mark.usefixtures("no_figures")
def test_json_and_errors_of_the_command(made, tmp_path):
    folder, arguments, _ = made
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert json.loads(result.stdout)["pretrainings"] == ["scratch", "photos", "ct2", "ct"]
    result = CliRunner().invoke(app, ["compare", str(folder / "nothing.csv"), "--out", str(tmp_path / "x")])
    assert isinstance(result.exception, FeaturespaceError)


def test_names_that_mean_something_to_a_figure_or_a_page(tmp_path):
    rng = np.random.default_rng(0)
    names = ["$a_b$", "<script>", "_hidden", "=1+1", "x" * 60]
    rows = [["E/1", name, task, run, "acc%", 0.5 + place / 10 + rng.normal(0, 0.01)]
            for task in ("t/ask", "../up") for place, name in enumerate(names) for run in range(3)]  # fmt: skip
    pd.DataFrame(rows, columns=[*KEYS, "metric", "value"]).to_csv(tmp_path / "runs.csv", index=False)
    run = fs.compare(tmp_path / "runs.csv", tmp_path / "out", draws=1000)
    assert run.verify() and sorted(path.name for path in tmp_path.iterdir()) == ["out", "runs.csv"]
    report = run.report.read_text(encoding="utf-8")
    assert "<script>" not in report and "&lt;script&gt;" in report


@pytest.mark.usefixtures("no_figures")
def test_nothing_to_compare_is_said(tmp_path):
    files = write_inputs(tmp_path)
    table = pd.read_csv(files["runs"]).query("pretraining == 'ct'")
    table.to_csv(files["runs"], index=False)
    run = fs.compare(files["runs"], tmp_path / "out", draws=1000)
    assert run.summary["findings"][0]["sentence"].startswith(
        "Nothing is compared: no two pretrainings have runs of the same"
    )


@pytest.mark.usefixtures("no_figures")
def test_one_run_each_is_compared_without_tests(tmp_path):
    files = write_inputs(tmp_path, runs=1)
    run = fs.compare(files["runs"], tmp_path / "out")
    assert set(run.tables["comparison"]["verdict"]) == {"no test"}
    assert "not compared by a test with scratch" in run.report.read_text(encoding="utf-8")
