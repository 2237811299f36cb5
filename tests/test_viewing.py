import numpy as np
import pandas as pd
import pytest

import featurespace as fs
from featurespace.plots.volumes import network_inputs
from tests.data.medical import write_series


def test_analyze_draws_what_the_network_sees_and_no_output_names_a_patient(tmp_path, checkpoints, monkeypatch):
    monkeypatch.setattr("featurespace.report.write.draw_figures", lambda run: [])
    for patient in range(5):
        identity = {
            "PatientID": f"SECRET-{patient}",
            "PatientName": f"Mustermann^{patient}",
            "series": f"1.2.{patient}",
        }
        write_series(tmp_path / f"scans/Mustermann{patient}", seed=patient, **identity)
    models = [f"before=test_resnet@{checkpoints[0]}", f"after=test_resnet@{checkpoints[1]}"]
    run = fs.analyze(models, [f"ct={tmp_path / 'scans'}"], tmp_path / "run", image_size=32, only="similarity")
    assert run.summary["figures"] == ["inputs_ct"] and run.figure_path("inputs_ct").is_file()
    assert "as the first network sees them" in (run.path / "report.html").read_text(encoding="utf-8")
    samples = run.features("before", "ct").samples
    assert samples["group"].nunique() == 5 and set(samples["modality"]) == {"CT"} and set(samples["sex"]) == {"F"}
    assert "n_groups" not in run.tables["similarity"] or set(run.tables["similarity"]["n_groups"].dropna()) == {5}
    for path in (each for each in run.path.rglob("*") if each.is_file()):
        content = path.read_bytes()
        assert not any(secret in content for secret in (b"Mustermann", b"SECRET", b"1.2.840.1")), path


def test_metadata_and_pictures_are_kept_as_asked(tmp_path, two_domains):
    table = pd.read_csv(two_domains[0])
    table["path"] = [str(two_domains[0].parent / each) for each in table["path"]]
    table.assign(age=np.arange(len(table)) % 7, name="secret").to_csv(tmp_path / "m.csv", index=False)
    arguments = ["m=test_resnet@random"], [f"x={tmp_path / 'm.csv'}"], tmp_path / "run"
    options = {"image_size": 32, "only": "embedding", "layers": "pooled", "columns": "age"}
    run = fs.analyze(*arguments, **options)
    images = run.tables["images"].set_index("sample")
    assert images["age"].astype(int).tolist() == [index % 7 for index in range(72)] and "name" not in images
    assert images["thumbnail"].notna().all() and run.figure_path("inputs_x").exists()
    run = fs.analyze(*arguments, **options, pictures=False)
    assert run.tables["images"]["thumbnail"].isna().all() and not run.figure_path("inputs_x").exists()
    assert "data:image/webp" not in run.report.read_text(encoding="utf-8") and run.verify()


@pytest.mark.parametrize("channels", [1, 3])
def test_each_panel_holds_the_values_of_its_image(channels):
    images = [np.full((4, 5, channels), value, np.float32) for value in (0.0, 100.0, 255.0)]
    figure = network_inputs(images, ["a", "b", "c"], title="ct as before sees it")
    panels = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() or axes.get_title(loc="left") for axes in panels] == ["a", "b", "c"]
    for axes, image in zip(panels, images):
        shown = np.asarray(axes.images[0].get_array()) * (1 if channels == 1 else 255)
        np.testing.assert_allclose(
            shown.reshape(4, 5, channels) if channels == 3 else shown[..., None], image, rtol=1e-6
        )


def test_values_beyond_the_range_are_drawn_at_its_ends_and_nothing_is_printed(caplog):
    image = np.linspace(-40, 300, 48, dtype=np.float32).reshape(4, 4, 3)
    figure = network_inputs([image], ["a"], title="t")
    shown = figure.axes[0].images[0].get_array()
    assert shown.min() == 0 and shown.max() == 1 and not caplog.records
