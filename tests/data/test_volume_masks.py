import nibabel
import numpy as np
import pytest

from featurespace.data.specs import open_data
from featurespace.data.volume_masks import volume_masks
from featurespace.errors import FeaturespaceError
from tests.data.medical import write_series

AFFINE = np.diag([1.0, 2.0, 3.0, 1.0])


def save(path, values, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.asarray(values), affine), path)


def pair(tmp_path, image="scans/a.nii.gz", mask="masks/a.nii.gz", shape=(6, 5, 4), **more):
    """A volume whose values are ten times its class numbers."""
    numbers = np.random.default_rng(0).integers(0, 3, shape).astype(np.uint8)
    save(tmp_path / image, numbers.astype(np.int16) * 10)
    save(tmp_path / mask, numbers, **more)
    return numbers


def opened(tmp_path, text="masks: masks\n", path="scans"):
    (tmp_path / "x.yaml").write_text(f"path: {path}\nwindow: [10, 20]\n{text}")
    return open_data(f"x={tmp_path / 'x.yaml'}")


def masks_of(data):
    return volume_masks(data.images, data.source)


def agrees(data):
    masks = masks_of(data)
    for row in range(len(data)):
        np.testing.assert_allclose(np.asarray(data.image(row)), masks.numbers(row) * 127.5, atol=0.01)
    return len(data)


@pytest.mark.parametrize("image, mask", [
    ("scans/a.nii.gz", "masks/a.nii"), ("scans/img_001.nii.gz", "masks/lbl_001.nii.gz"), ("scans/p/1.nii", "masks/p/1_seg.nii"),
    ("scans/x-2.nii", "masks/x-2-label.nii.gz"), ("scans/volume-0.nii", "masks/segmentation-0.nii"),
    ("scans/liver_7_0000.nii.gz", "masks/liver_7.nii.gz"), ("scans/B_01_flair.nii", "scans/B_01_seg.nii"),
    ("scans/p1/image.nii", "scans/p1/label.nii"), ("scans/img_1.nii", "scans/labels/lbl_1.nii"),
])  # fmt: skip
def test_masks_are_found_by_name_and_lie_on_their_images(tmp_path, image, mask):
    pair(tmp_path, image, mask)
    folder = "scans" if mask.startswith("scans") else "masks"
    assert agrees(opened(tmp_path, f"masks: {'scans/labels' if '/labels/' in mask else folder}\n")) == 4


def test_volumes_below_the_folder_of_the_masks_are_no_masks(tmp_path):
    pair(tmp_path, "scans/images/img_1.nii", "scans/lbl_1.nii")
    assert agrees(opened(tmp_path, "masks: scans\n", path="scans/images")) == 4


@pytest.mark.parametrize("axis", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("order", ["LPS", "PIR"])
def test_a_mask_of_another_orientation_is_turned(tmp_path, order, axis):
    numbers = pair(tmp_path)
    turn = nibabel.orientations.axcodes2ornt(tuple(order))
    save(tmp_path / "masks/a.nii.gz", nibabel.Nifti1Image(numbers, AFFINE).as_reoriented(turn).get_fdata().astype(np.uint8),
         AFFINE @ nibabel.orientations.inv_ornt_aff(turn, numbers.shape))  # fmt: skip
    assert agrees(opened(tmp_path, f"masks: masks\naxis: {axis}\n"))


def test_masks_follow_spacing_and_square_pixels_by_the_nearest_voxel(tmp_path):
    numbers = pair(tmp_path)
    data = opened(tmp_path, "masks: masks\nspacing: [0.5, 1, 1]\n")
    masks = masks_of(data)
    found = np.stack([masks.numbers(row) for row in range(len(data))])
    expected = numbers.repeat(2, 0).repeat(2, 1).repeat(3, 2)
    np.testing.assert_array_equal(found, expected.transpose(2, 1, 0)[:, ::-1, ::-1])
    square = opened(tmp_path, "masks: masks\naspect: true\naxis: coronal\n")
    masks = masks_of(square)
    assert {masks.numbers(row).shape for row in range(len(square))} == {(12, 6)} == {np.asarray(square.image(0)).shape}


def test_a_series_has_the_mask_that_its_folder_names(tmp_path):
    stored = write_series(tmp_path / "scans/case1")
    write_series(tmp_path / "scans/case2", series="1.9", seed=1)
    geometry = nibabel.Nifti1Image((stored % 3).astype(np.uint8).transpose(2, 1, 0), np.diag([-0.5, -0.8, 2.0, 1.0]))
    for name in ("case1", "case2_seg"):
        (tmp_path / "masks").mkdir(exist_ok=True)
        nibabel.save(geometry, tmp_path / f"masks/{name}.nii.gz")
    data = opened(tmp_path, "masks: masks\nidentify: true\n")
    masks = masks_of(data)
    first = [row for row in range(8) if "case1" in data.samples["path"][row]]
    for row, expected in zip(first, stored % 3):
        np.testing.assert_array_equal(masks.numbers(row), expected)


def test_parts_of_a_data_set_keep_their_masks(tmp_path):
    pair(tmp_path)
    data = opened(tmp_path)
    part = masks_of(data).take(np.array([3, 1]))
    np.testing.assert_array_equal(part.numbers(0), masks_of(data).numbers(3))
    before = part.fingerprint()
    assert before == masks_of(data).fingerprint() and len(part.paths) == 2
    save(tmp_path / "masks/a.nii.gz", np.zeros((6, 5, 4), np.uint8))
    assert part.fingerprint() != before


@pytest.mark.parametrize("change, match", [
    (lambda t: save(t / "masks/a.nii.gz", np.zeros((6, 5, 3), np.uint8)), "mask a.nii.gz has 6 x 5 x 3 voxels .*its volume 6 x 5 x 4"),
    (lambda t: save(t / "masks/a.nii.gz", np.zeros((6, 5, 4), np.uint8), np.eye(4)), "lies elsewhere than its volume: voxels of 1 x 1"),
    (lambda t: save(t / "masks/a.nii.gz", np.zeros((6, 5, 4), np.uint8), np.diag([-1, -2, 3.0, 1])), "lies elsewhere .*header"),
    (lambda t: save(t / "masks/a.nii.gz", np.zeros((6, 5, 4, 2), np.uint8)), "mask a.nii.gz holds 2 volumes"),
    (lambda t: (t / "masks/a.nii.gz").write_bytes(b"x"), "mask a.nii.gz cannot be read: no NIfTI"),
    (lambda t: (t / "masks/a.nii.gz").rename(t / "masks/b.dcm"), "holds no masks; they are .nii .*DICOM SEG is not read"),
    (lambda t: save(t / "scans/b.nii", np.zeros((2, 2, 2), np.int16)), "1 of 2 volumes have no mask in .*masks, e.g. b; a mask has"),
    (lambda t: [save(t / f"masks/c{w}.nii", np.zeros((2, 2, 2), np.int16)) for w in ("_seg", "_mask")]
     and save(t / "scans/c.nii", np.zeros((2, 2, 2), np.int16)), "volume c has several masks in .*c_mask.nii.*keep one"),
])  # fmt: skip
def test_a_mask_that_does_not_fit_is_named(tmp_path, change, match):
    pair(tmp_path)
    change(tmp_path)
    with pytest.raises(FeaturespaceError, match=match):
        masks_of(opened(tmp_path))


@pytest.mark.parametrize("value", [0.5, -1, 256, np.nan])
def test_what_is_no_class_number_is_refused_with_its_value(tmp_path, value):
    numbers = pair(tmp_path).astype(np.float32)
    numbers[1, 2, 3] = value
    save(tmp_path / "masks/a.nii.gz", numbers)
    with pytest.raises(FeaturespaceError, match=f"mask a.nii.gz holds the value {value:g}; .*whole and from 0 to 255"):
        masks_of(opened(tmp_path)).numbers(0)


def test_a_damaged_mask_is_named(tmp_path):
    pair(tmp_path)
    masks = masks_of(opened(tmp_path))
    whole = (tmp_path / "masks/a.nii.gz").read_bytes()
    (tmp_path / "masks/a.nii.gz").write_bytes(whole[:-30])
    with pytest.raises(FeaturespaceError, match="mask a.nii.gz cannot be read"):
        masks.numbers(0)


def test_a_folder_that_is_missing_is_named(tmp_path):
    pair(tmp_path)
    with pytest.raises(FeaturespaceError, match="masks: .*gone is no folder; name the folder of the NIfTI masks"):
        opened(tmp_path, "masks: gone\n")
