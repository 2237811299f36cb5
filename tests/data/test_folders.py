import os

import pytest
from PIL import Image

from featurespace.data.folders import open_folder
from featurespace.errors import FeaturespaceError


def picture(path, value=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (value, 0, 0)).save(path)


def test_first_folder_is_the_class_and_the_order_is_by_name(tmp_path):
    for name in ("b/2.png", "a/deep/1.png", "a/0.jpg"):
        picture(tmp_path / name)
    data = open_folder("x", tmp_path)
    assert data.samples["id"].tolist() == ["a/0.jpg", "a/deep/1.png", "b/2.png"]
    assert data.samples["label"].tolist() == ["a", "a", "b"]
    assert data.column("split") is None and data.column("group") is None


def test_split_folders_hold_class_folders(tmp_path):
    for name in ("train/a/0.png", "train/b/1.png", "Test/a/2.png"):
        picture(tmp_path / name)
    samples = open_folder("x", tmp_path).samples
    assert samples["split"].tolist() == ["test", "train", "train"]
    assert samples["label"].tolist() == ["a", "a", "b"]


def test_a_class_named_train_beside_other_classes_is_a_class(tmp_path):
    for name in ("train/0.png", "bus/1.png"):
        picture(tmp_path / name)
    data = open_folder("x", tmp_path)
    assert set(data.samples["label"]) == {"train", "bus"} and data.column("split") is None


def test_flat_folder_has_no_labels(tmp_path):
    picture(tmp_path / "0.png")
    assert open_folder("x", tmp_path).column("label") is None


def test_mixed_depth_is_said(tmp_path):
    picture(tmp_path / "0.png")
    picture(tmp_path / "a/1.png")
    assert "1 of 2 images lie in no class folder" in open_folder("x", tmp_path).notes[0]


def test_other_and_hidden_files_are_passed_over_and_counted(tmp_path):
    picture(tmp_path / "a/0.png")
    (tmp_path / "a/notes.txt").write_text("x")
    picture(tmp_path / "a/.hidden.png")
    picture(tmp_path / ".cache/1.png")
    data = open_folder("x", tmp_path)
    assert len(data) == 1 and data.notes == ("1 files that are no images were passed over",)


def test_a_link_loop_ends(tmp_path):
    picture(tmp_path / "a/0.png")
    os.symlink(tmp_path, tmp_path / "a/loop")
    assert len(open_folder("x", tmp_path)) == 1


def test_no_image_says_what_images_are(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(FeaturespaceError, match=r"no image in .* \(1 other files there\); images end in .*\.png"):
        open_folder("x", tmp_path)
