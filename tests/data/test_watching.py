"""Files that change, come or go while a command runs."""

import os

import numpy as np
import pytest
from PIL import Image

from featurespace.data.specs import open_data
from featurespace.data.watching import Changed
from featurespace.features.extract import ExtractOptions, extract
from featurespace.models.load import load_model
from featurespace.models.specs import parse_model_spec
from tests.data.medical import write_series


@pytest.fixture
def folder(tmp_path, rng):
    (tmp_path / "images").mkdir()
    for index in range(6):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(tmp_path / f"images/{index}.png")
    return tmp_path / "images"


def change(path):
    Image.new("RGB", (32, 32), (9, 9, 9)).save(path)
    os.utime(path, ns=(1, 1))


def remove(path):
    path.unlink()


@pytest.mark.parametrize("happens", [change, remove])
def test_an_image_that_changes_or_goes_while_features_are_made_ends_the_run(folder, tmp_path, happens):
    data = open_data(f"x={folder}")
    fingerprint = data.fingerprint()
    happens(folder / "4.png")
    model = load_model(parse_model_spec("test_resnet@random"), image_size=32)
    with pytest.raises(
        Changed, match="4.png has changed, come or gone while this command was running.*run the same command again"
    ):
        extract(model, data, tmp_path / "store", options=ExtractOptions(batch_size=2), fingerprint=fingerprint)
    happened = [
        image["id"]
        for image in extract(
            model, open_data(f"x={folder}"), tmp_path / "again", options=ExtractOptions()
        ).samples.to_dict("records")
    ]
    assert len(happened) == (6 if happens is change else 5)


def test_an_image_that_comes_is_none_of_those_that_were_hashed(folder):
    table = folder.parent / f"{folder.name}.csv"
    table.write_text("path\n" + "".join(f"{folder}/{index}.png\n" for index in range(8)))
    data = open_data(f"x={table}")
    data.digests()
    change(folder / "7.png")
    assert data.subset(np.array([1])).image(0).size == (32, 32)
    with pytest.raises(Changed, match="7.png"):
        data.subset(np.array([7])).image(0)


def test_what_was_not_hashed_is_read_as_it_is(folder):
    data = open_data(f"x={folder}")
    change(folder / "0.png")
    assert data.image(0).getpixel((0, 0)) == (9, 9, 9)


def test_a_volume_that_changes_is_named_without_its_path(tmp_path):
    write_series(tmp_path / "secret", shape=(10, 8))
    data = open_data(f"x={tmp_path}")
    data.digests()
    first = next((tmp_path / "secret").iterdir())
    os.utime(first, ns=(1, 1))
    with pytest.raises(Changed, match="the volume of slice .* has changed") as error:
        data.image(0)
    assert "secret" not in str(error.value)
