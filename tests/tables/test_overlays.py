"""The images on which models are least of one mind."""

import numpy as np
import pytest
from PIL import Image

from featurespace.errors import FeaturespaceError
from featurespace.tables.overlays import divided_images


def put(folder, **images):
    folder.mkdir(exist_ok=True)
    for name, values in images.items():
        Image.fromarray(np.asarray(values, np.uint8)).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def folders(tmp_path):
    """Three masks of two pixels of foreground: the models differ in none, one and two of them."""
    masks = put(tmp_path / "masks", a=[[1, 1, 0]], b=[[1, 1, 0]], c=[[1, 1, 0]])
    predictions = {
        "p": put(tmp_path / "p", a=[[1, 0, 0]], b=[[1, 1, 1]], c=[[1, 1, 0]]),
        "q": put(tmp_path / "q", a=[[1, 0, 0]], b=[[1, 0, 0]], c=[[0, 0, 0]]),
    }
    images = put(tmp_path / "images", a=[[10, 20, 30]], b=[[40, 50, 60]], c=[[70, 80, 90]])
    return masks, images, predictions


def test_the_most_divided_images_come_first(folders):
    found = divided_images(*folders, count=8)
    assert [name for name, _, _ in found] == ["c", "b"]
    assert [picture.tolist() for _, picture, _ in found] == [[[70, 80, 90]], [[40, 50, 60]]]
    # neither, p alone, q alone, both; -1 is background
    assert [answers.tolist() for _, _, answers in found] == [[[1, 1, -1]], [[3, 1, -1]]]
    assert [name for name, _, _ in divided_images(*folders, count=1)] == ["c"]


def test_of_one_mind_everywhere_all_are_shown(folders):
    masks, images, predictions = folders
    same = {"p": predictions["p"], "again": predictions["p"]}
    assert [name for name, _, _ in divided_images(masks, images, same, count=2)] == ["a", "b"]


def test_a_missing_image_and_one_of_another_size_are_named(folders):
    (folders[1] / "b.png").unlink()
    with pytest.raises(FeaturespaceError, match="images lacks the image of the mask 'b'; give every mask its image"):
        divided_images(*folders, count=8)
    put(folders[1], b=[[1, 2], [3, 4]])
    with pytest.raises(FeaturespaceError, match=r"b\.png is 2 x 2 pixels and its mask 3 x 1"):
        divided_images(*folders, count=8)
