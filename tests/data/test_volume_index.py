import os

import nibabel
import numpy as np
import pandas as pd
import pytest

import featurespace as fs
from featurespace.data import volume_files
from featurespace.data.specs import open_data
from featurespace.errors import FeaturespaceError
from featurespace.progress import Progress
from tests.data.medical import write_series

COLUMNS = ["id", "label", "group", "split", "modality", "age"]


@pytest.fixture
def archive(tmp_path):
    """Two series of one patient and one of another, time points of NIfTI, slices of NumPy, and what is no volume."""
    folder = tmp_path / "archive"
    for number, patient in enumerate(("SECRET-a", "SECRET-a", "SECRET-b")):
        write_series(
            folder / f"train/{number}", series=f"1.2.{number}", PatientID=patient, PatientName="Muster^Max", seed=number
        )
    rng = np.random.default_rng(0)
    nibabel.save(
        nibabel.Nifti1Image(rng.normal(size=(4, 5, 3, 2)).astype(np.float32), np.diag([-1, 2, 3.0, 1])),
        folder / "t.nii.gz",
    )
    for number in range(3):
        np.save(folder / f"{number}.npy", rng.normal(size=(4, 5)))
    (folder / "notes.txt").write_text("x")
    return folder


def same(one, other):
    pd.testing.assert_frame_equal(one.samples[COLUMNS], other.samples[COLUMNS])
    for row in range(len(one)):
        np.testing.assert_array_equal(np.asarray(one.image(row)), np.asarray(other.image(row)))
    assert one.fingerprint() == other.fingerprint()


def test_the_index_gives_what_the_folder_gives_and_opens_no_header(archive, tmp_path, monkeypatch):
    progress = Progress()
    fs.index(f"x={archive}", tmp_path / "x.parquet", progress=progress)
    assert "x: 1 files are not used: neither DICOM nor NIfTI nor .npy" in progress.messages
    whole = open_data(f"x={archive}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(volume_files, "read_frames", None)
    monkeypatch.setattr(volume_files, "nifti_scans", None)
    read = open_data("x=x.parquet")
    same(whole, read)
    assert set(whole.notes) < set(read.notes) and whole.images.stamp() == read.images.stamp()


def test_no_name_is_in_the_index_and_leakage_is_said_to_be_unknown(archive, tmp_path):
    file = fs.index(f"x={archive}", tmp_path / "x.parquet")
    content = file.read_bytes() + pd.read_parquet(file).drop(columns="files").to_csv().encode()
    assert not any(secret in content for secret in (b"SECRET", b"Muster", b"1.2.0", b"1.2.1"))
    read = open_data(f"x={file}")
    assert read.identities("patient") is None and read.identities("study") is None
    assert any("no leakage check knows their patients" in note for note in read.notes)


def test_names_are_in_the_index_where_asked(archive, tmp_path):
    (tmp_path / "x.yaml").write_text(f"path: {archive}\nidentify: true\n")
    file = fs.index(f"x={tmp_path / 'x.yaml'}", tmp_path / "x.parquet")
    read = open_data(f"x={file}")
    assert {"SECRET-a", "SECRET-b"} < set(read.identities("patient")) and "SECRET-a" in set(read.samples["group"])
    assert not any("hashed names" in note for note in read.notes)
    pd.testing.assert_frame_equal(read.samples[COLUMNS], open_data(f"x={tmp_path / 'x.yaml'}").samples[COLUMNS])


def test_options_are_those_of_the_yaml_until_another_one_is_written(archive, tmp_path):
    (tmp_path / "t.csv").write_text("patient,label,split\nSECRET-a,sick,train\nSECRET-b,well,test\n")
    text = f"path: {archive}\nwindow: lung\naxis: coronal\nspacing: 1\nsalt: not to be told\ntable: t.csv\n"
    (tmp_path / "x.yaml").write_text(text)
    file = fs.index(f"x={tmp_path / 'x.yaml'}", tmp_path / "x.parquet")
    same(open_data(f"x={tmp_path / 'x.yaml'}"), open_data(f"x={file}"))
    assert b"not to be told" not in file.read_bytes()
    (tmp_path / "y.yaml").write_text("path: x.parquet\nwindow: bone\n")
    changed = open_data(f"x={tmp_path / 'y.yaml'}")
    assert "window bone, coronal slices, resampled" in changed.notes[0] and len(changed) == len(open_data(f"x={file}"))


@pytest.mark.slow  # two interpreters start
def test_several_processes_find_what_one_finds(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(volume_files, "PIECE", 4)
    one = fs.index(f"x={archive}", tmp_path / "one.parquet")
    several = fs.index(f"x={archive}", tmp_path / "several.parquet", processes=2)
    pd.testing.assert_frame_equal(pd.read_parquet(one), pd.read_parquet(several))


@pytest.mark.slow  # interpreters start
def test_a_process_that_is_killed_is_told(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(volume_files, "PIECE", 1)
    start = volume_files.ProcessPoolExecutor.map

    def killed(pool, *arguments):
        answers = start(pool, *arguments)
        for process in list(pool._processes.values()):
            process.kill()
        return answers

    monkeypatch.setattr(volume_files.ProcessPoolExecutor, "map", killed)
    with pytest.raises(
        fs.FeaturespaceError, match="a process that read headers below .* ended without a word; .* same command again"
    ):
        fs.index(f"x={archive}", tmp_path / "x.parquet", processes=2)
    assert not list(tmp_path.glob("*.parquet"))


@pytest.mark.parametrize("change, match", [
    (lambda file: file.write_bytes(file.read_bytes() + b"0"), r"001\.dcm has changed since the index was written; write .*again: feat"),
    (lambda file: os.utime(file, ns=(0, 0)), r"001\.dcm has changed since the index was written"),
    (lambda file: file.unlink(), r"001\.dcm is gone; write the index again: featurespace index x="),
])  # fmt: skip
def test_a_changed_file_is_named(archive, tmp_path, change, match):
    file = fs.index(f"x={archive}", tmp_path / "x.parquet")
    change(archive / "train/1/001.dcm")
    with pytest.raises(FeaturespaceError, match=match):
        open_data(f"x={file}")
    if (archive / "train/1/001.dcm").exists():
        fs.index(f"x={archive}", file)
        same(open_data(f"x={archive}"), open_data(f"x={file}"))


@pytest.mark.parametrize("text", ["salt: another secret", "identify: true", "table: t.csv", "masks: masks"])
def test_what_needs_the_headers_is_refused(archive, tmp_path, text):
    fs.index(f"x={archive}", tmp_path / "x.parquet")
    (tmp_path / "y.yaml").write_text(f"path: x.parquet\n{text}\n")
    with pytest.raises(
        FeaturespaceError, match=f"'{text.split(':')[0]}' does not go with the index .*write it in the volumes.yaml"
    ):
        open_data(f"x={tmp_path / 'y.yaml'}")


def test_errors(archive, tmp_path):
    with pytest.raises(FeaturespaceError, match=r"--out .*x\.csv must end in \.parquet; an index of volumes has"):
        fs.index(f"x={archive}", tmp_path / "x.csv")
    file = fs.index(f"x={archive}", tmp_path / "x.parquet")
    with pytest.raises(FeaturespaceError, match="is an index already; name the folder"):
        fs.index(f"x={file}", tmp_path / "y.parquet")
    (tmp_path / "none").mkdir()
    (tmp_path / "none.yaml").write_text("path: none\n")
    with pytest.raises(FeaturespaceError, match="no volume in .*none; volumes are DICOM"):
        fs.index(f"x={tmp_path / 'none.yaml'}", tmp_path / "y.parquet")
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(file)
    pyarrow.parquet.write_table(table.drop_columns("sizes"), file)
    with pytest.raises(FeaturespaceError, match="cannot be read as an index .*write it again"):
        open_data(f"x={file}")
    about = table.schema.metadata[b"featurespace_volumes"].replace(b'"version": 1', b'"version": 0')
    pyarrow.parquet.write_table(table.replace_schema_metadata({"featurespace_volumes": about}), file)
    with pytest.raises(
        FeaturespaceError,
        match="cannot be read as an index .it was written by another version of featurespace.; write it again",
    ):
        open_data(f"x={file}")


def test_a_name_that_is_no_utf8_is_told(archive, tmp_path):
    os.rename(archive / "0.npy", os.fsencode(archive) + b"/\xff.npy")
    with pytest.raises(FeaturespaceError, match="a file's name is no UTF-8"):
        fs.index(f"x={archive}", tmp_path / "x.parquet")
    assert not (tmp_path / "x.parquet").exists()
