from collections import Counter
from pathlib import Path

import imagecodecs
import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from featurespace.data.specs import open_data
from featurespace.data.volumes import read_volume
from featurespace.errors import FeaturespaceError
from tests.data.medical import compressed, write_series, write_slice


def display(values):
    """(slices, rows, columns) of an axial series -> (x, y, z), by the definition of DICOM's and NIfTI's axes."""
    return values.transpose(2, 1, 0)[::-1, ::-1]


def test_a_series_is_sorted_by_geometry_and_keeps_its_values(tmp_path):
    stored = write_series(tmp_path / "deep/er", order=[2, 0, 3, 1])
    values, spacing = read_volume(tmp_path)
    assert values.dtype == np.float32 and spacing == (0.5, 0.8, 2.0)
    np.testing.assert_array_equal(values, display(stored.astype(float) - 1024))


def test_slices_come_as_they_are_stored_through_the_default_window(tmp_path):
    stored = write_series(tmp_path, order=[1, 0, 3, 2])
    data = open_data(f"ct={tmp_path}")
    assert len(data) == 4
    for index in range(4):
        expected = np.clip((stored[index] - 1024.0 + 160) / 400 * 255, 0, 255)
        np.testing.assert_allclose(np.asarray(data.image(index)), expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("orientation", [(0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 0, -1)], ids=["sagittal", "coronal"])
def test_other_orientations_agree_with_the_axes_of_the_patient(tmp_path, orientation):
    rng = np.random.default_rng(1)
    stored = rng.integers(0, 900, (3, 6, 5)).astype(np.int16)
    normal = np.cross(orientation[:3], orientation[3:])
    for index in range(3):
        write_slice(tmp_path / f"{index}", stored[index], position=tuple(normal * 2.0 * index), orientation=orientation)
    values, _ = read_volume(tmp_path)
    across, down = np.array(orientation[:3]), np.array(orientation[3:])
    for k, j, i in [(0, 0, 0), (2, 0, 0), (0, 5, 0), (0, 0, 4), (1, 2, 3)]:  # the place of each voxel, by hand
        place = (normal * 2.0 * k + down * 0.8 * j + across * 0.5 * i) * [-1, -1, 1]
        corners = np.array([(normal * 2.0 * c + down * 0.8 * b + across * 0.5 * a) * [-1, -1, 1]
                            for c in (0, 2) for b in (0, 5) for a in (0, 4)])  # fmt: skip
        step = np.abs(normal * 2.0 + down * 0.8 + across * 0.5)
        at = tuple(np.round((place - corners.min(0)) / step).astype(int))
        assert values[at] == stored[k, j, i] - 1024


@pytest.mark.parametrize("order", ["RAS", "LPS", "PIR", "ASL"])
def test_nifti_equals_nibabel_in_every_orientation(tmp_path, order):
    values = np.random.default_rng(2).integers(-500, 500, (4, 5, 6)).astype(np.int16)
    turn = nibabel.orientations.axcodes2ornt(tuple(order))
    affine = np.diag([1.0, 2.0, 3.0, 1.0]) @ nibabel.orientations.inv_ornt_aff(turn, values.shape)
    image = nibabel.Nifti1Image(values, affine)
    image.header.set_slope_inter(0.37, 11.5)
    nibabel.save(image, tmp_path / "sub-01_T1w.nii.gz")
    again = nibabel.load(tmp_path / "sub-01_T1w.nii.gz")
    read, _ = read_volume(tmp_path / "sub-01_T1w.nii.gz")
    np.testing.assert_array_equal(read, nibabel.as_closest_canonical(again).get_fdata())


def test_values_and_spacing_are_those_of_monai(tmp_path):
    from monai.transforms import LoadImage, Orientation

    write_series(tmp_path / "series", order=[2, 0, 3, 1])
    affine = np.array([[0.0, -2.0, 0.0, 5.0], [1.5, 0.0, 0.0, -7.0], [0.0, 0.0, -3.0, 2.0], [0.0, 0.0, 0.0, 1.0]])
    values = np.random.default_rng(3).normal(size=(4, 5, 6)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "x.nii.gz")
    for path, reader in ((tmp_path / "series", "PydicomReader"), (tmp_path / "x.nii.gz", "NibabelReader")):
        image = LoadImage(reader=reader, image_only=True, ensure_channel_first=True)(path)
        turned = Orientation("RAS", labels=(("L", "R"), ("P", "A"), ("I", "S")))(image)
        read, spacing = read_volume(path)
        np.testing.assert_array_equal(read, np.asarray(turned[0]))
        np.testing.assert_allclose(spacing, np.asarray(turned.pixdim), rtol=1e-6)


def test_each_time_point_of_four_axes_is_a_volume(tmp_path):
    values = np.random.default_rng(3).normal(size=(4, 5, 3, 2)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "bold.nii")
    data = open_data(f"x={tmp_path}")
    assert len(data) == 6 and data.notes[0].startswith("2 volumes of 1 patients; window auto, acquired slices")


@pytest.mark.parametrize("name", [
    "CT_small.dcm", "MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm",
    "MR_small_expb.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "JPEG2000.dcm", "JPEGLSNearLossless_16.dcm",
    "image_dfl.dcm", "693_J2KI.dcm",
])  # fmt: skip
def test_values_equal_those_of_pydicom(name):
    path = get_testdata_file(name)
    stored = pydicom.dcmread(path, force=True)
    expected = pydicom.pixels.apply_modality_lut(stored.pixel_array, stored)
    orientation = np.array(stored.get("ImageOrientationPatient", [1, 0, 0, 0, 1, 0]), float)
    values, _ = read_volume(path)
    if np.array_equal(np.abs(orientation).round(), [1, 0, 0, 0, 1, 0]) and orientation.sum() > 1:
        np.testing.assert_array_equal(values, display(expected[None].astype(float)))
    else:
        np.testing.assert_array_equal(np.sort(values, axis=None), np.sort(expected.astype(float), axis=None))


def test_frames_of_an_enhanced_file_have_geometry_and_rescaling_of_their_own(tmp_path):
    stored = np.random.default_rng(5).integers(0, 900, (3, 6, 5)).astype(np.int16)
    path = write_slice(tmp_path / "multi.dcm", stored[0])
    ds = pydicom.dcmread(path)
    del ds.ImagePositionPatient, ds.ImageOrientationPatient, ds.PixelSpacing, ds.RescaleSlope, ds.RescaleIntercept
    own = []
    for index, place in enumerate((4.0, 0.0, 2.0)):  # out of order
        item, where, value = (pydicom.Dataset() for _ in range(3))
        where.ImagePositionPatient, value.RescaleSlope, value.RescaleIntercept = [0, 0, place], index + 1, -10 * index
        item.PlanePositionSequence, item.PixelValueTransformationSequence = [where], [value]
        own.append(item)
    shared, turn, measures = (pydicom.Dataset() for _ in range(3))
    turn.ImageOrientationPatient, measures.PixelSpacing = [1, 0, 0, 0, 1, 0], [0.8, 0.5]
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [turn], [measures]
    ds.PerFrameFunctionalGroupsSequence, ds.SharedFunctionalGroupsSequence = own, [shared]
    ds.NumberOfFrames, ds.PixelData = 3, stored.tobytes()
    ds.save_as(path)
    values, spacing = read_volume(path)
    expected = np.stack([stored[1] * 2 - 10.0, stored[2] * 3 - 20.0, stored[0]])
    np.testing.assert_array_equal(values, display(expected))
    assert spacing == (0.5, 0.8, 2.0)


def test_compressed_slices_equal_plain_ones(tmp_path):
    write_series(tmp_path / "plain")
    (tmp_path / "packed").mkdir()
    for path in sorted((tmp_path / "plain").iterdir()):
        compressed(path, tmp_path / "packed" / path.name, pydicom.uid.RLELossless)
    np.testing.assert_array_equal(read_volume(tmp_path / "plain")[0], read_volume(tmp_path / "packed")[0])


@pytest.mark.parametrize("signed", [False, True])
def test_lossless_jpeg_keeps_every_value(tmp_path, signed):
    values = (
        np.random.default_rng(0).integers(-900 if signed else 0, 3000, (6, 8)).astype(np.int16 if signed else np.uint16)
    )
    path = write_slice(tmp_path / "a.dcm", values)
    packed = pydicom.dcmread(path)
    packed.PixelData = pydicom.encaps.encapsulate([imagecodecs.ljpeg_encode(values.view(np.uint16), bitspersample=16)])
    packed.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLosslessSV1
    packed["PixelData"].VR = "OB"
    packed.save_as(path)
    np.testing.assert_array_equal(read_volume(path)[0], display(values[None].astype(float) - 1024))


def test_jpeg_of_12_bit_is_read():
    values, _ = read_volume(get_testdata_file("JPGExtended.dcm"))
    assert values.shape == (256, 1024, 1) and values.min() >= 0 and 255 < values.max() < 4096


def test_several_series_in_one_folder_are_told_apart(tmp_path):
    write_series(tmp_path / "a", series="1.2.3", seed=0)
    write_series(tmp_path / "b", series="1.2.4", seed=1, PatientID="other", positions=(0.0, 1.0))
    for path in (tmp_path / "b").iterdir():
        path.rename(tmp_path / "a" / f"b{path.name}")
    data = open_data(f"x={tmp_path}")
    assert data.notes[0].startswith("2 volumes of 2 patients")
    assert sorted(data.samples["group"].value_counts()) == [2, 4]


def notes_of(tmp_path, **series):
    write_series(tmp_path, **series)
    return " | ".join(open_data(f"x={tmp_path}").notes)


def test_missing_slices_are_named(tmp_path):
    assert "2 slices are missing" in notes_of(tmp_path, positions=(0, 2, 4, 10))


def test_uneven_slices_are_named(tmp_path):
    told = notes_of(tmp_path, positions=(0, 2, 4, 5.2))
    assert "uneven" in told and "missing" not in told


def test_even_slices_have_nothing_to_tell(tmp_path):
    told = notes_of(tmp_path, positions=(0, 2, 4, 6))
    assert not any(word in told for word in ("uneven", "missing", "duplicate", "tilt"))


def test_gantry_tilt_is_named(tmp_path):
    pixels = np.zeros((4, 4), np.int16)
    for index in range(3):
        write_slice(tmp_path / f"{index}", pixels + index, position=(0.0, 0.4 * index, 2.0 * index))
    assert "gantry tilt" in " ".join(open_data(f"x={tmp_path}").notes)


def test_duplicate_slices_are_counted_and_left_out(tmp_path):
    write_series(tmp_path)
    copy = (tmp_path / "000.dcm").read_bytes()
    (tmp_path / "copy.dcm").write_bytes(copy)
    data = open_data(f"x={tmp_path}")
    assert len(data) == 4 and "1 duplicate slices (same SOPInstanceUID)" in " ".join(data.notes)


def test_a_place_that_occurs_again_beside_others_is_left_out(tmp_path):
    told = notes_of(tmp_path, positions=(0, 2, 2, 4))
    assert "1 duplicate slices (a place that occurs again)" in told


def test_time_points_of_one_series_are_volumes(tmp_path):
    stored = write_series(tmp_path, positions=(0, 2, 0, 2))
    data = open_data(f"x={tmp_path}")
    assert data.notes[0].startswith("2 volumes of 1 patients; window auto, acquired slices") and len(data) == 4
    shown = {np.asarray(data.image(index)).tobytes() for index in range(4)}
    assert len(shown) == 4 == len(stored)


def test_monochrome1_is_rescaled_and_then_inverted(tmp_path):
    stored = write_series(tmp_path, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(read_volume(tmp_path)[0], display(stored.astype(float) - 1024))
    shown = np.asarray(open_data(f"x={tmp_path}").image(0))
    expected = 255 - np.clip((stored[0] - 1024.0 + 160) / 400 * 255, 0, 255)
    np.testing.assert_allclose(shown, expected, rtol=1e-5, atol=1e-3)


def test_colour_comes_as_colour():
    path = get_testdata_file("SC_rgb_rle.dcm")
    shown = open_data(f"x={path}").image(0)
    np.testing.assert_array_equal(shown, pydicom.dcmread(path).pixel_array)


def test_numpy_slices_of_a_folder_are_a_volume(tmp_path):
    slices = np.random.default_rng(0).normal(size=(11, 6, 5))
    for index, each in enumerate(slices):
        np.save(tmp_path / f"slice_{index}.npy", each.astype(np.float32))
    values, _ = read_volume(tmp_path)
    np.testing.assert_array_equal(values, display(slices.astype(np.float32)))


def test_a_folder_of_images_stays_one(tmp_path):
    write_slice(tmp_path / "a/one.dcm", np.zeros((4, 4), np.int16))
    for index in range(2):
        Image.new("L", (8, 8)).save(tmp_path / "a" / f"{index}.png")
    data = open_data(f"x={tmp_path}")
    assert len(data) == 2 and "1 file that is no image was passed over" in data.notes[0]


def test_files_that_are_not_used_are_counted_with_their_reason(tmp_path):
    write_series(tmp_path)
    (tmp_path / "notes.txt").write_text("x" * 500)
    (tmp_path / "empty.dcm").write_bytes(b"")
    whole = (tmp_path / "003.dcm").read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[:-20])
    (tmp_path / "broken.nii").write_bytes(b"no header")
    (tmp_path / "broken.npy").write_bytes(b"no array")
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    data = open_data(f"x={tmp_path}")
    told = " | ".join(data.notes)
    assert len(data) == 4
    assert "2 files are not used: neither DICOM" in told and "1 files are not used: truncated" in told
    assert "no NIfTI volume that nibabel reads" in told and "no .npy file of numbers" in told
    assert sum(int(each.split()[0]) for each in data.notes if "not used" in each) == 6


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path):
    write_series(tmp_path)
    compressed(tmp_path / "000.dcm", tmp_path / "bomb.dcm", pydicom.uid.RLELossless)
    bomb = pydicom.dcmread(tmp_path / "bomb.dcm")
    bomb.Rows = bomb.Columns = 60000
    bomb.save_as(tmp_path / "bomb.dcm")
    assert "far more pixels than a file of its size" in " ".join(open_data(f"x={tmp_path}").notes)


def test_nifti_that_declares_more_than_it_holds_is_refused(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)), tmp_path / "a.nii")
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    raw[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()
    (tmp_path / "b.nii").write_bytes(raw)
    assert "truncated" in " ".join(open_data(f"x={tmp_path}").notes)


def test_a_folder_without_a_volume_says_why(tmp_path):
    (tmp_path / "a.nii").write_bytes(b"x")
    with pytest.raises(FeaturespaceError, match=r"no volume in .*1 files are not used: no NIfTI"):
        open_data(f"x={tmp_path}")


def test_two_volumes_are_not_one(tmp_path):
    with pytest.raises(FeaturespaceError, match="holds 0 volumes, expected one"):
        read_volume(tmp_path)


def test_a_slice_that_cannot_be_decoded_is_a_bad_image_and_the_others_are_not(tmp_path):
    write_series(tmp_path)
    compressed(tmp_path / "001.dcm", tmp_path / "001.dcm", pydicom.uid.RLELossless)
    damaged = pydicom.dcmread(tmp_path / "001.dcm")
    damaged.PixelData = pydicom.encaps.encapsulate([b"\x05" * 64])
    damaged.save_as(tmp_path / "001.dcm")
    data = open_data(f"x={tmp_path}")
    bad = Counter()
    for index in range(len(data)):
        try:
            data.image(index)
        except FeaturespaceError as error:
            assert str(tmp_path) not in str(error) and data.samples["id"][index] in str(error)
            bad[index] += 1
    assert len(data) == 4 and list(bad) == [1]


def test_nothing_names_the_patient(tmp_path):
    folder = tmp_path / "Doe_Jane"
    write_series(folder)
    data = open_data(f"x={folder}")
    told = data.samples.to_csv() + " ".join(data.notes)
    assert not any(secret in told for secret in ("Doe", "Jane", "4711", "1.2.3"))
    assert data.samples["age"].unique().tolist() == ["90"] and data.column("label") is None
    again = open_data(f"x={folder}")
    assert again.samples.equals(data.samples) and again.fingerprint() == data.fingerprint()


@pytest.mark.parametrize("package", [pydicom, nibabel], ids=["pydicom", "nibabel"])
def test_every_file_of_the_libraries_collections_is_used_or_counted(package):
    data = open_data(f"x={Path(package.__file__).parent / ('data' if package is pydicom else 'tests')}")
    for index in range(len(data)):
        try:
            data.image(index)
        except FeaturespaceError as error:
            assert "cannot be read" in str(error)


@pytest.mark.parametrize("package, name", [("pydicom", "CT_small.dcm"), ("nibabel", "a.nii")])
def test_without_the_extra_the_command_to_install_is_said(tmp_path, monkeypatch, package, name):
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)), tmp_path / "a.nii")
    (tmp_path / "CT_small.dcm").write_bytes(Path(get_testdata_file("CT_small.dcm")).read_bytes())
    monkeypatch.setattr("importlib.util.find_spec", lambda each: None if each == package else object())
    with pytest.raises(FeaturespaceError, match=rf"needs {package}, .*pip install 'featurespace\[medical\]'"):
        open_data(f"x={tmp_path / name}")


@pytest.mark.parametrize("name", ["MR_small.dcm", "MR_small_RLE.dcm", "image_dfl.dcm", "a.nii", "a.nii.gz"])
def test_damaged_files_are_refused_or_bad_images(tmp_path, name):
    path = tmp_path / name
    if ".nii" in name:
        nibabel.save(nibabel.Nifti1Image(np.arange(64, dtype=np.int16).reshape(4, 4, 4), np.eye(4)), path)
    else:
        path.write_bytes(Path(get_testdata_file(name)).read_bytes())
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    outcomes = Counter()
    for trial in range(60):
        damaged = bytearray(whole[: rng.integers(1, len(whole)) if trial % 3 == 0 else None])
        for place in rng.integers(0, min(len(damaged), 1500), 8):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            data = open_data(f"x={path}")
            data.image(0)
            outcomes["read"] += 1
        except FeaturespaceError as error:
            outcomes["refused"] += 1
            assert "CompressedSamples" not in str(error)  # the name of the patient in these files
    assert sum(outcomes.values()) == 60 and outcomes["refused"] >= 10
