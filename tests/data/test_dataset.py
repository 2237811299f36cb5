import numpy as np
import pytest
from PIL import Image

from featurespace.data.dataset import read_image
from featurespace.data.specs import open_all, open_data, parse_data_spec
from featurespace.errors import FeaturespaceError


@pytest.fixture
def folder(tmp_path):
    for index in range(4):
        (tmp_path / "images" / "ab"[index % 2]).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (index, 0, 0)).save(tmp_path / "images" / "ab"[index % 2] / f"{index}.png")
    return tmp_path / "images"


@pytest.mark.parametrize(
    ("text", "label", "path"),
    [
        ("x=a/b", "x", "a/b"),
        ("a/b=c", "b_c", "a/b=c"),
        ("x=a=b", "x", "a=b"),
        ("some/my images", "my_images", "some/my images"),
    ],
)
def test_parse(text, label, path):
    assert parse_data_spec(text) == (label, type(parse_data_spec(text)[1])(path))


def test_fingerprint_follows_every_content(folder):
    first = open_data(f"x={folder}").fingerprint()
    assert first == open_data(f"other={folder}").fingerprint()  # the label is no content
    Image.new("RGB", (8, 8), (99, 0, 0)).save(folder / "a" / "0.png")
    assert first != open_data(f"x={folder}").fingerprint()


def test_subset_reads_the_right_images(folder):
    data = open_data(f"x={folder}")
    part = data.subset(np.array([3, 0])).subset(np.array([1]))
    assert part.samples["id"].tolist() == data.samples["id"].tolist()[:1]
    assert part.image(0).getpixel((0, 0)) == data.image(0).getpixel((0, 0))


def test_subset_of_arrays_reads_the_right_images(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8))
    part = open_data(f"x={tmp_path / 'a.npz'}").subset(np.array([3, 1]))
    assert [part.image(index).getpixel((0, 0)) for index in range(2)] == [3, 1]
    assert part.fingerprint() != part.subset(np.array([0])).fingerprint()


def test_errors(folder, tmp_path):
    with pytest.raises(FeaturespaceError, match=r"does not exist; did you mean .*images\?"):
        open_data(f"x={tmp_path / 'imagse'}")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(FeaturespaceError, match="neither a folder nor an .npz"):
        open_data(f"x={tmp_path / 'a.txt'}")
    with pytest.raises(FeaturespaceError, match="names no path"):
        open_data("x=")
    with pytest.raises(FeaturespaceError, match="two data sets are labelled 'x'"):
        open_all([f"x={folder}", f"x={folder}"])


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_a_file_that_is_no_image(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(FeaturespaceError, match=r"a\.png"):
        read_image(tmp_path / "a.png")


def test_a_truncated_image(tmp_path, rng):
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:500])
    with pytest.raises(FeaturespaceError, match="cannot be read as an image"):
        read_image(tmp_path / "a.jpg")


def test_exif_rotation_is_applied(tmp_path):
    image = Image.new("RGB", (8, 4))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").size == (4, 8)


def test_floating_files_are_scaled_and_unknown_ranges_refused(tmp_path):
    from featurespace.data.transforms import to_unit_range

    for name, array in {
        "f": np.full((4, 4), 0.25, np.float32),
        "big": np.full((4, 4), 9.0, np.float32),
        "i": np.full((4, 4), 200, np.int32),
    }.items():
        Image.fromarray(array).save(tmp_path / f"{name}.tif")
    np.testing.assert_allclose(to_unit_range(read_image(tmp_path / "f.tif"), channels=3), 0.25, rtol=1e-6)
    with pytest.raises(FeaturespaceError, match=r"floating values from 9 to 9; scale them to 0\.\.1"):
        read_image(tmp_path / "big.tif")
    with pytest.raises(FeaturespaceError, match="32-bit integers, whose range is not known"):
        read_image(tmp_path / "i.tif")


def test_16_bit_files_keep_their_depth(tmp_path):
    from featurespace.data.transforms import to_unit_range

    array = np.array([[0, 30000], [30010, 65535]], np.uint16)
    for suffix in ("png", "tif"):
        Image.fromarray(array).save(tmp_path / f"a.{suffix}")
        np.testing.assert_allclose(
            to_unit_range(read_image(tmp_path / f"a.{suffix}"), channels=1)[0], array / 65535, atol=1e-7
        )


def test_a_space_in_a_label_is_named_as_the_reason(folder):
    with pytest.raises(FeaturespaceError, match="'my label' is no label: a label holds letters"):
        open_data(f"my label={folder}")
