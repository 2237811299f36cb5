"""Folders as Hugging Face's transformers writes them: against functions of their tensors, and transformers where installed."""

import json
import re

import pytest
import timm
import torch
import torchvision
from models.laid_out import assert_same, images, lively, load
from oracles import layouts as oracle
from safetensors.torch import save_file

from featurespace.errors import FeaturespaceError

TRANSFORMER = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
               "image_size": 32, "patch_size": 16, "hidden_act": "gelu"}  # fmt: skip
DINO = {
    **TRANSFORMER,
    "intermediate_size": None,
    "mlp_ratio": 2,
    "image_size": 28,
    "patch_size": 14,
    "layer_norm_eps": 1e-6,
}


def write(folder, state, config=None, name="model.safetensors"):
    save_file({key: value.contiguous() for key, value in state.items()}, folder / name)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


def prefixed(prefix, state):
    return {prefix + key: value for key, value in state.items()}


@pytest.mark.parametrize("prefix", ["", "vit."])
@pytest.mark.parametrize("eps", [1e-12, 1e-3])
def test_vit_with_the_epsilon_of_its_config(tmp_path, prefix, eps):
    state = oracle.state(oracle.HF_VIT)
    extra = {"classifier.weight": torch.ones(2, 32), "classifier.bias": torch.ones(2)} if prefix else {}
    config = {**TRANSFORMER, "model_type": "vit", "layer_norm_eps": eps}
    write(tmp_path, {**prefixed(prefix, state), **extra}, config)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.1] * 3, "image_std": [0.2] * 3}))
    model = load(f"local-dir:{tmp_path}")
    assert model.match.layout == "Hugging Face ViT" and model.match.share_of_tensors == 1
    assert f"built with epsilon {eps:g}" in model.match.summary()
    assert "blocks.0.attn.qkv.weight" in {entry.target for entry in model.match.matched}
    assert any("{query,key,value}" in entry.source for entry in model.match.matched)
    assert model.preprocessing.input_size == (3, 32, 32) and model.preprocessing.mean == (0.1, 0.1, 0.1)
    assert len(model.head) == len(extra)
    with torch.no_grad():
        assert_same(model.network(images(32)), oracle.features(state, oracle.HF_VIT, images(32), eps=eps))


@pytest.mark.parametrize("registers", [0, 4])
def test_dinov2(tmp_path, registers):
    state = oracle.state(oracle.HF_DINOV2, patch=14, side=28, registers=registers)
    config = {**DINO, "model_type": "dinov2_with_registers" if registers else "dinov2"}
    write(tmp_path, {**state, "embeddings.mask_token": torch.ones(1, 32)}, config)
    model = load(f"local-dir:{tmp_path}")
    assert model.match.layout == "Hugging Face DINOv2" and model.match.share_of_tensors == 1
    with torch.no_grad():
        assert_same(model.network(images(28)), oracle.features(state, oracle.HF_DINOV2, images(28)))
    larger = load(f"local-dir:{tmp_path}", image_size=56)
    assert "pos_embed resampled from" in larger.match.summary()
    assert larger.network(images(56)).shape == (2, 32)


@pytest.mark.parametrize("action", ["quick_gelu", "gelu"])
@pytest.mark.parametrize("nested", [False, True])
def test_clip_with_the_activation_of_its_config(tmp_path, action, nested):
    state = oracle.state(oracle.HF_CLIP, patch_bias=False)
    vision = {**TRANSFORMER, "hidden_act": action, "layer_norm_eps": 1e-5}
    config = (
        {"model_type": "clip", "vision_config": vision} if nested else {**vision, "model_type": "clip_vision_model"}
    )
    text = {"text_model.embeddings.token_embedding.weight": torch.ones(9, 8)} if nested else {}
    write(tmp_path, {**state, **text}, config)
    model = load(f"local-dir:{tmp_path}")
    assert model.match.layout == "Hugging Face CLIP" and f"activation {action}" in model.match.summary()
    act = {"gelu": torch.nn.functional.gelu, "quick_gelu": oracle.quick_gelu}[action]
    with torch.no_grad():
        assert_same(model.network(images(32)), oracle.features(state, oracle.HF_CLIP, images(32), eps=1e-5, act=act))


def test_a_file_alone_takes_the_family_s_epsilon_and_one_beside_its_config_that_one(tmp_path, monkeypatch):
    create = timm.create_model
    small = {"embed_dim": 32, "depth": 2, "num_heads": 2, "mlp_ratio": 2, "img_size": 32}
    monkeypatch.setattr(timm, "create_model", lambda name, **options: create(name, **{**small, **options}))
    state = oracle.state(oracle.HF_VIT)
    write(tmp_path, prefixed("model.vit.", state), name="weights.safetensors")
    for text, eps in ((tmp_path / "weights.safetensors", 1e-12), (tmp_path / "model.safetensors", 0.1)):
        model = load(f"vit_base_patch16_224@{text}", image_size=32)
        with torch.no_grad():
            assert_same(model.network(images(32)), oracle.features(state, oracle.HF_VIT, images(32), eps=eps))
        write(tmp_path, state, {**TRANSFORMER, "model_type": "vit", "layer_norm_eps": 0.1})


def hf_resnet(name):
    name = re.sub(r"^conv1\.", "resnet.embedder.embedder.convolution.", name)
    name = re.sub(r"^bn1\.", "resnet.embedder.embedder.normalization.", name)
    name = re.sub(r"^layer(\d)\.(\d+)\.", lambda m: f"resnet.encoder.stages.{int(m[1]) - 1}.layers.{m[2]}.", name)
    name = name.replace("downsample.0.", "shortcut.convolution.").replace("downsample.1.", "shortcut.normalization.")
    name = re.sub(r"\.conv(\d)\.", lambda m: f".layer.{int(m[1]) - 1}.convolution.", name)
    name = re.sub(r"\.bn(\d)\.", lambda m: f".layer.{int(m[1]) - 1}.normalization.", name)
    return name.replace("fc.", "classifier.1.")


@pytest.mark.parametrize("name", ["resnet18", pytest.param("resnet50", marks=pytest.mark.slow)])
def test_resnet(tmp_path, name):
    """The arithmetic is torchvision's; the names are turned into transformers'."""
    network = lively(torchvision.models.get_model(name, weights=None))
    config = {"model_type": "resnet", "depths": [2, 2, 2, 2] if name == "resnet18" else [3, 4, 6, 3],
              "layer_type": "basic" if name == "resnet18" else "bottleneck", "hidden_act": "relu"}  # fmt: skip
    write(tmp_path, {hf_resnet(key): value for key, value in network.state_dict().items()}, config)
    model = load(f"local-dir:{tmp_path}")
    network.fc = torch.nn.Identity()
    assert (model.arch, model.match.layout) == (name, "Hugging Face ResNet")
    with torch.no_grad():
        assert_same(model.network(images(32)), network(images(32)))
    (tmp_path / "config.json").write_text(json.dumps({**config, "downsample_in_bottleneck": True}))
    with pytest.raises(
        FeaturespaceError, match="describes a ResNet that timm has not.*stride in the first convolution"
    ):
        load(f"local-dir:{tmp_path}")


def hf_convnext(name):
    name = name.replace("classifier.0.", "convnext.layernorm.").replace("classifier.2.", "classifier.")
    name = re.sub(r"^features\.0\.0\.", "convnext.embeddings.patch_embeddings.", name)
    name = re.sub(r"^features\.0\.1\.", "convnext.embeddings.layernorm.", name)
    found = re.match(r"features\.(\d)\.(\d+)\.(.*)", name)
    if not found:
        return name
    stage, place = divmod(int(found[1]) - 1, 2)
    if place:
        return f"convnext.encoder.stages.{stage + 1}.downsampling_layer.{found[2]}.{found[3]}"
    inner = {"block.0.": "dwconv.", "block.2.": "layernorm.", "block.3.": "pwconv1.", "block.5.": "pwconv2."}
    rest = found[3].replace("layer_scale", "layer_scale_parameter")
    for old, new in inner.items():
        rest = rest.replace(old, new)
    return f"convnext.encoder.stages.{stage}.layers.{found[2]}.{rest}"


def test_convnext(tmp_path):
    setting = torchvision.models.convnext.CNBlockConfig
    blocks = [setting(8, 16, 1), setting(16, 24, 1), setting(24, 32, 2), setting(32, None, 1)]
    network = lively(torchvision.models.ConvNeXt(blocks))
    for value in (v for n, v in network.state_dict().items() if n.endswith("layer_scale")):
        value.normal_(0, 0.5, generator=torch.Generator().manual_seed(1))
    state = {hf_convnext(key): value for key, value in network.state_dict().items()}
    state = {k: v.flatten() if k.endswith("layer_scale_parameter") else v for k, v in state.items()}
    config = {"model_type": "convnext", "depths": [1, 1, 2, 1], "hidden_sizes": [8, 16, 24, 32], "layer_norm_eps": 0.1}
    model = load(f"local-dir:{write(tmp_path, state, config)}")
    network.classifier[2] = torch.nn.Identity()
    network.classifier[0].eps = 0.1  # the last norm alone follows the config
    assert model.match.layout == "Hugging Face ConvNeXt" and model.match.share_of_tensors == 1
    with torch.no_grad():
        assert_same(model.network(images(32)), network(images(32)))


def hf_swin(state):
    """From torchvision's names, with query, key and value taken apart."""
    renamed = {}
    for name, value in state.items():
        name = re.sub(r"^features\.0\.0\.", "swin.embeddings.patch_embeddings.projection.", name)
        name = re.sub(r"^features\.0\.2\.", "swin.embeddings.norm.", name)
        name = re.sub(r"^norm\.", "swin.layernorm.", name).replace("head.", "classifier.")
        if found := re.match(r"features\.(\d)\.(reduction|norm)\.(.*)", name):
            name = f"swin.encoder.layers.{int(found[1]) // 2 - 1}.downsample.{found[2]}.{found[3]}"
        elif found := re.match(r"features\.(\d)\.(\d+)\.(.*)", name):
            name = f"swin.encoder.layers.{int(found[1]) // 2}.blocks.{found[2]}.{found[3]}"
        for old, new in (("norm1", "layernorm_before"), ("norm2", "layernorm_after"), ("mlp.0", "intermediate.dense"),
                         ("mlp.3", "output.dense"), ("attn.proj", "attention.output.dense"),
                         ("attn.relative", "attention.self.relative")):  # fmt: skip
            name = name.replace(old, new)
        if ".attn.qkv." in name:
            for part, piece in zip(("query", "key", "value"), value.chunk(3)):
                renamed[name.replace("attn.qkv", f"attention.self.{part}")] = piece
        else:
            renamed[name] = value
    return renamed


def test_swin(tmp_path):
    network = lively(torchvision.models.SwinTransformer([4, 4], 8, [1, 1, 2, 1], [1, 1, 2, 2], [2, 2]))
    config = {"model_type": "swin", "embed_dim": 8, "depths": [1, 1, 2, 1], "num_heads": [1, 1, 2, 2], "window_size": 2,
              "image_size": 64, "patch_size": 4, "mlp_ratio": 4.0, "layer_norm_eps": 1e-5, "hidden_act": "gelu"}  # fmt: skip
    model = load(f"local-dir:{write(tmp_path, hf_swin(network.state_dict()), config)}")
    network.head = torch.nn.Identity()
    assert model.match.layout == "Hugging Face Swin" and model.match.share_of_tensors == 1
    with torch.no_grad():
        assert_same(model.network(images(64)), network(images(64)))


@pytest.mark.parametrize(
    ("config", "arch"),
    [
        ({"model_type": "vit", "hidden_size": 768, "num_hidden_layers": 12, "patch_size": 16, "image_size": 224},
         "vit_base_patch16_224"),
        ({"model_type": "vit_mae", "hidden_size": 1024, "num_hidden_layers": 24, "patch_size": 16, "image_size": 224},
         "vit_large_patch16_224"),
        ({"model_type": "deit", "hidden_size": 192, "num_hidden_layers": 12, "patch_size": 16, "image_size": 224},
         "deit_tiny_distilled_patch16_224"),
        ({"model_type": "dinov2", "hidden_size": 384, "num_hidden_layers": 12, "patch_size": 14, "image_size": 518},
         "vit_small_patch14_dinov2"),
        ({"model_type": "dinov2_with_registers", "hidden_size": 1536, "num_hidden_layers": 40, "patch_size": 14,
          "image_size": 518, "use_swiglu_ffn": True}, "vit_giant_patch14_reg4_dinov2"),
        ({"model_type": "clip_vision_model", "hidden_size": 1024, "num_hidden_layers": 24, "patch_size": 14,
          "image_size": 336}, "vit_large_patch14_clip_336"),
        ({"model_type": "convnext", "depths": [3, 3, 27, 3], "hidden_sizes": [128, 256, 512, 1024]}, "convnext_base"),
        ({"model_type": "swin", "depths": [2, 2, 18, 2], "embed_dim": 128, "window_size": 12, "image_size": 384,
          "patch_size": 4}, "swin_base_patch4_window12_384"),
    ],
)  # fmt: skip
def test_configs_of_published_networks_name_timm_s(config, arch):
    from featurespace.models.layouts.configs import architecture

    name, options = architecture(config, "config.json")
    assert name == arch and options.keys() <= {"img_size"}


def test_an_incomplete_config_is_said(tmp_path):
    write(tmp_path, {"a": torch.ones(2)}, {"model_type": "vit"})
    with pytest.raises(FeaturespaceError, match="config.json is incomplete .KeyError: 'hidden_size'.; write ARCH@FILE"):
        load(f"local-dir:{tmp_path}")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(FeaturespaceError, match="names no 'architecture'.*no 'model_type' known here"):
        load(f"local-dir:{tmp_path}")


def test_what_transformers_itself_writes(tmp_path):
    """The oracle's names and arithmetic are those of the library."""
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(**TRANSFORMER)
    network = lively(transformers.ViTModel(config, add_pooling_layer=False))
    network.save_pretrained(tmp_path)
    model = load(f"local-dir:{tmp_path}")
    with torch.no_grad():
        expected = network(images(32)).last_hidden_state[:, 0]
        assert_same(model.network(images(32)), expected)
        from featurespace.models import read_tensors

        state = read_tensors(tmp_path / "model.safetensors").tensors
        assert_same(oracle.features(state, oracle.HF_VIT, images(32), eps=1e-12), expected)
