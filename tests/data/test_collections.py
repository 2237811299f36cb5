"""The test files of pydicom and nibabel, odd and bad ones among them: used or counted, read as their libraries do, told of nobody."""

import re
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pydicom
import pytest
from typer.testing import CliRunner

from featurespace.cli import app
from featurespace.data.specs import open_data
from featurespace.data.volumes import read_volume
from featurespace.errors import FeaturespaceError

FOLDERS = {"pydicom": Path(pydicom.__file__).parent / "data", "nibabel": Path(nibabel.__file__).parent / "tests/data"}
IDENTIFYING = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "AccessionNumber")


def files_of(folder):
    hidden = (".", "__MACOSX")
    return [path for path in sorted(folder.rglob("*"))
            if path.is_file() and not any(part.startswith(hidden) for part in path.relative_to(folder).parts)]  # fmt: skip


def secrets():
    """Whatever pydicom finds in its files that could name somebody, but for names that are those of manufacturers, too."""
    found, makers = set(), ""
    for path in files_of(FOLDERS["pydicom"]):
        try:
            header = pydicom.dcmread(path, force=True, stop_before_pixels=True)
            makers += str(header.get("Manufacturer", ""))
            for element in header.iterall():
                if element.VR == "PN" or element.keyword in IDENTIFYING:
                    found |= {str(element.value), *str(element.value).split("^")}
        except Exception:  # bad files are the point
            continue
    return {each.strip().encode() for each in found if len(each.strip()) > 4 and each.strip() not in makers}


@pytest.mark.slow
@pytest.mark.parametrize("name", FOLDERS)
def test_features_of_a_whole_collection_name_nobody_and_every_file_is_accounted_for(tmp_path, name):
    names = secrets()
    assert len(names) > 100 and b"CompressedSamples" in names
    args = [
        "extract",
        "test_resnet@random",
        "--data",
        f"x={FOLDERS[name]}",
        "--image-size",
        "32",
        "--out",
        str(tmp_path / "out"),
    ]
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 0, result.output
    outputs = {"printed": (result.output + result.stderr).encode()}
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            table = path.suffix == ".parquet"  # compressed
            outputs[path.name] = pd.read_parquet(path).to_csv().encode() if table else path.read_bytes()
    assert len(outputs) > 5
    for where, content in outputs.items():
        assert not [each for each in names if each in content], where
    data = open_data(f"x={FOLDERS[name]}")
    used = {path for scan in data.images.scans for path in scan.files}
    counts = {note.partition(" ")[2]: int(note.split()[0]) for note in data.notes if re.match(r"\d+ ", note)}
    unused = sum(count for text, count in counts.items() if text.startswith("files are not used: "))
    double = sum(count for text, count in counts.items() if text.startswith("duplicate slices"))
    total = len(files_of(FOLDERS[name]))
    assert len(used) + unused <= total <= len(used) + unused + double


def dicom_files():
    """The single volumes of grey values among pydicom's files."""
    for path in files_of(FOLDERS["pydicom"]):
        try:
            values, _ = read_volume(path)
            header = pydicom.dcmread(path, force=True)
            if header.SamplesPerPixel == 1 and "PALETTE" not in header.PhotometricInterpretation:
                yield path.name, values, header, pydicom.pixels.apply_modality_lut(header.pixel_array, header)
        except FeaturespaceError:
            continue


@pytest.mark.slow
def test_dicom_files_have_the_voxels_of_pydicom_at_the_places_of_nibabel():
    seen = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, of bad files
        for name, values, header, stored in dicom_files():
            across, down = np.array(header.get("ImageOrientationPatient") or [1, 0, 0, 0, 1, 0], float).reshape(2, 3)
            affine = np.eye(4)
            affine[:3, :3] = np.diag([-1, -1, 1]) @ np.column_stack([across, down, np.cross(across, down)])
            grid = np.asarray(stored, float).reshape(-1, *stored.shape[-2:]).transpose(2, 1, 0)
            expected = nibabel.as_closest_canonical(nibabel.Nifti1Image(grid, affine)).get_fdata()
            np.testing.assert_array_equal(values, expected, err_msg=name)
            seen += 1
    assert seen > 40


@pytest.mark.parametrize("name", [path.name for path in files_of(FOLDERS["nibabel"]) if ".nii" in path.name])
def test_nifti_files_have_the_voxels_of_nibabel_at_each_time(name):
    path = FOLDERS["nibabel"] / name
    try:
        data = open_data(f"x={path}")
    except FeaturespaceError as error:
        assert "no NIfTI volume that nibabel reads" in str(error) and name == "row_major.dconn.nii"  # CIFTI: no grid
        return
    expected = nibabel.as_closest_canonical(nibabel.load(path)).get_fdata()
    expected = expected.reshape(*expected.shape[:3], -1)
    assert len(data.images.scans) == expected.shape[3]
    for time, scan in enumerate(data.images.scans):
        np.testing.assert_allclose(scan.load(), expected[..., time], rtol=1e-6)
