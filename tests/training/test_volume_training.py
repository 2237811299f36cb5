import nibabel
import numpy as np
import pandas as pd
import pytest

from featurespace.data.specs import open_data
from featurespace.errors import FeaturespaceError
from featurespace.models.load import load_model
from featurespace.models.specs import parse_model_spec
from featurespace.training.finetune import finetune
from featurespace.training.pixels import Pixels
from featurespace.training.settings import FinetuneConfig
from featurespace.yaml_files import checked
from tests.data.medical import write_series


def test_volumes_are_trained_on_and_no_output_names_a_patient(tmp_path):
    for number, place in enumerate(
        f"{s}/{c}/Mustermann{n}" for s in ("train", "val", "test") for c in "ab" for n in range(2)
    ):
        write_series(tmp_path / "scans" / place, series=f"1.2.{number}", PatientID=f"SECRET-{number}", seed=number)
    (tmp_path / "ct.yaml").write_text("path: scans\nlabel: folder\nwindow: [lung, soft_tissue, bone]\n")
    values = {"model": "start=test_resnet", "data": f"ct={tmp_path / 'ct.yaml'}", "out": tmp_path / "tuned"}
    config = checked(FinetuneConfig, values | {"image_size": 32, "batch_size": 8, "epochs": 1, "device": "cpu"})
    finetune(config)
    written = [path for path in (tmp_path / "tuned").rglob("*") if path.is_file()]
    assert {"checkpoint.safetensors", "predictions.csv"} <= {path.name for path in written}
    for path in written:
        content = path.read_bytes()
        assert not any(secret in content for secret in (b"Mustermann", b"Jane", b"SECRET")), path


def test_decoded_images_are_known_by_their_window(tmp_path):
    write_series(tmp_path / "scans")
    stamps = []
    for window in ("lung", "bone", "lung"):
        (tmp_path / "ct.yaml").write_text(f"path: scans\nwindow: {window}\n")
        data = open_data(f"ct={tmp_path / 'ct.yaml'}")
        form = load_model(parse_model_spec("test_resnet@random")).preprocessing
        stamps.append(Pixels([data], form, 32, cache="none", folder=tmp_path, workers=1).stamp)
    assert stamps[0] == stamps[2] != stamps[1]
    (tmp_path / "scans/000.dcm").unlink()
    assert Pixels([data], form, 32, cache="none", folder=tmp_path, workers=1).stamp != stamps[2]


def balls(tmp_path, patients=6):
    """Volumes of noise with a bright ball each, and the balls as masks."""
    rng = np.random.default_rng(0)
    for patient in range(patients):
        middle = rng.uniform(6, 10, 3)
        ball = sum((grid - at) ** 2 for grid, at in zip(np.mgrid[:16, :16, :16], middle)) < 25
        for name, values in (("img", rng.normal(size=ball.shape) * 20 + 150 * ball), ("lbl", ball)):
            path = tmp_path / "scans" / f"sub-{patient}" / f"{name}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(values.astype(np.int16), np.diag([1, 1, 2.0, 1])), path)
    (tmp_path / "balls.yaml").write_text("path: scans\nmasks: scans\nwindow: range\n")


def segmentation(tmp_path, **changes):
    values = {"model": "start=test_resnet", "data": f"balls={tmp_path / 'balls.yaml'}", "out": tmp_path / "out", "image_size": 32,
              "batch_size": 16, "epochs": 8, "learning_rate": 3e-3, "device": "cpu", "loggers": (), "task": "segmentation",
              "classes": ["background", "ball"], "dice": 1.0}  # fmt: skip
    return checked(FinetuneConfig, {**values, **changes})


@pytest.mark.slow  # 10 s
def test_a_unet_finds_balls_in_patients_that_it_has_not_seen(tmp_path):
    balls(tmp_path)
    finetune(segmentation(tmp_path))
    runs = pd.read_csv(tmp_path / "out/runs.csv").set_index("metric")["value"]
    assert runs["dice_ball"] > 0.85
    tested = pd.read_csv(tmp_path / "out/predictions.csv")
    assert len(tested) == 32 and tested["group"].nunique() == 2  # all slices of two patients, with a ball or not


def test_a_class_without_a_name_is_refused_with_its_value(tmp_path):
    balls(tmp_path, patients=3)
    path = tmp_path / "scans/sub-1/lbl.nii.gz"
    image = nibabel.load(path)
    values = image.get_fdata().astype(np.uint8)
    values[3, 4, 5] = 7
    nibabel.save(nibabel.Nifti1Image(values, image.affine), path)
    with pytest.raises(
        FeaturespaceError, match="mask sub-1/lbl.nii.gz, slice 5, has class 7 at row 11, column 12; allowed are 0 to 1"
    ):
        finetune(segmentation(tmp_path))


@pytest.mark.parametrize("text, changes", [("", {}), ("masks: scans\n", {"masks": "folder"})])
def test_masks_of_volumes_stand_beside_their_path(tmp_path, text, changes):
    balls(tmp_path, patients=2)
    (tmp_path / "balls.yaml").write_text("path: scans\n" + text)
    changes = {key: tmp_path / "scans" for key in changes}
    with pytest.raises(
        FeaturespaceError, match="name the folder of the volumes' masks under 'masks' in a volumes.yaml"
    ):
        finetune(segmentation(tmp_path, **changes))
