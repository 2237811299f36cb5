import numpy as np
import pytest
import timm
import torch
from oracles.training import mae_loss
from safetensors.torch import load_file

from featurespace.errors import FeaturespaceError
from featurespace.models.load import load_model
from featurespace.models.specs import parse_model_spec
from featurespace.training import augment
from featurespace.training.batches import Batch
from featurespace.training.methods.mae import MAEOptions, Method, draw_masks
from featurespace.training.pretrain import pretrain
from featurespace.training.settings import PretrainConfig
from featurespace.yaml_files import checked

SMALL = {"decoder_width": 32, "decoder_depth": 2, "decoder_heads": 4}


def config(tmp_path, manifest, **changes):
    values = {"model": "test_vit", "method": "mae", "data": [f"x={manifest}"], "out": tmp_path / "out", "image_size": 160, "batch_size": 16,
              "epochs": 1, "device": "cpu", "loggers": (), "options": SMALL}  # fmt: skip
    return checked(PretrainConfig, {**values, **changes})


def method(arch="test_vit", size=160, **options):
    settings = PretrainConfig(model=arch, method="mae", data=("x=y",), out="out", device="cpu")
    model = load_model(parse_model_spec(arch, bare=True), image_size=size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Method(settings, model, 1, 0, MAEOptions(**SMALL | options))


def batch(n=4, size=182, own=slice(None)):
    pixels = torch.randint(0, 256, (n, 3, size, size), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    rows = np.arange(n)[own]
    return Batch(pixels[own], torch.zeros(len(rows)), rows, 0, n, slice(*own.indices(n)))


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("ratio", [0.75, 0.4])
def test_the_loss_is_the_papers(normalised, ratio):
    module = method(normalised=normalised, mask_ratio=ratio)
    loss = module.loss(batch(), np.random.default_rng(3))
    rng = np.random.default_rng(3)
    crops = augment.draw_crops(4, rng=rng, min_scale=0.2)
    kept, hidden = draw_masks(4, 100, ratio, rng=rng)
    images = module.normalised(augment.crop(batch().pixels.float() / 255, crops, 160))
    with torch.no_grad():
        told = module.told(images, torch.from_numpy(kept))
    assert loss.item() == pytest.approx(mae_loss(images.numpy(), told.numpy(), hidden, 16, normalised), rel=1e-5)


def test_masks_hide_the_share_asked_for_and_every_patch_alike():
    kept, hidden = draw_masks(4000, 16, 0.75, rng=np.random.default_rng(0))
    assert kept.shape == (4000, 4) and hidden.shape == (4000, 12)
    assert (np.sort(np.concatenate([kept, hidden], axis=1), axis=1) == np.arange(16)).all()
    shares = np.bincount(hidden.ravel(), minlength=16) / 4000
    assert abs(shares - 0.75).max() < 4 * np.sqrt(0.75 * 0.25 / 4000)


def test_what_is_hidden_has_no_say_and_what_is_kept_has():
    module = method().eval()
    kept, hidden = (torch.from_numpy(each) for each in draw_masks(1, 100, 0.75, rng=np.random.default_rng(0)))
    images = torch.rand(1, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    changed = {}
    for name, number in (("hidden", int(hidden[0, 0])), ("kept", int(kept[0, 0]))):
        changed[name] = images.clone()
        top, left = number // 10 * 16, number % 10 * 16
        changed[name][..., top : top + 16, left : left + 16] += 1
    with torch.no_grad():
        told = module.told(images, kept)
        assert torch.equal(module.told(changed["hidden"], kept), told)
        assert (module.told(changed["kept"], kept) - told).abs().max() > 1e-4


def test_two_halves_of_a_batch_see_what_the_whole_batch_sees():
    module = method()
    whole = module.loss(batch(), np.random.default_rng(3))
    halves = [module.loss(batch(own=own), np.random.default_rng(3)) for own in (slice(0, 2), slice(2, 4))]
    assert torch.stack(halves).mean().item() == pytest.approx(whole.item(), rel=1e-5)


@pytest.mark.parametrize(
    "arch", ["test_vit", "test_vit2", "vit_wee_patch16_reg1_gap_256", "vit_medium_patch16_gap_240"]
)
def test_the_encoder_is_the_plain_network_where_nothing_is_hidden(arch):
    size = int(arch[-3:]) if arch[-3:].isdigit() else 160
    module = method(arch, size).eval()
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(
            module.encoder.encode(images), module.backbone.forward_features(images), atol=1e-5, rtol=1e-5
        )


@pytest.mark.parametrize("arch", ["test_vit", "test_vit2"])
def test_every_weight_that_is_trained_has_a_gradient(arch):
    module = method(arch)
    module.loss(batch(), np.random.default_rng(0)).backward()
    assert not [name for name, each in module.named_parameters() if each.requires_grad and each.grad is None]
    fixed = [name for name, each in module.named_parameters() if not each.requires_grad]
    assert fixed == ["backbone.pos_embed", "encoder.mask_token", "decoder.pos_embed"]


def test_the_checkpoint_is_a_plain_timm_network(tmp_path, two_domains):
    file = pretrain(config(tmp_path, two_domains[0]))
    network = timm.create_model("test_vit", num_classes=0)
    network.load_state_dict(load_file(file), strict=True)
    model = load_model(parse_model_spec(str(file)))
    assert model.arch == "test_vit" and model.preprocessing.input_size == (3, 160, 160)
    images = torch.rand(2, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(model.network(images), network.eval()(images))


def sine_cosine(width, side):
    """The authors' position embeddings by loops: half of the numbers tell the column, half the row."""
    table = np.zeros((side * side, width))
    for row in range(side):
        for column in range(side):
            for half, place in enumerate((column, row)):
                for index in range(width // 4):
                    angle = place / 10000 ** (index / (width // 4))
                    start = half * width // 2 + index
                    table[row * side + column, [start, start + width // 4]] = np.sin(angle), np.cos(angle)
    return table


def test_random_networks_get_fixed_sines_and_loaded_ones_keep_what_they_learnt(tmp_path, two_domains):
    first = load_file(pretrain(config(tmp_path, two_domains[0])))["pos_embed"]
    np.testing.assert_allclose(first[0, 1:], sine_cosine(64, 10), atol=1e-6)
    assert not first[0, 0].any()
    other = timm.create_model("test_vit", num_classes=0)
    torch.save(other.state_dict(), tmp_path / "other.pth")
    settings = config(
        tmp_path, two_domains[0], out=tmp_path / "b", model=f"test_vit@{tmp_path / 'other.pth'}", learning_rate=1e-6
    )
    second = load_file(pretrain(settings))
    for name, value in other.state_dict().items():
        torch.testing.assert_close(second[name], value, atol=1e-4, rtol=1e-3)
    assert not torch.equal(second["pos_embed"], other.pos_embed)  # trained on


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"model": "resnet18", "image_size": 32}, r"method mae needs a plain vision transformer and resnet18 \(ResNet\) is none; name"),
     ({"model": "convnext_tiny", "image_size": 32}, r"convnext_tiny \(ConvNeXt\) is none; name a plain vision transformer of timm"),
     ({"model": "mobilenetv3_large_100", "image_size": 32}, r"mobilenetv3_large_100 \(MobileNetV3\) is none"),
     ({"model": "deit_tiny_distilled_patch16_224", "image_size": 224}, r"deit_tiny_distilled_patch16_224 \(VisionTransformerDistilled\) is none"),
     ({"model": "vit_tiny_r_s16_p8_224", "image_size": 224}, "vit_tiny_r_s16_p8_224 makes its tokens by a HybridEmbed, whose patches overlap; name"),
     ({"model": "test_vit3"}, "test_vit3 pools by attention, which no hidden patch would train; name"),
     ({"options": {"decoder_width": 36, "decoder_heads": 8}}, "decoder_width 36 is no multiple of decoder_heads 8; change one"),
     ({"options": {"mask_ratio": 0.999}}, "mask_ratio 0.999 keeps 0 of 100 patches; one at least must be kept"),
     ({"image_size": 100}, "image size 100 x 100 is no square of patches of 16 pixels; set image_size to a multiple of 16")],
)  # fmt: skip
def test_errors(tmp_path, two_domains, changes, message):
    with pytest.raises(FeaturespaceError, match=message):
        pretrain(config(tmp_path, two_domains[0], **changes))


def test_a_transformer_without_position_embeddings_is_refused():
    settings = PretrainConfig(model="test_vit", method="mae", data=("x=y",), out="out", device="cpu")
    model = load_model(parse_model_spec("test_vit", bare=True), image_size=160)
    model.network.pos_embed = None  # as with timm's pos_embed="none"
    with pytest.raises(FeaturespaceError, match="test_vit has no position embeddings that are added; name a plain"):
        Method(settings, model, 1, 0, MAEOptions(**SMALL))
