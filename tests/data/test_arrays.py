import numpy as np
import pytest

from featurespace.data.arrays import open_npz
from featurespace.data.transforms import to_unit_range
from featurespace.errors import FeaturespaceError


def save(tmp_path, **arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    return tmp_path / "a.npz"


@pytest.mark.parametrize("shape", [(4, 6, 5), (4, 6, 5, 1), (4, 6, 5, 3), (4, 3, 6, 5)])
def test_shapes(tmp_path, rng, shape):
    images = rng.integers(0, 256, shape, dtype=np.uint8)
    data = open_npz("x", save(tmp_path, images=images, labels=[0, 1, 0, 1], groups=["p", "p", "q", "q"]))
    assert len(data) == 4 and data.samples["label"].tolist() == ["0", "1", "0", "1"]
    assert data.image(2).size == (5, 6)
    channels_last = images.transpose(0, 2, 3, 1) if shape[1] == 3 else images
    expected = channels_last[2].reshape(6, 5, -1)[..., 0] / 255
    np.testing.assert_allclose(to_unit_range(data.image(2), channels=3)[0], expected, atol=1e-6)


def test_16_bit_keeps_its_depth(tmp_path):
    images = np.arange(16, dtype=np.uint16).reshape(1, 4, 4) * 4000
    data = open_npz("x", save(tmp_path, images=images))
    np.testing.assert_allclose(to_unit_range(data.image(0), channels=1)[0], images[0] / 65535, atol=1e-6)


def test_floating_grey_is_not_rounded(tmp_path, rng):
    images = rng.random((2, 4, 4))
    data = open_npz("x", save(tmp_path, images=images))
    np.testing.assert_allclose(to_unit_range(data.image(1), channels=3)[2], images[1], atol=1e-6)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": np.zeros((2, 4, 4), np.uint8)}, r"holds \['pictures'\], but no array 'images'"),
        ({"images": np.zeros((2, 4), np.uint8)}, r"have shape \(2, 4\); expected"),
        ({"images": np.zeros((0, 4, 4), np.uint8)}, "have shape"),
        ({"images": np.zeros((2, 4, 4, 7), np.uint8)}, "have shape"),
        ({"images": np.zeros((2, 4, 4), np.int64)}, "are int64; expected uint8, uint16 or floating"),
        ({"images": np.full((2, 4, 4), 3.0)}, r"range from 3 to 3; scale them to 0\.\.1"),
        (
            {"images": np.array([[[0.0]], [[np.nan]]])},
            "1 of 2 images in .* hold NaN or infinity, the first is number 1",
        ),
        (
            {"images": np.zeros((2, 4, 4), np.uint8), "label": np.zeros(3)},
            r"'label' in .* has shape \(3,\), expected \(2,\)",
        ),
        ({"images": np.array([None, "x"], dtype=object)}, "cannot be read .*no objects"),
    ],
)
def test_errors(tmp_path, arrays, message):
    with pytest.raises(FeaturespaceError, match=message):
        open_npz("x", save(tmp_path, **arrays))


def test_a_file_that_is_no_archive(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04broken")
    with pytest.raises(FeaturespaceError, match="cannot be read"):
        open_npz("x", tmp_path / "a.npz")


def test_nan_is_a_missing_label_and_whole_floats_are_integers(tmp_path):
    data = open_npz("x", save(tmp_path, images=np.zeros((3, 4, 4), np.uint8), label=np.array([0.0, np.nan, 2.0])))
    assert data.column("label").tolist() == ["0", None, "2"]
