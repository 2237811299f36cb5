import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.metrics import f1_score, jaccard_score, precision_score, recall_score

from featurespace.data.transforms import resize_and_crop
from featurespace.errors import FeaturespaceError
from featurespace.models.checkpoint import read_manifest
from featurespace.models.load import load_model
from featurespace.models.segmentation import build_unet, unet_state
from featurespace.models.specs import parse_model_spec
from featurespace.training import engine
from featurespace.training.finetune import finetune
from featurespace.training.settings import FinetuneConfig
from featurespace.training.tasks.segmentation import Segmentation
from featurespace.yaml_files import checked


@pytest.fixture
def discs(tmp_path):
    """Images with a bright disc and a dark square on noise, and their masks."""
    rng = np.random.default_rng(0)
    rows = []
    (tmp_path / "masks").mkdir()
    for index in range(24):
        y, x = np.mgrid[:40, :48]
        mask = np.zeros((40, 48), np.uint8)
        mask[(x - rng.integers(10, 38)) ** 2 + (y - rng.integers(10, 30)) ** 2 < 40] = 1
        top, left = rng.integers(0, 30), rng.integers(0, 38)
        mask[top : top + 9, left : left + 9] = 2
        image = 110 + 20 * rng.normal(size=mask.shape) + 80 * (mask == 1) - 80 * (mask == 2)
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(tmp_path / f"{index}.png")
        Image.fromarray(mask).save(tmp_path / "masks" / f"{index}.png")
        rows.append(
            {
                "path": f"{index}.png",
                "mask": f"masks/{index}.png",
                "split": "train" if index < 16 else "test",
                "group": index // 2,
            }
        )
    pd.DataFrame(rows).to_csv(tmp_path / "m.csv", index=False)
    return tmp_path


def config(discs, **changes):
    values = {"model": "start=test_resnet", "data": f"x={discs / 'm.csv'}", "out": discs / "out", "image_size": 32, "batch_size": 8,
              "epochs": 2, "learning_rate": 3e-3, "device": "cpu", "loggers": (), "task": "segmentation",
              "classes": ["background", "disc", "square"]}  # fmt: skip
    return checked(FinetuneConfig, {**values, **changes})


def change(discs, index, array):
    Image.fromarray(array).save(discs / "masks" / f"{index}.png")


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="plain", marks=pytest.mark.slow),
        pytest.param({"dice": 1.0, "class_weights": [0.2, 1, 1], "min_scale": 0.5, "flip": 0.5}, id="dice"),
    ],
)
def test_it_finds_discs_and_squares(discs, changes):
    path = finetune(config(discs, epochs=40, **changes))
    runs = pd.read_csv(discs / "out" / "runs.csv").set_index("metric")["value"]
    assert set(runs.index) == {
        f"{kind}{name}" for kind in ("dice", "iou", "precision", "recall") for name in ("", "_disc", "_square")
    }
    assert runs["dice_disc"] > 0.6 and runs["dice_square"] > 0.6
    assert len(pd.read_csv(discs / "out" / "predictions.csv")) == 8
    model = load_model(parse_model_spec(str(path)))  # the encoder, under the backbone's names
    assert model.arch == "test_resnet" and model.weights_hash != model.manifest["parent"]["weights_sha256"]


@pytest.mark.slow
def test_sixteen_masks_are_learnt_by_heart(discs):
    table = pd.read_csv(discs / "m.csv").iloc[:16].drop(columns="group")
    table["mask"] = np.random.default_rng(1).permutation(table["mask"])  # of other images
    pd.concat([table.assign(split=split, id=table["path"] + split) for split in ("train", "test")]).to_csv(
        discs / "m.csv", index=False
    )
    runs = pd.read_csv(finetune(config(discs, epochs=60, dice=1.0)).parent / "runs.csv").set_index("metric")["value"]
    assert runs["dice_disc"] > 0.9 and runs["dice_square"] > 0.9


@pytest.mark.slow
def test_permuted_masks_fall_to_chance(discs):
    table, found = pd.read_csv(discs / "m.csv"), {}
    for name in ("given", "permuted"):
        path = finetune(config(discs, out=discs / name, epochs=25, dice=1.0))
        found[name] = pd.read_csv(path.parent / "runs.csv").set_index("metric")["value"]
        table["mask"] = np.random.default_rng(0).permutation(table["mask"])
        table.to_csv(discs / "m.csv", index=False)
    masks = [resize_and_crop(Image.open(discs / f"masks/{i}.png"), 32, 32, interpolation="nearest") for i in range(24)]
    for number, name in enumerate(("disc", "square"), 1):
        # What knows nothing of the images finds at most what the best mask finds that is the same for all of them: Dice
        # over all images is a ratio of sums, greatest for the pixels that are of the class most often.
        often = np.sort(np.mean([np.asarray(each) == number for each in masks], axis=0), axis=None)[::-1]
        chance = (2 * often.cumsum() / (np.arange(1, often.size + 1) + often.sum())).max()
        assert found["permuted"][f"dice_{name}"] < chance < found["given"][f"dice_{name}"] - 0.2


def test_a_frozen_encoder_is_the_backbone_still(discs):
    path = finetune(config(discs, mode="linear"))
    model = load_model(parse_model_spec(str(path)))
    assert model.weights_hash == model.manifest["parent"]["weights_sha256"]


def test_masks_in_a_folder_are_those_of_the_column_and_their_order_does_not_matter(discs):
    weights = []
    for index, changes in enumerate(({}, {"masks": discs / "masks"})):
        if index:
            pd.read_csv(discs / "m.csv").drop(columns="mask").to_csv(discs / "m.csv", index=False)
        path = finetune(config(discs, out=discs / str(index), **changes))
        weights.append(load_model(parse_model_spec(str(path))).weights_hash)
    assert weights[0] == weights[1]


@pytest.mark.parametrize("arch", ["resnet18", "test_convnext", "test_efficientnet", "mobilenetv3_small_050"])
def test_an_encoder_has_the_backbones_weights_and_gives_them_back(arch):
    model = load_model(parse_model_spec(f"{arch}@random"), image_size=64)
    network = build_unet(model, 3)
    state = unet_state(network, model)
    for name, value in model.network.state_dict().items():
        assert torch.equal(state[name], value), name
    images = torch.randn(2, 3, 64, 64)
    expected = model.network.forward_intermediates(images, intermediates_only=True)
    found = network.encoder.eval()(images)
    torch.testing.assert_close(found[-1], expected[-1])


@pytest.mark.parametrize(("arch", "message"), [("test_vit", "test_vit cannot be the encoder of a U-Net .* no pyramid"),
                                               ("torchvision/resnet18", "is no network of timm")])  # fmt: skip
def test_networks_that_have_no_pyramid(arch, message):
    with pytest.raises(FeaturespaceError, match=message):
        build_unet(load_model(parse_model_spec(f"{arch}@random")), 3)


def test_scores_are_scikit_learns_and_unknown_pixels_count_nowhere():
    rng = np.random.default_rng(0)
    true, scores = rng.integers(0, 3, (4, 5, 6)), torch.from_numpy(rng.normal(size=(4, 3, 5, 6)))
    unknown = rng.random(true.shape) < 0.2
    task = Segmentation(["background", "a", "b"])
    targets = torch.from_numpy(np.where(unknown, 255, true))
    found = task.metrics(task.observed(scores, targets))
    y, p = true[~unknown], scores.argmax(1).numpy()[~unknown]
    for kind, function in (
        ("dice", f1_score),
        ("iou", jaccard_score),
        ("precision", precision_score),
        ("recall", recall_score),
    ):
        expected = function(y, p, average=None)[1:]
        assert [found[f"{kind}_a"], found[f"{kind}_b"]] == pytest.approx(expected.tolist())
        assert found[kind] == pytest.approx(expected.mean())
    first = task.columns(task.observed(scores, targets))["dice_a"][0]
    keep = ~unknown[0]
    assert first == pytest.approx(
        f1_score(true[0][keep], scores.argmax(1).numpy()[0][keep], average=None, labels=[1])[0]
    )
    empty = task.metrics(
        task.observed(
            torch.tensor([5.0, 0, 0])[None, :, None, None].expand(1, 3, 2, 2), torch.zeros(1, 2, 2, dtype=int)
        )
    )
    assert empty == {}  # neither class is there, and none was predicted


def test_the_loss_is_the_weighted_cross_entropy_of_known_pixels():
    scores = torch.randn(2, 3, 4, 4)
    targets = torch.randint(0, 3, (2, 4, 4))
    targets[0, 0] = 255
    weights = torch.tensor([0.5, 1.0, 2.0])
    by_hand = [(weights[t] * -scores[b, :, y, x].log_softmax(0)[t], weights[t])
               for b in range(2) for y in range(4) for x in range(4) if (t := targets[b, y, x]) != 255]  # fmt: skip
    expected = sum(each for each, _ in by_hand) / sum(weight for _, weight in by_hand)
    torch.testing.assert_close(Segmentation("abc", weights=weights.tolist()).loss(scores, targets), expected)


@pytest.mark.parametrize(
    ("break_it", "changes", "message"),
    [(lambda d: change(d, 3, np.zeros((40, 40), np.uint8)), {}, "image '3.png' is 48 x 40 and its mask .*3.png 40 x 40 pixels"),
     (lambda d: change(d, 3, np.full((40, 48), 3, np.uint8)), {}, "has class 3 at row 0, column 0; allowed are 0 to 2"),
     (lambda d: change(d, 3, np.zeros((40, 48, 3), np.uint8)), {}, "has colours; a mask holds one class number"),
     (lambda d: (d / "masks" / "3.png").unlink(), {}, "the mask .*3.png of image '3.png' does not exist"),
     (lambda d: (d / "masks" / "3.png").unlink(), {"masks": "folder"}, "the mask .*3.png of image '3.png' does not exist"),
     (lambda d: pd.read_csv(d / "m.csv").drop(columns="mask").to_csv(d / "m.csv"), {}, "has no masks; name their folder"),
     (lambda d: None, {"model": "test_vit@random"}, "test_vit cannot be the encoder"),
     (lambda d: None, {"classes": None}, "task segmentation goes with the names of its classes"),
     (lambda d: None, {"classes": ["a"]}, "must be two different names at least"),
     (lambda d: None, {"class_weights": [1, 2]}, "class_weights must be 3 numbers"),
     (lambda d: None, {"layer_decay": 0.5}, "layer_decay does not go with task segmentation")],
)  # fmt: skip
def test_errors(discs, break_it, changes, message):
    break_it(discs)
    changes = {key: discs / "masks" if value == "folder" else value for key, value in changes.items()}
    with pytest.raises(FeaturespaceError, match=message):
        finetune(config(discs, **changes))


def test_without_the_extra(discs, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "segmentation_models_pytorch", None)
    with pytest.raises(
        FeaturespaceError, match="segmentation needs segmentation-models-pytorch, which is not installed"
    ):
        finetune(config(discs))


def test_changed_masks_are_noticed(discs, monkeypatch):
    settings = config(discs, cache="disk", save_minutes=0)

    def dying(self, trainer, module, outputs, batch, index, method=engine.Saving.on_train_batch_end):
        method(self, trainer, module, outputs, batch, index)
        if batch.number == 1:
            raise ZeroDivisionError

    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(engine.Saving, "on_train_batch_end", dying)
        finetune(config(discs, cache="disk", save_minutes=0, epochs=2))
    change(discs, 3, np.zeros((40, 48), np.uint8))
    with pytest.raises(
        FeaturespaceError, match="images or labels have changed since .*state.ckpt was saved; choose a new out"
    ):
        finetune(settings)
    (settings.out / "state.ckpt").unlink()
    first = read_manifest(finetune(settings))["data_hash"]
    masks = np.load(settings.out / "masks.npy", mmap_mode="r")
    assert masks[3].max() == 0  # decoded again
    change(discs, 3, np.ones((40, 48), np.uint8))
    assert read_manifest(finetune(config(discs, out=discs / "b")))["data_hash"] != first
