from featurespace.data.specs import open_data
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
