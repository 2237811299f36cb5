import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

import featurespace as fs
from featurespace.cli import app
from featurespace.data.specs import open_data
from featurespace.errors import FeaturespaceError
from featurespace.models.load import load_model
from featurespace.models.specs import parse_model_spec
from featurespace.progress import Progress
from featurespace.training.masks import find_masks
from featurespace.yaml_files import checked

ODD = ['quo"te,;.png', "new\nline\r.png", " space.png", "-dash\t.png", "ü💥.png", "NA.png"]


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for label in ("007", "NA", " b\r"):
            for name in ODD:
                file = tmp_path / "images" / split / label / name
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(file)
    (tmp_path / "images" / "notes.txt").write_text("x")
    return tmp_path / "images"


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_index_reads_as_the_folder_wherever_it_lies(folder, tmp_path, monkeypatch, suffix):
    monkeypatch.chdir(tmp_path)
    progress = Progress()
    file = fs.index("x=images", f"elsewhere/m.{suffix}", progress=progress)
    assert progress.messages == ["x: 1 file that is no image was passed over, e.g. notes.txt"]
    whole, read = open_data("x=images"), open_data(f"x={file}")
    columns = ["id", "label", "group", "split"]
    pd.testing.assert_frame_equal(whole.samples[columns], read.samples[columns])
    assert whole.fingerprint() == read.fingerprint()  # of the images' bytes, too
    monkeypatch.chdir("/")
    assert open_data(f"x={tmp_path / file}").digests() == read.digests()
    assert read.notes == whole.notes[1:] == ()


@pytest.mark.parametrize("kind", ["pretrain", "finetune"])
def test_a_training_from_the_index_is_the_training_from_the_folder(tmp_path, two_domains, kind):
    folder = two_domains[0].parent
    sources = {"folder": folder, "index": fs.index(f"x={folder}", tmp_path / "m.parquet")}
    hashes, manifests = [], []
    for name, source in sources.items():
        shared = {
            "model": "test_resnet",
            "out": tmp_path / name,
            "image_size": 32,
            "epochs": 1,
            "device": "cpu",
            "loggers": (),
        }
        if kind == "pretrain":
            file = fs.pretrain(checked(fs.PretrainConfig, shared | {"data": f"x={source}", "batch_size": 24}))
        else:
            file = fs.finetune(checked(fs.FinetuneConfig, shared | {"data": f"x={source}", "batch_size": 24}))
        model = load_model(parse_model_spec(str(file)))
        hashes.append(model.weights_hash)
        manifests.append(model.manifest)
    assert hashes[0] == hashes[1] and manifests[0]["data_hash"] == manifests[1]["data_hash"]
    assert manifests[0]["metrics"] == manifests[1]["metrics"]


def test_groups_splits_and_masks_of_a_manifest_stay(tmp_path, two_domains):
    table = pd.read_csv(two_domains[0])
    table["mask"] = table["path"]
    table.loc[3, "mask"] = None
    source = two_domains[0].parent / "masks.csv"
    table.to_csv(source, index=False)
    whole, read = open_data(f"x={source}"), open_data(f"x={fs.index(f'x={source}', tmp_path / 'm.csv')}")
    source.unlink()
    assert whole.fingerprint() == read.fingerprint()
    masks = pd.read_csv(tmp_path / "m.csv")["mask"]
    assert masks.drop(3).tolist() == whole.samples["path"].drop(3).tolist() and pd.isna(masks[3])
    assert find_masks(read.subset(np.arange(3)), two_domains[0].parent).paths[0].name == "0-0.png"


def test_one_of_ours_is_written_again_and_nothing_else_is_touched(folder, tmp_path):
    file = fs.index(f"x={folder}", tmp_path / "m.csv")
    os.remove(folder / "train" / "007" / ODD[0])
    fs.index(f"x={folder}", file)
    assert len(open_data(f"x={file}")) == 6 * len(ODD) - 1
    with pytest.raises(FeaturespaceError, match=r"m\.csv is there already and was not written by `index`; choose"):
        fs.index(f"x={file}", file)  # of itself
    for name, text in (("mine.csv", "path,label\n0.png,a\n"), ("thesis.parquet", "words"), ("empty.csv", "")):
        (tmp_path / name).write_text(text)
        with pytest.raises(FeaturespaceError, match=f"{name} is there already and was not written by `index`; choose"):
            fs.index(f"x={folder}", tmp_path / name)
        assert (tmp_path / name).read_text() == text
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(FeaturespaceError, match=r"d\.csv is there already"):
        fs.index(f"x={folder}", tmp_path / "d.csv")


def test_errors(folder, tmp_path):
    with pytest.raises(FeaturespaceError, match=r"--out .*m\.txt must end in \.parquet or \.csv"):
        fs.index(f"x={folder}", tmp_path / "m.txt")
    with pytest.raises(FeaturespaceError, match=r"data set 'x': .*/images2 does not exist; did you mean .*images\?"):
        fs.index(f"x={tmp_path / 'images2'}", tmp_path / "m.csv")
    np.savez(tmp_path / "a.npz", images=np.zeros((2, 8, 8), np.uint8))
    with pytest.raises(FeaturespaceError, match=r"the images in .*a\.npz are no files; name it as it is, LABEL="):
        fs.index(f"x={tmp_path / 'a.npz'}", tmp_path / "m.csv")
    os.rename(folder / "train" / "007" / "NA.png", os.fsencode(folder) + b"/train/007/\xff.png")
    with pytest.raises(
        FeaturespaceError, match=r"data set 'x': the name .*\\udcff\.png is no UTF-8.*; rename the file"
    ):
        fs.index(f"x={folder}", tmp_path / "m.csv")
    assert not list(tmp_path.glob("*.csv"))


def test_the_command(folder, tmp_path):
    run = CliRunner().invoke(app, ["index", f"x={folder}", "--out", str(tmp_path / "m.parquet")])
    assert run.exit_code == 0 and run.output.strip().endswith(str(tmp_path / "m.parquet"))
    assert f"images: {6 * len(ODD)} images" in run.stderr
    quiet = CliRunner().invoke(app, ["index", f"x={folder}", "--out", str(tmp_path / "m.parquet"), "-q"])
    assert quiet.stdout.strip() == str(tmp_path / "m.parquet") and not quiet.stderr
