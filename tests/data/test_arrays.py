import io
import pathlib
import pickle
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest

from featurespace.data.arrays import open_npz, read_arrays
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
        ({"images": np.zeros((2, 4, 4), np.int64)}, "are int64; expected bool, uint8, uint16 or floating"),
        ({"images": np.full((2, 4, 4), 3.0)}, r"range from 3 to 3; scale them to 0\.\.1"),
        (
            {"images": np.zeros((2, 4, 4), np.uint8), "label": np.zeros(3)},
            r"'label' in .* has shape \(3,\) and type float64, expected \(2,\)",
        ),
        ({"images": np.zeros((2, 4, 4), complex)}, "are complex128; expected"),
        ({"images": np.zeros((2, 4, 4), [("r", "u1"), ("g", "u1")])}, "expected bool, uint8"),
        ({"images": np.zeros((2, 0, 4), np.uint8)}, "have shape"),
        ({"images": np.zeros((2, 4, 4), np.uint8), "label": np.zeros(2, [("a", int)])}, "expected .* numbers or text"),
        ({"images": np.zeros((2, 4, 4), np.uint8), "id": np.zeros(2)}, "id '0' occurs more than once"),
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


@pytest.mark.parametrize(
    ("dtype", "scale"), [("?", 1), ("u1", 255), ("<u2", 65535), (">u2", 65535), ("f2", 1), ("<f4", 1), (">f8", 1)]
)
def test_every_type_keeps_its_values(tmp_path, rng, dtype, scale):
    images = (rng.integers(0, 2, (2, 4, 5, 3)) * scale).astype(dtype)
    data = open_npz("x", save(tmp_path, images=images))
    np.testing.assert_allclose(
        to_unit_range(data.image(1), channels=3), images[1].transpose(2, 0, 1) / scale, atol=1e-6
    )


def test_channels_first_is_said_and_a_fourth_channel_left_out(tmp_path, rng):
    images = rng.integers(0, 256, (2, 3, 8, 8), dtype=np.uint8)
    data = open_npz("x", save(tmp_path, images=images))
    assert data.notes == ("images of shape (2, 3, 8, 8) are read as (n, channels, h, w)",)
    with_alpha = np.concatenate([images.transpose(0, 2, 3, 1), np.zeros((2, 8, 8, 1), np.uint8)], axis=-1)
    other = open_npz("x", save(tmp_path, images=with_alpha))
    assert np.array_equal(other.image(1), data.image(1))


def test_images_with_nan_are_bad_images(tmp_path):
    images = np.full((4, 3, 3), 0.5, np.float32)
    images[1, 0, 0], images[2, 0, 0] = np.nan, np.inf
    data = open_npz("x", save(tmp_path, images=images)).subset(np.array([3, 2, 1]))
    assert data.image(0).size == (3, 3)
    for index, number in ((1, 2), (2, 1)):
        with pytest.raises(FeaturespaceError, match=rf"image number {number} in .*a\.npz holds NaN or infinity"):
            data.image(index)


def archive(path, **members):
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name.replace("_npy", ".npy"), content)
    return path


def claims(shape):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return header.getvalue() + b"xx"


@pytest.mark.parametrize("kind", ["empty", "text", "npy", "pickle", "cut", "damaged", "other members", "claims"])
def test_archives_that_are_none(tmp_path, rng, kind):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, images=rng.integers(0, 256, (4, 8, 8), dtype=np.uint8))
    whole = path.read_bytes()
    if kind == "npy":
        np.save(tmp_path / "a.npy", np.zeros((4, 8, 8), np.uint8))
        (tmp_path / "a.npy").rename(path)
    elif kind == "other members":
        archive(path, images=b"x", **{"../evil": b"y"})
    elif kind == "claims":
        archive(path, images_npy=claims((10**6, 10**6, 10**3)))
    else:
        damaged = whole[:150] + b"\xff" * 20 + whole[170:]
        path.write_bytes(
            {"empty": b"", "text": b"hello", "pickle": pickle.dumps([1]), "cut": whole[:200], "damaged": damaged}[kind]
        )
    with pytest.raises(FeaturespaceError, match=r"a\.npz (cannot be read|holds \[\], but no array)"):
        open_npz("x", path)


def test_an_archive_larger_than_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=100))
    with pytest.raises(FeaturespaceError, match="its arrays take .* of memory"):
        open_npz("x", save(tmp_path, images=np.zeros((2, 9, 9), np.uint8)))


def test_nothing_is_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pathlib.Path.touch, (tmp_path / "trapped",))

    with pytest.raises(FeaturespaceError, match="no objects"):
        open_npz("x", save(tmp_path, images=np.array([Trap()], dtype=object)))
    assert not (tmp_path / "trapped").exists()


def test_alpha_that_is_left_out_is_said(tmp_path):
    data = open_npz("x", save(tmp_path, images=np.zeros((2, 4, 4, 4), np.uint8)))
    assert data.notes == ("images of shape (2, 4, 4, 4) have 4 channels; the fourth, alpha, is left out",)


def test_a_header_that_declares_more_than_the_archive_holds(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**12,)})
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("images.npy", header.getvalue() + bytes(100))
    with pytest.raises(FeaturespaceError, match="images.npy declares more values than it holds"):
        read_arrays(tmp_path / "x.npz")
