import sys

import numpy as np
import pandas as pd
import pytest

from featurespace.data import demo
from featurespace.data.specs import open_data
from featurespace.errors import FeaturespaceError


@pytest.fixture(scope="module")
def manifests(tmp_path_factory):
    root = tmp_path_factory.mktemp("demo")
    return demo.write_photographs(root / "photos", seed=0), demo.write_mri(root / "mri", seed=0)


def test_the_domains_are_what_they_say(manifests):
    photos, mri = (pd.read_csv(path) for path in manifests)
    assert photos["label"].nunique() == 12 and mri["label"].nunique() == 6
    assert mri["split"].value_counts().to_dict() == {"train": 1500, "test": 600}
    for table in (photos, mri):
        assert table.groupby("group")["split"].nunique().max() == 1
        assert table.groupby("group")["label"].nunique().max() == 1
        assert set(table.loc[table["split"] == "test", "label"]) == set(table["label"])


def test_all_images_are_read_and_of_one_size(manifests):
    for path in manifests:
        data = open_data(f"x={path}")
        assert {data.image(index).size for index in range(0, len(data), 50)} == {(64, 64)}


def test_the_same_seed_makes_the_same_images(manifests, tmp_path):
    again = demo.write_photographs(tmp_path / "photos", seed=0)
    other = demo.write_photographs(tmp_path / "other", seed=1)
    first = open_data(f"x={manifests[0]}").fingerprint()
    assert open_data(f"x={again}").fingerprint() == first != open_data(f"x={other}").fingerprint()


def test_no_test_slice_lies_within_3_mm_of_a_training_slice():
    # The template is symmetric, so a slice on both sides would be the same image twice.
    volume = demo.load_mni152()
    np.testing.assert_array_equal(volume, volume[::-1])
    inside = np.flatnonzero((volume > 0).any(axis=(0, 1)))
    edges = np.linspace(inside[0], inside[-1] + 1, demo.LEVELS + 1)
    slices = {
        split: np.concatenate([demo._slices(edges[level], edges[level + 1], split) for level in range(demo.LEVELS)])
        for split in ("train", "test")
    }
    distance = np.abs(slices["train"][:, None] - slices["test"][None])
    assert distance.min() > 3 and len(slices["test"]) >= 4 * demo.LEVELS


def test_brightness_alone_says_little_about_the_level(manifests):
    data = open_data(f"mri={manifests[1]}")
    means = np.array([np.asarray(data.image(index)).mean() for index in range(len(data))])
    assert means.std() < 8  # of 255: patches are standardised


def test_no_voxel_is_in_two_groups_and_no_image_twice():
    volume = demo.load_mni152()
    places = np.arange(volume.size, dtype=np.float32).reshape(volume.shape)  # each voxel's own number, exact below 2^24
    assert volume.size < 2**24
    groups: dict[str, set] = {}
    patches, original = [], demo.to_grey
    try:
        demo.to_grey = lambda patch: patches.append(patch) or original(patch)
        inside = np.where(volume > 0, places + 1, 0)
        for patch in demo.mri_patches(inside, rng=np.random.default_rng(0)):
            if patch.split == "test":
                groups.setdefault(patch.group, set()).update(patches[-1].astype(int).ravel().tolist())
    finally:
        demo.to_grey = original
    assert len(groups) == 18 and len({each.tobytes() for each in patches}) == len(patches)
    numbers = [number for voxels in groups.values() for number in voxels if number]
    assert len(numbers) == len(set(numbers))


def test_a_patch_says_where_in_the_volume_it_lies():
    volume = demo.load_mni152()
    count = {"train": 0, "test": 0}
    for patch in demo.mri_patches(volume, rng=np.random.default_rng(0)):
        assert demo.to_grey(volume[patch.place]).tobytes() == patch.image.tobytes()
        count[patch.split] += 1
        left, right = sorted((patch.place[0].start, patch.place[0].stop))
        assert right <= volume.shape[0] // 2 if patch.split == "train" else left >= volume.shape[0] // 2 - 1
    assert count == demo.MRI_COUNTS


def test_without_its_packages_the_demo_says_what_to_install(tmp_path, monkeypatch):
    for module, package, make in (
        ("nilearn.datasets", "nilearn", lambda: demo.load_mni152()),
        ("skimage.data", "skimage", lambda: demo.write_photographs(tmp_path, seed=0)),
    ):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(FeaturespaceError, match=rf"the demo needs {package}, .*pip install 'featurespace\[demo\]'"):
            make()
