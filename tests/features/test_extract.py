import copy
import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from featurespace.data.specs import open_data
from featurespace.data.transforms import network_input
from featurespace.errors import FeaturespaceError
from featurespace.features import extract as module
from featurespace.features.extract import ExtractOptions, extract, input_batches
from featurespace.models.load import load_model, state_hash
from featurespace.models.specs import parse_model_spec
from featurespace.progress import Progress

OPTIONS = ExtractOptions(batch_size=20)


@pytest.fixture(scope="module")
def model():
    return load_model(parse_model_spec("m=test_resnet@random"), image_size=32)


@pytest.fixture
def data(two_domains):
    return open_data(f"bright={two_domains[0]}")


def test_values_equal_a_plain_forward_pass(tmp_path, model, data):
    store = extract(model, data, tmp_path / "s", options=OPTIONS)
    images = torch.cat(
        [torch.from_numpy(inputs) for _, inputs, _ in input_batches(data, model.preprocessing, batch_size=20)]
    )
    with torch.inference_mode():
        expected = model.network(images)
    np.testing.assert_allclose(store["pooled"], expected.numpy(), rtol=1e-4, atol=1e-5)
    assert list(store)[-1] == "pooled" and store.samples["domain"].unique().tolist() == ["bright"]


def test_the_same_call_uses_what_is_there(tmp_path, model, data, monkeypatch):
    extract(model, data, tmp_path / "s", options=OPTIONS)
    monkeypatch.setattr(module, "_fill", lambda *args, **kwargs: pytest.fail("extracted again"))
    extract(model, data, tmp_path / "s", options=OPTIONS)
    again = extract(model, data, tmp_path / "s", options=dataclasses.replace(OPTIONS, batch_size=7))
    assert again.complete and again.manifest["batch_size"] == 20


@pytest.fixture
def passes(monkeypatch):
    """The label of the data set of every extraction that was begun or gone on with."""
    original, made = module._fill, []
    monkeypatch.setattr(module, "_fill", lambda *args, **kwargs: (made.append(args[3].name), original(*args, **kwargs)))
    return made


def eight_images(folder, *, order=range(8), shade=20, label="abababab", group="11223344", split="train,test"):
    rows = []
    for index in order:
        Image.new("RGB", (40, 40), (index * shade, 0, 0)).save(folder / f"{index}.png")
        row = {
            "path": f"{index}.png",
            "label": label[index],
            "group": group[index],
            "split": split.split(",")[index % 2],
        }
        rows.append(row)
    pd.DataFrame(rows).to_csv(folder / "m.csv", index=False)
    return open_data(f"x={folder / 'm.csv'}")


def other_weights(model):
    network = copy.deepcopy(model.network)
    with torch.no_grad():
        next(network.parameters()).mul_(-1)
    return dataclasses.replace(model, network=network, weights_hash=state_hash(network.state_dict()))


def other_form(**change):
    return lambda model: dataclasses.replace(model, preprocessing=dataclasses.replace(model.preprocessing, **change))


SAME = {
    "the same call": {},
    "batch size": {"options": {"batch_size": 3}},
    "bad images": {"options": {"on_bad_image": "error"}},
}
OTHER = {
    "weights": {"model": other_weights},
    "image size": {"model": other_form(input_size=(3, 48, 48))},
    "mean": {"model": other_form(mean=(0.5, 0.456, 0.406))},
    "std": {"model": other_form(std=(0.229, 0.224, 0.5))},
    "interpolation": {"model": other_form(interpolation="bicubic")},
    "layers": {"options": {"layers": ("pooled",)}},
    "pooling": {"options": {"pool": "none"}},
    "precision": {"options": {"precision": "bf16"}},
    "bytes of an image": {"images": {"shade": 21}},
    "order of images": {"images": {"order": (1, 0, *range(2, 8))}},
    "number of images": {"images": {"order": range(7)}},
    "a label": {"images": {"label": "abababaa"}},
    "a group": {"images": {"group": "11223345"}},
    "a split": {"images": {"split": "test,train"}},
}


@pytest.mark.parametrize("change", [*SAME, *OTHER])
@pytest.mark.parametrize("finished", [True, False])
def test_what_can_change_a_number_makes_features_again_and_nothing_else_does(
    tmp_path, model, passes, monkeypatch, change, finished
):
    """A finished store is used or made again; an unfinished one is gone on with or begun again."""
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", -1.0)
    options = ExtractOptions(batch_size=4)
    with monkeypatch.context() as patch:
        if not finished:
            patch.setattr(module.FeatureStore, "finish", lambda store: None)
        extract(model, eight_images(tmp_path), tmp_path / "s", options=options)
    changed = (SAME | OTHER)[change]
    told, progress = [], Progress()
    monkeypatch.setattr(progress, "tell", told.append)
    store = extract(
        changed.get("model", lambda same: same)(model), eight_images(tmp_path, **changed.get("images", {})), tmp_path / "s",
        options=dataclasses.replace(options, **changed.get("options", {})), progress=progress,
    )  # fmt: skip
    again = change in OTHER
    assert len(passes) == (2 if again or not finished else 1)
    assert told == ([] if again or finished else ["m on x: goes on after row 8 of 8"])
    assert store.complete and store.manifest["batch_size"] == 4


def test_another_number_of_threads_goes_on(tmp_path, model, data, monkeypatch):
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", -1.0)
    with monkeypatch.context() as patch:
        patch.setattr(module.FeatureStore, "finish", lambda store: None)
        extract(model, data, tmp_path / "s", options=OPTIONS)
    threads, told, progress = torch.get_num_threads(), [], Progress()
    monkeypatch.setattr(progress, "tell", told.append)
    try:
        torch.set_num_threads(threads + 1)
        extract(model, data, tmp_path / "s", options=OPTIONS, progress=progress)
    finally:
        torch.set_num_threads(threads)
    assert told == ["m on bright: goes on after row 72 of 72"]


def test_batch_size_changes_values_by_rounding_only(tmp_path, model, data):
    first = extract(model, data, tmp_path / "a", options=OPTIONS)
    second = extract(model, data, tmp_path / "b", options=dataclasses.replace(OPTIONS, batch_size=7))
    for layer in first:
        np.testing.assert_allclose(first[layer], second[layer], rtol=1e-3, atol=1e-4)


class Killed(Exception):
    pass


@pytest.mark.parametrize("after", [1, 2, 3])
def test_an_interrupted_extraction_ends_with_the_same_bits(tmp_path, model, data, monkeypatch, after):
    extract(model, data, tmp_path / "whole", options=OPTIONS)
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", -1.0)
    original, calls = module.FeatureStore.write, []

    def write(self, start, features, bad):
        calls.append(start)
        if len(calls) > after:
            raise Killed
        original(self, start, features, bad)

    with monkeypatch.context() as patch:
        patch.setattr(module.FeatureStore, "write", write)
        with pytest.raises(Killed):
            extract(model, data, tmp_path / "s", options=OPTIONS)
    told = []
    progress = Progress()
    monkeypatch.setattr(progress, "tell", told.append)
    store = extract(model, data, tmp_path / "s", options=OPTIONS, progress=progress)
    # Not among the messages of the report, which is the same as that of a run in one go.
    assert f"goes on after row {20 * after} of 72" in told[0] and not progress.messages
    for file in [*(f"layers/{each.name}" for each in (tmp_path / "whole" / "layers").iterdir()), "samples.parquet"]:
        assert (tmp_path / "s" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    assert store.complete


def broken_folder(tmp_path, bad=(2, 5)):
    for index in range(8):
        path = tmp_path / "images" / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (32, 32), (index * 20, 0, 0)).save(path)
        if index in bad:
            path.write_bytes(path.read_bytes()[:30] if index == 2 else b"")
    return open_data(f"x={tmp_path / 'images'}")


def test_unreadable_images_are_left_out_and_named(tmp_path, model):
    progress = Progress()
    store = extract(
        model, broken_folder(tmp_path), tmp_path / "s", options=ExtractOptions(batch_size=3), progress=progress
    )
    assert store.samples["id"].tolist() == [f"{index}.png" for index in (0, 1, 3, 4, 6, 7)]
    assert len(progress.messages) == 3 and "2.png" in progress.messages[0] and "5.png" in progress.messages[1]
    alone = extract(
        model, open_data(f"x={tmp_path / 'images'}").subset(np.array([6, 7])), tmp_path / "t", options=OPTIONS
    )
    np.testing.assert_allclose(store["pooled"][-2:], alone["pooled"], rtol=1e-3, atol=1e-5)


def test_left_out_images_are_told_again_from_a_finished_store(tmp_path, model):
    data = broken_folder(tmp_path)
    extract(model, data, tmp_path / "s", options=OPTIONS)
    progress = Progress()
    extract(model, data, tmp_path / "s", options=OPTIONS, progress=progress)
    assert len(progress.messages) == 3 and "skipped" in progress.messages[0]
    assert progress.messages[-1].startswith("x: 2 of 8 images cannot be read and are left out")
    with pytest.raises(FeaturespaceError, match=r"2\.png.*--on-bad-image skip leaves it out"):
        extract(model, data, tmp_path / "s", options=dataclasses.replace(OPTIONS, on_bad_image="error"))


def test_an_unreadable_image_can_end_the_run(tmp_path, model):
    options = ExtractOptions(batch_size=3, on_bad_image="error")
    with pytest.raises(FeaturespaceError, match=r"data set 'x': .*2\.png.*--on-bad-image skip leaves it out"):
        extract(model, broken_folder(tmp_path), tmp_path / "s", options=options)


def test_no_readable_image_at_all(tmp_path, model):
    with pytest.raises(FeaturespaceError, match="none of its 8 images can be read"):
        extract(model, broken_folder(tmp_path, bad=range(8)), tmp_path / "s", options=OPTIONS)


def test_nan_features_name_model_layer_and_count(tmp_path, data):
    broken = load_model(parse_model_spec("m=test_resnet@random"), image_size=32)
    with torch.no_grad():
        next(iter(broken.network.layer3.parameters())).fill_(float("nan"))
    with pytest.raises(
        FeaturespaceError, match=r"model 'm', layer 'layer3\.0': features of 72 of 72 images of 'bright' are NaN"
    ):
        extract(broken, data, tmp_path / "s", options=OPTIONS)
    with pytest.raises(FeaturespaceError, match="NaN"):  # and again from the finished store
        extract(broken, data, tmp_path / "s", options=OPTIONS)


def test_arrays_of_the_networks_size_are_read_as_any_other(tmp_path, rng, model):
    images = rng.integers(0, 256, (10, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=images)
    data = open_data(f"x={tmp_path / 'a.npz'}").subset(np.array([4, 2, 9, 0, 5]))
    form = dataclasses.replace(model.preprocessing, input_size=(3, 32, 32))
    assert data.images.pixels(np.arange(2), *form.input_size) is not None
    (_, inputs, _), *_ = input_batches(data, form, batch_size=5)
    alone = np.stack([network_input(data.image(index), form) for index in range(5)])
    assert np.array_equal(inputs, alone)
