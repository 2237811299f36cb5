import nibabel
import numpy as np
import pytest

from featurespace.data.resampling import resampled, resampled_shape
from featurespace.data.specs import open_data
from featurespace.data.windows import read_volume_settings
from featurespace.errors import FeaturespaceError
from tests.data.medical import write_series, write_slice


def opened(tmp_path, text):
    (tmp_path / "ct.yaml").write_text("path: scans\n" + text)
    return open_data(f"ct={tmp_path / 'ct.yaml'}")


def ramp(shape, spacing):
    """Value at each voxel: its place in mm from the volume's middle, along each axis another slope."""
    places = [(np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, spacing)]
    x, y, z = np.meshgrid(*places, indexing="ij")
    return 1.0 * x + 10 * y + 100 * z


@pytest.mark.parametrize("asked", [(1.0, 1.0, 1.0), (0.4, 0.5, 1.7), (3.0, 2.0, 1.25), (0.3, 4.1, 2.9)])
def test_a_ramp_stays_the_ramp_that_it_is(asked):
    shape, spacing = (13, 9, 10), (1.0, 2.0, 2.5)
    found = resampled(ramp(shape, spacing), spacing, asked)
    expected = ramp(found.shape, asked)
    inside = [np.abs((np.arange(m) - (m - 1) / 2) * a) <= (n - 1) / 2 * s + 1e-9
              for m, a, n, s in zip(found.shape, asked, shape, spacing)]  # fmt: skip
    np.testing.assert_allclose(found[np.ix_(*inside)], expected[np.ix_(*inside)], atol=1e-9)
    assert found.shape == tuple(round(n * s / a) for n, s, a in zip(shape, spacing, asked))


WHOLE = np.random.default_rng(0).normal(size=(6, 8, 5)).astype(np.float32)  # filled by whole numbers of new voxels


@pytest.mark.slow  # MONAI takes its time to start
def test_edges_are_those_of_monai():
    import torch
    from monai.data import MetaTensor
    from monai.transforms import Spacing

    values, spacing, asked = WHOLE, (1.0, 1.5, 2.0), (0.5, 1.0, 1.0)
    found = resampled(values, spacing, asked)
    image = MetaTensor(torch.from_numpy(values)[None], affine=torch.diag(torch.tensor([*spacing, 1.0])))
    theirs = Spacing(asked, mode="bilinear", padding_mode="border", align_corners=False, scale_extent=True)(image)[0]
    np.testing.assert_allclose(found, np.asarray(theirs), atol=1e-5)


def test_edges_are_those_of_torch():
    import torch

    found = resampled(WHOLE, (1.0, 1.5, 2.0), (0.5, 1.0, 1.0))
    size = found.shape
    torchs = torch.nn.functional.interpolate(torch.from_numpy(WHOLE)[None, None], size=size, mode="trilinear")[0, 0]
    np.testing.assert_allclose(found, torchs.numpy(), atol=1e-5)


def test_where_no_whole_number_of_voxels_fits_the_places_are_right_and_those_of_stretched_voxels_are_not():
    import torch

    values = ramp((4, 4, 10), (1.0, 1.0, 1.0)).astype(np.float64)
    found = resampled(values, (1, 1, 1), (1, 1, 3.0))  # three voxels of 3 mm, half a millimetre left at either end
    np.testing.assert_allclose(found[0, 0] - found[0, 0].mean(), [-300, 0, 300], atol=1e-9)
    stretched = torch.nn.functional.interpolate(torch.from_numpy(values)[None, None], size=(4, 4, 3), mode="trilinear")
    assert abs(float(stretched[0, 0, 0, 0, 2] - stretched[0, 0, 0, 0, 0]) - 600) > 50


def test_resampling_goes_with_mirroring_and_the_own_grid_changes_nothing():
    values = np.random.default_rng(1).normal(size=(7, 5, 6)).astype(np.float32)
    turned = resampled(values[::-1, :, ::-1], (1, 1, 2), (0.7, 1.3, 1.1))
    np.testing.assert_allclose(turned, resampled(values, (1, 1, 2), (0.7, 1.3, 1.1))[::-1, :, ::-1], atol=1e-5)
    assert turned.dtype == np.float32
    np.testing.assert_array_equal(resampled(values, (1, 1, 2), (1.0004, 1, 2)), values)


def test_class_numbers_stay_class_numbers():
    numbers = np.random.default_rng(2).integers(0, 4, (6, 6, 6)) * 7
    assert set(np.unique(resampled(numbers, (1, 1, 1), (0.6, 1.7, 1), nearest=True))) <= {0, 7, 14, 21}
    doubled = resampled(numbers, (2, 2, 2), (1, 1, 1), nearest=True)
    np.testing.assert_array_equal(doubled, numbers.repeat(2, 0).repeat(2, 1).repeat(2, 2))


def test_a_slice_that_is_nan_stays_nan_and_others_are_whole():
    values = np.ones((3, 3, 6), np.float32)
    values[:, :, 2] = np.nan
    found = resampled(values, (1, 1, 2), (1, 1, 1))
    missing = np.isnan(found).all((0, 1))
    assert missing.tolist() == [False] * 4 + [True] * 2 + [False] * 6
    assert (found[..., ~missing] == 1).all()


def test_slices_and_ids_follow_the_new_grid(tmp_path):
    write_series(tmp_path / "scans", shape=(10, 8))  # 4 slices of 2 mm, rows of 0.8 and columns of 0.5 mm
    data = opened(tmp_path, "spacing: 1\n")
    assert len(data) == 8 and data.samples["id"].str[-4:].tolist() == [f"{n:04d}" for n in range(8)]
    assert data.image(0).size == (4, 8) and "resampled to 1 x 1 x 1 mm" in data.notes[0]
    assert not any("not square" in note for note in data.notes)
    plain = opened(tmp_path, "")
    assert data.fingerprint() != plain.fingerprint() and data.images.stamp() != plain.images.stamp()
    assert data.samples["group"].iat[0] == plain.samples["group"].iat[0]
    assert opened(tmp_path, "spacing: [0.5, 0.8, 2]\n").image(1).tobytes() == plain.image(1).tobytes()
    assert len(opened(tmp_path, "spacing: [0.5, 0.8, 1]\naxis: coronal\nevery: 2\n")) == 5


def test_squeezed_pictures_are_said_and_made_square_where_asked(tmp_path):
    affine = np.diag([0.5, 0.5, 5.0, 1.0])
    (tmp_path / "scans").mkdir()
    values = np.random.default_rng(0).normal(size=(20, 16, 4)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "scans/a.nii")
    assert not any("not square" in note for note in opened(tmp_path, "").notes)
    squeezed = opened(tmp_path, "axis: coronal\n")
    assert "1 volumes have slices of pixels that are not square (at most 0.5 x 5 mm)" in " | ".join(squeezed.notes)
    assert squeezed.image(0).size == (20, 4)
    square = opened(tmp_path, "axis: coronal\naspect: true\n")
    assert not any("not square (" in note for note in square.notes) and "square pixels" in square.notes[0]
    assert square.image(0).size == (20, 40) and len(square) == 16
    both = opened(tmp_path, "axis: coronal\naspect: true\nspacing: [1, 2, 2]\n")
    assert both.image(0).size == (10, 20) and len(both) == 4


def test_what_tells_no_spacing_stays_as_it_is_and_is_counted(tmp_path):
    (tmp_path / "scans").mkdir()
    np.save(tmp_path / "scans/a.npy", np.zeros((4, 6, 5), np.float32))
    write_slice(tmp_path / "scans/b.dcm", np.zeros((6, 5), np.int16), PixelSpacing=None)
    data = opened(tmp_path, "spacing: 0.25\n")
    assert len(data) == 5 and "2 volumes do not tell their spacing, and are not resampled" in " | ".join(data.notes)


def test_one_slice_stays_one():
    assert resampled_shape((6, 5, 1), (1.0, 1.0, 5.0), (0.5, 0.5, 0.5)) == (12, 10, 1)


@pytest.mark.parametrize("value", ["0", "-1", "[1, 1]", "[1, 0, 1]", ".inf", ".nan", "fine", "true", "[1, 1, 1, 1]"])
def test_nonsense_is_refused(tmp_path, value):
    (tmp_path / "ct.yaml").write_text(f"path: scans\nspacing: {value}\n")
    with pytest.raises(
        FeaturespaceError, match="option 'spacing': expected one number of millimetres above 0, or three"
    ):
        read_volume_settings(tmp_path / "ct.yaml")


def test_a_grid_that_does_not_fit_into_memory_is_refused_before_anything_is_read(tmp_path):
    write_series(tmp_path / "scans")
    with pytest.raises(FeaturespaceError, match="resampled they would not fit into memory; raise 'spacing'"):
        opened(tmp_path, "spacing: 0.00001\n")
