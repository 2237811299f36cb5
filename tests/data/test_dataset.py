import numpy as np
import pytest
from PIL import Image

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
    with pytest.raises(FeaturespaceError, match="neither a folder nor a regular .npz"):
        open_data(f"x={tmp_path / 'a.txt'}")
    with pytest.raises(FeaturespaceError, match="names no path"):
        open_data("x=")
    with pytest.raises(FeaturespaceError, match="two data sets are labelled 'x'"):
        open_all([f"x={folder}", f"x={folder}"])


def test_a_space_in_a_label_is_named_as_the_reason(folder):
    with pytest.raises(FeaturespaceError, match="'my label' is no label: a label holds letters"):
        open_data(f"my label={folder}")


def test_the_home_folder_is_found_behind_a_label(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))  # a shell does not expand LABEL=~/images
    assert len(open_data("x=~/images")) == 4


def test_images_of_the_same_bytes_are_said(folder):
    assert open_data(f"x={folder}").copy_notes(list("abcd")) == []
    for name in ("a/5.png", "b/6.png"):
        (folder / name).write_bytes((folder / "a" / "0.png").read_bytes())
    for name in ("a/7.png", "a/8.png"):
        (folder / name).symlink_to("nowhere")  # images that cannot be read are no copies
    data = open_data(f"x={folder}")
    assert data.fingerprint(data.digests()) == data.fingerprint()
    assert data.copy_notes(data.digests()) == [
        "2 images are copies of another one (same bytes), e.g. a/0.png and a/5.png; they count as independent",
    ]
