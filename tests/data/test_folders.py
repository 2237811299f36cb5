import inspect
import os
import sys

import pandas as pd
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
    assert len(data) == 1 and data.notes == ("1 file that is no image was passed over, e.g. notes.txt",)


def test_a_link_loop_ends(tmp_path):
    picture(tmp_path / "a/0.png")
    os.symlink(tmp_path, tmp_path / "a/loop")
    assert len(open_folder("x", tmp_path)) == 1


def test_no_image_says_what_images_are(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(
        FeaturespaceError, match=r"no image in .* \(1 file that is no image .*\); images end in .*\.png"
    ):
        open_folder("x", tmp_path)


def test_what_no_user_means_is_passed_over(tmp_path):
    picture(tmp_path / "a/0.png")
    for name in ("a/._0.jpg", ".DS_Store", "__MACOSX/a/0.png", "a/.hidden/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    data = open_folder("x", tmp_path)
    assert len(data) == 1 and data.notes == ()
    (tmp_path / "Thumbs.db").write_bytes(b"x")
    assert open_folder("x", tmp_path).notes == ("1 file that is no image was passed over, e.g. Thumbs.db",)


def test_suffixes_in_any_case_and_names_that_differ_in_case_only(tmp_path):
    names = ["a.JPG", "a.jpg", "b.PNG", "c.Tiff"]
    for name in names:
        picture(tmp_path / name)
    assert open_folder("x", tmp_path).samples["id"].tolist() == names


def test_links_to_folders_are_said_and_a_broken_link_is_a_bad_image(tmp_path):
    picture(tmp_path / "a/0.png")
    os.symlink(tmp_path / "a", tmp_path / "b")
    os.symlink(tmp_path / "nowhere", tmp_path / "a/1.png")
    os.symlink(tmp_path / "a/0.png", tmp_path / "a/2.png")
    data = open_folder("x", tmp_path)
    assert data.samples["id"].tolist() == ["a/0.png", "a/1.png", "a/2.png"]
    assert data.notes[0] == "1 link to a folder was passed over, e.g. b"
    assert data.image(2).size == (8, 8)
    with pytest.raises(FeaturespaceError, match=r"1\.png does not exist"):
        data.image(1)


def test_pipes_and_devices_are_no_images(tmp_path):
    picture(tmp_path / "0.png")
    os.mkfifo(tmp_path / "1.png")
    os.symlink("/dev/zero", tmp_path / "2.png")
    data = open_folder("x", tmp_path)
    assert len(data) == 1 and data.notes == ("2 files that are no images were passed over, e.g. 1.png",)


def test_a_folder_that_cannot_be_read_is_said(tmp_path, monkeypatch):
    picture(tmp_path / "a/0.png")
    picture(tmp_path / "closed/1.png")
    scandir = os.scandir

    def refuse(folder):
        if str(folder).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    data = open_folder("x", tmp_path)
    assert len(data) == 1 and data.notes == ("1 folder that cannot be read was passed over, e.g. closed",)


def test_deep_folders_need_no_deep_calls(tmp_path):
    picture(tmp_path.joinpath(*["d"] * 200) / "0.png")
    limit = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(len(inspect.stack(0)) + 120)
        assert len(open_folder("x", tmp_path)) == 1
    finally:
        sys.setrecursionlimit(limit)


def test_names_that_are_no_utf_8_are_read_and_escaped(tmp_path):
    folder = os.fsencode(tmp_path) + b"/class\xff"
    os.makedirs(folder)
    picture(tmp_path / "0.png", value=7)
    os.rename(tmp_path / "0.png", folder + b"/\xfe.png")
    data = open_folder("x", tmp_path)
    assert data.samples["id"].tolist() == [r"class\udcff/\udcfe.png"]
    assert data.samples["label"].tolist() == [r"class\udcff"]
    assert data.image(0).getpixel((0, 0)) == (7, 0, 0) and data.fingerprint()
    data.samples.to_parquet(tmp_path / "samples.parquet")


def test_odd_names_survive_to_the_samples_table(tmp_path):
    names = ["it's.png", 'quo"te.png', "new\nline.png", "<b>&.png", "ü.png", "u\u0308.png", "-dash.png", "end .png", "a;b,c.png",
             "\x1b[31m.png", "x" * 240 + ".png", "💥.png"]  # fmt: skip
    for name in names:
        picture(tmp_path / f"=class {name[0]}" / name)
    data = open_folder("x", tmp_path)
    data.samples.to_parquet(tmp_path / "samples.parquet")
    samples = pd.read_parquet(tmp_path / "samples.parquet")
    assert samples["id"].tolist() == sorted(f"=class {name[0]}/{name}" for name in names)
    assert [data.image(index).size for index in range(len(names))] == [(8, 8)] * len(names)
    assert set(samples["label"]) == {f"=class {name[0]}" for name in names}


@pytest.mark.parametrize(
    ("odd", "named"),
    [("masks/0.png", "masks"), ("0.png", "0.png"), ("masks/a/0.png", "masks"), ("test2/a/0.png", "test2")],
)
def test_split_folders_beside_others_are_an_error_that_names_the_others(tmp_path, odd, named):
    for name in ("train/a/0.png", "Testing/a/1.png", odd):
        picture(tmp_path / name)
    with pytest.raises(
        FeaturespaceError,
        match=rf"Testing and train are splits, but beside them stands {named}; move it out of .*manifest",
    ):
        open_folder("x", tmp_path)


def test_one_split_name_among_classes_is_said(tmp_path):
    for name in ("train/0.png", "bus/1.png", "car/2.png"):
        picture(tmp_path / name)
    assert open_folder("x", tmp_path).notes == (
        "folder train counts as a class, since bus and car beside it are no splits",
    )
