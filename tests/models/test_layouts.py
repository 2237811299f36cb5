"""Checkpoints as other libraries lay them out, written by those libraries where they are installed: equal features."""

import argparse
import copy
import json

import pytest
import timm
import torch
import torchvision
from models.laid_out import assert_same, images, lively, load, slow
from oracles import layouts as oracle
from safetensors.torch import save_file

from featurespace.errors import FeaturespaceError
from featurespace.models.networks import remove_classifier

SMALL = [
    ("resnet18", "resnet18", 32), ("mobilenet_v2", "mobilenetv2_100", 64), ("efficientnet_b0", "tf_efficientnet_b0", 63),
    ("mobilenet_v3_small", "mobilenetv3_small_100", 64), ("mnasnet0_5", "mnasnet_050", 64), ("regnet_y_400mf", "regnety_004", 32),
]  # fmt: skip
LARGE = [
    ("resnet50", "resnet50", 32), ("wide_resnet50_2", "wide_resnet50_2", 32), ("resnext50_32x4d", "resnext50_32x4d", 32),
    ("densenet121", "densenet121", 32), ("efficientnet_b0", "efficientnet_b0", 64),
    ("mobilenet_v3_small", "tf_mobilenetv3_small_100", 63), ("regnet_x_400mf", "regnetx_004_tv", 32),
    ("mobilenet_v3_large", "mobilenetv3_large_100", 64), ("efficientnet_v2_s", "efficientnetv2_s", 64),
    ("efficientnet_v2_s", "tf_efficientnetv2_s", 63), ("convnext_tiny", "convnext_tiny", 32),
    ("swin_t", "swin_tiny_patch4_window7_224", 224), ("swin_v2_t", "swinv2_tiny_window8_256", 256),
    ("vit_b_32", "vit_base_patch32_224", 224), ("vgg11", "vgg11", 64), ("vgg11_bn", "vgg11_bn", 64),
    ("inception_v3", "inception_v3", 96),
]  # fmt: skip
THEMSELVES = [
    "squeezenet1_1",
    "mnasnet0_5",
    *map(slow, ("shufflenet_v2_x0_5", "mobilenet_v3_small", "resnet18", "googlenet")),
]


@pytest.mark.parametrize(("theirs", "arch", "side"), SMALL + [slow(*each) for each in LARGE])
def test_torchvision_in_timm(tmp_path, theirs, arch, side):
    network = torchvision_network(theirs)
    torch.save(network.state_dict(), tmp_path / "x.pth")
    remove_classifier(network)
    model = load(f"{arch}@{tmp_path / 'x.pth'}")
    assert model.match.share_of_tensors == 1 and not model.match.missing
    assert model.match.layout or model.match.method == "order and shape"
    with torch.no_grad():
        assert_same(model.network(images(side)), network(images(side)))


@pytest.mark.parametrize("name", THEMSELVES)
def test_torchvision_as_itself(tmp_path, name):
    network = torchvision_network(name)
    torch.save({"state_dict": {f"module.{key}": v for key, v in network.state_dict().items()}}, tmp_path / "x.pth")
    remove_classifier(network)
    model = load(f"torchvision/{name}@{tmp_path / 'x.pth'}")
    assert model.match.share_of_tensors == 1
    assert model.match.layout == "torchvision"
    with torch.no_grad():
        assert_same(model.network(images(64)), network(images(64)))


def torchvision_network(name):
    extra = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    return lively(torchvision.models.get_model(name, weights=None, **extra))


def prefixed(prefix, state):
    return {prefix + name: value for name, value in state.items()}


def renamed(state, old, new):
    return {name.replace(old, new): value for name, value in state.items()}


def shifted(state):
    return {name: value + 1 if value.is_floating_point() else value for name, value in state.items()}


def decoder(state):
    return {**state, "mask_token": torch.ones(1, 1, 64), "decoder_pos_embed": torch.ones(1, 101, 8),
            "decoder_embed.weight": torch.ones(8, 64), "decoder_blocks.0.attn.qkv.weight": torch.ones(24, 8)}  # fmt: skip


# What each code writes around the weights, and the layout that the report names.
WRAPPERS = {
    "plain": (lambda s: s, "timm"),
    "ddp": (lambda s: {"epoch": 1, "state_dict": prefixed("module.", s)}, "timm"),
    "compiled": (lambda s: prefixed("_orig_mod.", s), "timm"),
    "compiled inside": (lambda s: {"model": prefixed("module._orig_mod.", s)}, "timm"),
    "lightning model": (
        lambda s: {"state_dict": prefixed("model.", s), "hyper_parameters": {"lr": 1.0}, "pytorch-lightning_version": "2"},
        "Lightning",
    ),
    "lightning net": (
        lambda s: {"state_dict": prefixed("net.", s), "pytorch-lightning_version": "2", "callbacks": {}}, "Lightning",
    ),
    "lightning encoder beside a head": (
        lambda s: {"state_dict": {**prefixed("encoder.", s), "head.weight": torch.ones(2, 3)}, "pytorch-lightning_version": "2"},
        "Lightning",
    ),
    "timm with EMA": (lambda s: {"state_dict": shifted(s), "state_dict_ema": s, "args": argparse.Namespace(a=1)}, "timm"),
    "deit EMA": (lambda s: {"model": shifted(s), "model_ema": s}, "timm"),
    "MoCo v1, v2": (
        lambda s: {"state_dict": {**prefixed("module.encoder_q.", s), **prefixed("module.encoder_k.", shifted(s)),
                                  "module.queue": torch.ones(4, 8)}}, "MoCo",
    ),
    "MoCo v3": (
        lambda s: {"state_dict": {**prefixed("module.base_encoder.", s), **prefixed("module.momentum_encoder.", shifted(s)),
                                  "module.predictor.0.weight": torch.ones(4, 8)}}, "MoCo v3",
    ),
    "DINO": (
        lambda s: {"student": prefixed("module.backbone.", shifted(s)),
                   "teacher": {**prefixed("backbone.", s), "head.last_layer.weight_v": torch.ones(4, 8)}, "epoch": 9}, "DINO",
    ),
    "SimCLR convnet": (lambda s: {**prefixed("convnet.", s), "projector.0.weight": torch.ones(4, 8)}, "timm"),
    "SimCLR encoder": (lambda s: {"model": {**prefixed("encoder.", s), "projection.0.weight": torch.ones(4, 8)}}, "timm"),
    "SwAV": (lambda s: {**prefixed("module.", s), "module.prototypes.weight": torch.ones(4, 8)}, "SwAV"),
    "BYOL": (
        lambda s: {"online_network": prefixed("encoder.", s), "target_network": prefixed("encoder.", shifted(s))}, "timm",
    ),
    "VISSL": (
        lambda s: {"classy_state_dict": {"base_model": {"model": {"trunk": prefixed("_feature_blocks.", s), "heads": {}}}}},
        "VISSL",
    ),
    "a backbone in a U-Net": (lambda s: {**prefixed("unet.backbone.", s), "unet.decoder.0.weight": torch.ones(3, 3)}, "timm"),
    "optimizer and config": (
        lambda s: {"optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": []}, "net": s, "best_acc": 0.5},
        "timm",
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=["test_resnet", "test_vit"])
def small(request):
    network = lively(timm.create_model(request.param, num_classes=0))
    with torch.no_grad():
        return request.param, network.state_dict(), network(images(160))


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrappers(tmp_path, small, wrapper):
    arch, state, expected = small
    wrap, layout = WRAPPERS[wrapper]
    torch.save(wrap(copy.copy(state)), tmp_path / "x.ckpt")
    model = load(f"{arch}@{tmp_path / 'x.ckpt'}")
    assert model.match.share_of_tensors == 1
    assert model.match.layout == layout
    with torch.no_grad():
        assert_same(model.network(images(160)), expected)


def test_mae_gives_its_encoder_and_reports_the_decoder(tmp_path, small):
    arch, state, expected = small
    if arch != "test_vit":
        pytest.skip("masked autoencoders are transformers")
    torch.save({"model": decoder(state), "epoch": 799}, tmp_path / "x.pth")
    model = load(f"{arch}@{tmp_path / 'x.pth'}")
    assert model.match.layout == "MAE"
    assert {entry.source for entry in model.match.unexpected} == set(decoder({}))
    with torch.no_grad():
        assert_same(model.network(images(160)), expected)


def test_a_transformer_finetuned_on_the_average_of_its_patches(tmp_path):
    network = lively(timm.create_model("test_vit", global_pool="avg", num_classes=3))
    torch.save({"model": network.state_dict()}, tmp_path / "x.pth")
    model = load(f"test_vit@{tmp_path / 'x.pth'}")
    network.reset_classifier(0)
    assert any("average of the patches" in note for note in model.match.notes)
    with torch.no_grad():
        assert_same(model.network(images(160)), network(images(160)))


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("resnet18", "backbone."),
        ("mobilenet_v2", "module.backbone."),
        slow("densenet121", "backbone."),
        slow("efficientnet_b0", ""),
    ],
)
def test_children_of_a_torchvision_network_by_number(tmp_path, name, prefix):
    """lightly and RadImageNet: Sequential(*network.children()[:-1])."""
    arch = {"mobilenet_v2": "mobilenetv2_100"}.get(name, name)
    network = torchvision_network(name)
    backbone = torch.nn.Sequential(*list(network.children())[:-1])
    torch.save({**prefixed(prefix, backbone.state_dict()), "linear.weight": torch.ones(2, 3)}, tmp_path / "x.pt")
    model = load(f"{arch}@{tmp_path / 'x.pt'}")
    remove_classifier(network)
    assert model.match.share_of_tensors == 1
    with torch.no_grad():
        assert_same(model.network(images(64)), network(images(64)))


@pytest.mark.slow
def test_children_of_inception_by_number(tmp_path):
    network = torchvision_network("inception_v3")
    backbone = torch.nn.Sequential(*list(network.children())[:-3])
    torch.save(prefixed("backbone.", backbone.state_dict()), tmp_path / "x.pt")
    model = load(f"inception_v3@{tmp_path / 'x.pt'}")
    remove_classifier(network)
    with torch.no_grad():
        assert_same(model.network(images(96)), network(images(96)))


@pytest.mark.parametrize("method", ["MoCo", slow("SimCLR"), slow("BYOL")])
def test_modules_of_lightly(tmp_path, method):
    """A LightningModule as lightly's documentation writes it: a backbone of children, and heads from the library."""
    heads = pytest.importorskip("lightly.models.modules.heads")
    network = lively(torchvision.models.resnet18())
    module = torch.nn.Module()
    module.backbone = torch.nn.Sequential(*list(network.children())[:-1])
    module.projection_head = getattr(heads, f"{method}ProjectionHead")(512, 32, 16)
    if method != "SimCLR":
        module.backbone_momentum = copy.deepcopy(module.backbone)
        lively(module.backbone_momentum, seed=9)
    state = {"state_dict": module.state_dict(), "pytorch-lightning_version": "2.6.6", "loops": {}, "epoch": 2}
    torch.save(state, tmp_path / "x.ckpt")
    model = load(f"resnet18@{tmp_path / 'x.ckpt'}")
    network.fc = torch.nn.Identity()
    assert model.match.layout == "children by number"
    with torch.no_grad():
        assert_same(model.network(images(32)), network(images(32)))


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float64"])
def test_other_precisions_are_used_as_float32_and_said(tmp_path, small, kind):
    arch, state, _ = small
    dtype = getattr(torch, kind)
    cast = {name: value.to(dtype) if value.is_floating_point() else value for name, value in state.items()}
    save_file(cast, tmp_path / "x.safetensors")
    model = load(f"{arch}@{tmp_path / 'x.safetensors'}")
    assert f"{kind} weights are used as float32" in model.match.summary()
    ours = model.network.state_dict()
    assert all(torch.equal(ours[name], value.to(ours[name].dtype)) for name, value in cast.items())


@pytest.mark.parametrize("stem", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("way", ["file", "directory"])
def test_shards(tmp_path, small, stem, way):
    arch, state, expected = small
    write_shards(tmp_path, state, stem)
    (tmp_path / "config.json").write_text(json.dumps({"architecture": arch}))
    text = f"local-dir:{tmp_path}" if way == "directory" else f"{arch}@{tmp_path / stem}.index.json"
    model = load(text)
    assert model.match.share_of_tensors == 1
    with torch.no_grad():
        assert_same(model.network(images(160)), expected)


def write_shards(folder, state, stem="model.safetensors"):
    names, places = list(state), {}
    name, _, suffix = stem.rpartition(".")
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        file = f"{name}-0000{number}-of-00002.{suffix}"
        tensors = {key: state[key].contiguous() for key in part}
        save_file(tensors, folder / file) if suffix == "safetensors" else torch.save(tensors, folder / file)
        places |= dict.fromkeys(part, file)
    (folder / f"{stem}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return places


def test_damaged_shards_are_named(tmp_path):
    state = timm.create_model("test_resnet", num_classes=0).state_dict()
    places = write_shards(tmp_path, state)
    index = tmp_path / "model.safetensors.index.json"
    first, second = sorted(set(places.values()))
    index.write_text(json.dumps({"weight_map": {**places, "extra.weight": first}}))
    with pytest.raises(FeaturespaceError, match="says that extra.weight is in model-00001.*does not have it"):
        load(f"test_resnet@{index}")
    (tmp_path / second).unlink()
    with pytest.raises(FeaturespaceError, match="needs 2 files beside it, and 1 are missing .model-00002"):
        load(f"test_resnet@{index}")
    index.write_text(json.dumps({"weight_map": {"a": "../secret.safetensors"}}))
    with pytest.raises(FeaturespaceError, match="names '../secret.safetensors', which is not a file beside it"):
        load(f"test_resnet@{index}")
    index.write_text("[]")
    with pytest.raises(FeaturespaceError, match="is no index of shards: it has no 'weight_map'"):
        load(f"test_resnet@{index}")


@pytest.mark.parametrize(
    ("arch", "channels"),
    [("test_resnet", 1), ("test_resnet", 4), ("test_vit", 1), ("test_vit", 4), ("torchvision/resnet18", 1)]
    + [slow("torchvision/resnet18", 4), slow("densenet121", 1), slow("densenet121", 4)],
)
def test_other_input_channels(tmp_path, arch, channels):
    if arch.startswith("torchvision/"):
        network = torchvision.models.resnet18()
        network.conv1 = torch.nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
    else:
        network = timm.create_model(arch, in_chans=channels)
    lively(network)
    torch.save({"state_dict": prefixed("module.", network.state_dict())}, tmp_path / "x.pt")
    remove_classifier(network)
    model = load(f"{arch}@{tmp_path / 'x.pt'}")
    form = model.preprocessing
    assert form.input_size[0] == len(form.mean) == len(form.std) == channels
    assert f"built for {channels} input channels" in model.match.summary()
    side = 160 if arch == "test_vit" else 64
    with torch.no_grad():
        assert_same(model.network(images(side, channels)), network(images(side, channels)))


def test_positions_of_another_image_size(tmp_path):
    network = lively(timm.create_model("test_vit"))
    torch.save(network.state_dict(), tmp_path / "x.pt")
    model = load(f"test_vit@{tmp_path / 'x.pt'}", image_size=192)
    assert "pos_embed resampled from 1x101x64 to 1x145x64" in model.match.summary()
    network.set_input_size(img_size=(192, 192))
    remove_classifier(network)
    with torch.no_grad():
        assert_same(model.network(images(192)), network(images(192)))


@pytest.mark.slow
@pytest.mark.parametrize("home", ["timm", "torchvision"])
def test_relative_positions_of_another_window(tmp_path, home):
    """At 160 px the last stage is 5 x 5, smaller than its window: timm's own loading is the reference."""
    from timm.models.swin_transformer import checkpoint_filter_fn

    arch = "swin_tiny_patch4_window7_224"
    network = lively(timm.create_model(arch) if home == "timm" else torchvision.models.swin_t())
    torch.save(network.state_dict(), tmp_path / "x.pt")
    same = load(f"{arch}@{tmp_path / 'x.pt'}")
    assert not same.match.reshaped
    model = load(f"{arch}@{tmp_path / 'x.pt'}", image_size=160)
    assert "relative_position_bias_table resampled from 169x24 to 81x24" in model.match.summary()
    expected = timm.create_model(arch, img_size=160, num_classes=1000).eval()
    head = {"head.fc.weight": torch.zeros(1000, 768), "head.fc.bias": torch.zeros(1000)}
    expected.load_state_dict(checkpoint_filter_fn({**same.network.state_dict(), **head}, expected))
    expected.reset_classifier(0)
    with torch.no_grad():
        assert_same(model.network(images(160)), expected(images(160)))


OPTIONS = {"embed_dim": 32, "depth": 12, "num_heads": 2, "mlp_ratio": 2, "img_size": 28}


@pytest.fixture
def narrow(monkeypatch):
    """timm's named transformers, narrow, so that a test builds them in no time."""
    create = timm.create_model

    def small(name, **options):
        if name.startswith("vit_"):
            options = {**OPTIONS, "img_size": 28 if "patch14" in name else 32, **options}
        return create(name, **options)

    monkeypatch.setattr(timm, "create_model", small)
    # Its guesses remember the shapes of networks, which are narrow here.
    monkeypatch.setattr("featurespace.models.fitting.suggestion", lambda tensors, arch: "")


@pytest.mark.parametrize("registers", [0, 4])
@pytest.mark.parametrize("chunks", [None, 4])
@pytest.mark.parametrize("wrapper", ["hub", "teacher"])
def test_dinov2(tmp_path, narrow, registers, chunks, wrapper):
    state = oracle.state(oracle.DINOV2, depth=12, patch=14, side=28, registers=registers)
    file = dict(state, mask_token=torch.ones(1, 32))
    if chunks:  # the number of a block runs through all chunks
        file = {
            ".".join([p[0], str(int(p[1]) // (12 // chunks)), *p[1:]]) if (p := n.split("."))[0] == "blocks" else n: v
            for n, v in file.items()
        }
    if wrapper == "teacher":
        extra = {"dino_head.last_layer.weight": torch.ones(4, 8), "ibot_head.mlp.0.weight": torch.ones(4, 8)}
        file = {"teacher": {**prefixed("backbone.", file), **extra}}
    torch.save(file, tmp_path / "x.pth")
    arch = "vit_base_patch14_reg4_dinov2" if registers else "vit_base_patch14_dinov2"
    model = load(f"{arch}@{tmp_path / 'x.pth'}", image_size=28)
    assert model.match.share_of_tensors == 1
    with torch.no_grad():
        assert_same(model.network(images(28)), oracle.features(state, oracle.DINOV2, images(28)))
    assert model.match.layout == "DINOv2" if chunks or wrapper == "teacher" or registers else "timm"
    if registers:
        with pytest.raises(FeaturespaceError, match="holds more than vit_base_patch14_dinov2.*register_tokens"):
            load(f"vit_base_patch14_dinov2@{tmp_path / 'x.pth'}", image_size=28)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("quick", [False, True])
def test_openclip(tmp_path, narrow, prefix, quick):
    state = oracle.state(oracle.OPEN_CLIP, depth=12, patch_bias=False)
    text = {"transformer.resblocks.0.ln_1.weight": torch.ones(8), "token_embedding.weight": torch.ones(9, 8)}
    file = {**state, **text, "visual.proj": torch.ones(32, 16), "logit_scale": torch.tensor(1.0)}
    torch.save({"state_dict": prefixed(prefix, file)}, tmp_path / "x.pt")
    arch = f"vit_base_patch16_clip_{'quickgelu_' if quick else ''}224"
    model = load(f"{arch}@{tmp_path / 'x.pt'}", image_size=32)
    assert model.match.layout == "OpenCLIP" and model.match.share_of_tensors == 1
    assert f"has the same tensors and {'GELU' if quick else 'QuickGELU'}" in model.match.summary()
    act = oracle.quick_gelu if quick else torch.nn.functional.gelu
    expected = oracle.features(state, oracle.OPEN_CLIP, images(32), eps=1e-5, act=act)
    with torch.no_grad():
        assert_same(model.network(images(32)), expected)
    larger = load(f"{arch}@{tmp_path / 'x.pt'}", image_size=48)
    assert "pos_embed resampled from 5x32 to 1x10x32" in larger.match.summary()
    with pytest.raises(FeaturespaceError, match="holds more than vit_base_patch16_224.*ln_pre.weight"):
        load(f"vit_base_patch16_224@{tmp_path / 'x.pt'}", image_size=32)


def test_vissl_regnet(tmp_path):
    """RegNet as VISSL names it, by timm's own names turned back."""
    network = lively(timm.create_model("regnety_004", num_classes=0))
    back = [("stem.conv.", "conv1.stem.0."), ("stem.bn.", "conv1.stem.1."), (".downsample.conv.", ".proj."),
            (".downsample.bn.", ".bn."), (".conv1.conv.", ".f.a.0."), (".conv1.bn.", ".f.a.1."), (".conv2.conv.", ".f.b.0."),
            (".conv2.bn.", ".f.b.1."), (".conv3.conv.", ".f.c."), (".conv3.bn.", ".f.final_bn."),
            (".se.fc1.", ".f.se.excitation.0."), (".se.fc2.", ".f.se.excitation.2.")]  # fmt: skip
    state = network.state_dict()
    for new, old in back:
        state = renamed(state, new, old)
    for stage in range(1, 5):
        for block in range(1, 10):
            state = renamed(state, f"s{stage}.b{block}.", f"res{stage + 1}.block{stage}-{block - 1}.")
    trunk = prefixed("_feature_blocks.", state)
    torch.save({"classy_state_dict": {"base_model": {"model": {"trunk": trunk, "heads": {}}}}}, tmp_path / "x.torch")
    model = load(f"regnety_004@{tmp_path / 'x.torch'}")
    assert model.match.layout == "VISSL RegNet"
    with torch.no_grad():
        assert_same(model.network(images(32)), network(images(32)))
