import numpy as np
import pytest

from featurespace.data.specs import open_data
from featurespace.data.windows import CT_WINDOWS, VolumeSettings, bounds, read_volume_settings, windowed
from featurespace.errors import FeaturespaceError
from tests.data.medical import write_series


def opened(tmp_path, text, **series):
    stored = write_series(tmp_path / "scans", **series)
    (tmp_path / "ct.yaml").write_text("path: scans\n" + text)
    return open_data(f"ct={tmp_path / 'ct.yaml'}"), stored - 1024.0


def shown(hounsfield, level, width):
    return np.clip((hounsfield - (level - width / 2)) / width * 255, 0, 255)


@pytest.mark.parametrize("name", CT_WINDOWS)
def test_a_window_by_name_and_by_numbers(tmp_path, name):
    level, width = CT_WINDOWS[name]
    data, values = opened(tmp_path, f"window: {name}\n")
    np.testing.assert_allclose(np.asarray(data.image(1)), shown(values[1], level, width), atol=1e-3)
    (tmp_path / "ct.yaml").write_text(f"path: scans\nwindow: [{level}, {width}]\n")
    np.testing.assert_array_equal(
        np.asarray(open_data(f"ct={tmp_path / 'ct.yaml'}").image(1)), np.asarray(data.image(1))
    )


def test_three_windows_are_channels(tmp_path):
    data, values = opened(tmp_path, "window: [lung, [40, 400], bone]\n")
    image = data.image(2)
    for channel, window in enumerate([(-600, 1500), (40, 400), (400, 1800)]):
        np.testing.assert_allclose(image[..., channel], shown(values[2], *window), atol=1e-3)


def test_neighbours_are_channels_and_the_ends_repeat(tmp_path):
    data, values = opened(tmp_path, "neighbours: true\n")
    for index, beside in enumerate([(0, 0, 1), (0, 1, 2), (1, 2, 3), (2, 3, 3)]):
        for channel, number in enumerate(beside):
            np.testing.assert_allclose(data.image(index)[..., channel], shown(values[number], 40, 400), atol=1e-3)


def test_percentiles_are_those_of_the_volume(tmp_path):
    data, values = opened(tmp_path, "percentiles: [10, 80]\n", Modality="MR")
    low, high = np.percentile(values, [10, 80])
    expected = np.clip((values[0] - low) / (high - low) * 255, 0, 255)
    np.testing.assert_allclose(np.asarray(data.image(0)), expected, atol=1e-3)


def test_zscore_and_range(tmp_path):
    data, values = opened(tmp_path, "window: zscore\n")
    expected = np.clip((values[0] - values.mean()) / values.std() * 255 / 6 + 127.5, 0, 255)
    np.testing.assert_allclose(np.asarray(data.image(0)), expected, atol=1e-3)
    assert bounds(values, "range", "CT", (0.5, 99.5)) == (values.min(), values.max())


def test_slices_along_another_axis(tmp_path):
    data, values = opened(tmp_path, "axis: coronal\n")
    assert len(data) == 6  # rows of the axial slices, from the back of the patient to the front
    np.testing.assert_allclose(np.asarray(data.image(0)), shown(values[::-1, -1], 40, 400), atol=1e-3)
    (tmp_path / "ct.yaml").write_text("path: scans\naxis: sagittal\n")
    data = open_data(f"ct={tmp_path / 'ct.yaml'}")
    np.testing.assert_allclose(np.asarray(data.image(0)), shown(values[::-1, :, -1], 40, 400), atol=1e-3)


def test_every_third_slice_has_the_middle_one(tmp_path):
    data, values = opened(tmp_path, "every: 3\n", positions=tuple(range(8)))
    assert data.samples["id"].str[-4:].tolist() == ["0001", "0004", "0007"]
    np.testing.assert_allclose(np.asarray(data.image(1)), shown(values[4], 40, 400), atol=1e-3)


def test_empty_slices_are_left_out_and_counted(tmp_path):
    opened(tmp_path, "")
    air = np.zeros((6, 5), np.int16)
    from tests.data.medical import write_slice

    write_slice(tmp_path / "scans/air.dcm", air, position=(0, 0, 8.0))
    (tmp_path / "ct.yaml").write_text("path: scans\nfilled: 0.05\n")
    data = open_data(f"ct={tmp_path / 'ct.yaml'}")
    assert len(data) == 4 and "1 slices are left out: less than 0.05" in " ".join(data.notes)
    (tmp_path / "ct.yaml").write_text("path: scans\nfilled: 0.99\n")
    with pytest.raises(FeaturespaceError, match="no slice in .* is left .*lower 'filled'"):
        open_data(f"ct={tmp_path / 'ct.yaml'}")


def test_labels_and_splits_come_from_folders_where_asked(tmp_path):
    for number, place in enumerate(("train/sick", "train/well", "test/sick")):
        write_series(tmp_path / "scans" / place, series=f"1.{number}", PatientID=str(number), seed=number)
    (tmp_path / "ct.yaml").write_text("path: scans\nlabel: folder\n")
    samples = open_data(f"ct={tmp_path / 'ct.yaml'}").samples
    assert samples.groupby(["split", "label"]).size().to_dict() == {
        ("test", "sick"): 4, ("train", "sick"): 4, ("train", "well"): 4,
    }  # fmt: skip


def three_patients(tmp_path, table, **columns):
    for number in range(3):
        write_series(tmp_path / f"scans/{number}", series=f"1.{number}", PatientID=f"ID{number}", seed=number)
    (tmp_path / "labels.csv").write_text(table)
    (tmp_path / "ct.yaml").write_text("path: scans\ntable: labels.csv\nidentify: true\n")
    return open_data(f"ct={tmp_path / 'ct.yaml'}")


@pytest.mark.parametrize("key, names", [("patient", ("ID0", "ID2")), ("path", ("0", "2/"))])
def test_labels_and_splits_come_from_a_table_beside(tmp_path, key, names):
    data = three_patients(tmp_path, f"{key},label,split\n{names[0]},sick,train\n{names[1]},well,test\n")
    rows = data.samples.drop_duplicates("group").set_index("group")[["label", "split"]].astype(object)
    assert rows.loc["ID0"].tolist() == ["sick", "train"] and rows.loc["ID2"].tolist() == ["well", "test"]
    assert rows.loc["ID1"].isna().all()


@pytest.mark.parametrize("table, match", [
    ("name,label\na,b\n", "column 'patient' is not known in the table .*it needs patient or path"),
    ("patient,class\na,b\n", "column 'label' is not known .*it needs label, split or both"),
    ("patient,label\nID0,b\nID0,c\n", "row 2 names a patient that an earlier row names"),
    ("patient,label\n0,b\n", "none of its 1 rows names a patient of the 3 volumes; write identifiers"),
    ("path,label\nscans/0,b\n", "none of its 1 rows names a path .*below the folder"),
])  # fmt: skip
def test_a_table_that_does_not_fit_is_named(tmp_path, table, match):
    with pytest.raises(FeaturespaceError, match=match):
        three_patients(tmp_path, table)


def test_identifiers_are_written_where_asked_and_shared_by_a_salt(tmp_path):
    plain, _ = opened(tmp_path, "identify: true\n")
    assert set(plain.samples["group"]) == {"ID4711"} and plain.samples["path"].str.contains("scans").all()
    salted = []
    for number, salt in enumerate(["one secret", "one secret", "another secret"]):
        (tmp_path / str(number)).mkdir()
        data, _ = opened(tmp_path / str(number), f"salt: {salt}\n", seed=number, positions=(0.0,) * 1)
        salted.append(data.samples["group"].iat[0])
    assert salted[0] == salted[1] != salted[2]


def test_how_slices_are_shown_is_part_of_the_fingerprint(tmp_path):
    data, _ = opened(tmp_path, "window: lung\n")
    (tmp_path / "ct.yaml").write_text("path: scans\nwindow: bone\n")
    assert open_data(f"ct={tmp_path / 'ct.yaml'}").fingerprint() != data.fingerprint()


@pytest.mark.parametrize("text, match", [
    ("windw: lung\n", "unknown key 'windw'; did you mean 'window'"),
    ("window: lungs\n", "window 'lungs' is not known; did you mean 'lung'"),
    ("window: [lung, bone]\n", "option 'window': expected a name, \\[level, width\\], or three"),
    ("window: [40, -1]\n", "the width above 0"),
    ("percentiles: [90, 10]\n", "two percentiles, the lower one first"),
    ("window: [lung, bone, full]\nneighbours: true\n", "channels are either three windows or three neighbouring"),
    ("every: 0\n", "option 'every'"),
    ("salt: abc\n", "option 'salt'"),
])  # fmt: skip
def test_a_wrong_option_is_named(tmp_path, text, match):
    file = tmp_path / "ct.yaml"
    file.write_text("path: scans\n" + text)
    with pytest.raises(FeaturespaceError, match=match):
        read_volume_settings(file)


def test_a_path_that_is_missing_is_named(tmp_path):
    (tmp_path / "ct.yaml").write_text("path: scans\n")
    with pytest.raises(FeaturespaceError, match=r"data set 'ct': .*scans does not exist"):
        open_data(f"ct={tmp_path / 'ct.yaml'}")


def test_nan_is_black_and_a_constant_is_grey():
    assert windowed(np.array([np.nan, 1.0]), (0.0, 1.0)).tolist() == [0.0, 255.0]
    assert windowed(np.array([3.0]), (3.0, 3.0)).tolist() == [127.5]
    with pytest.raises(FeaturespaceError, match="holds no finite value"):
        bounds(np.array([np.nan]), "range", "MR", (1, 99))


def test_settings_have_a_description_each():
    assert all(field.description for field in VolumeSettings.model_fields.values())
