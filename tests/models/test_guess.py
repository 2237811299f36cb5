"""The architecture of a file, from the names and shapes of its tensors."""

import pytest
import timm
import torch
import torchvision

from featurespace.models.guess import fitting_architectures, suggestion


def timm_state(arch, **options):
    with torch.device("meta"):
        return timm.create_model(arch, **options).state_dict()


@pytest.mark.parametrize(
    "arch",
    ["resnet50", "resnext50_32x4d", "seresnet18", "vit_base_patch16_224", "vit_small_patch14_dinov2",
     "swin_tiny_patch4_window7_224", "convnext_tiny", "regnety_002", "mobilenetv3_small_100", "xcit_tiny_12_p16_224"],
)  # fmt: skip
def test_an_architecture_of_timm_is_found_by_name_and_shape(arch):
    (best, *_) = fitting_architectures(timm_state(arch, num_classes=7))
    assert (best.arch, best.method, best.sureness) == (arch, "names", "certainly")


@pytest.mark.parametrize(
    ("name", "arch"),
    [("resnet18", "resnet18"), ("vit_b_16", "vit_base_patch16_224"), ("swin_t", "swin_tiny_patch4_window7_224"),
     ("convnext_tiny", "convnext_tiny"), ("mobilenet_v3_large", "mobilenetv3_large_100"), ("regnet_y_400mf", "regnety_004")],
)  # fmt: skip
def test_names_of_torchvision_are_known(name, arch):
    state = torchvision.models.get_model(name, weights=None).state_dict()
    best = fitting_architectures({f"module.{key}": value for key, value in state.items()})[0]
    assert best.arch == arch and best.share > 0.95


def test_momentum_copies_and_queues_do_not_mislead():
    state = timm_state("resnet50", num_classes=0)
    tensors = {f"module.encoder_{which}.{name}": value for which in "qk" for name, value in state.items()}
    tensors["module.queue"] = torch.empty(128, 65536, device="meta")
    tensors["module.encoder_q.fc.0.weight"] = torch.empty(2048, 2048, device="meta")
    best = fitting_architectures(tensors)[0]
    assert best.arch == "resnet50" and best.share == 1
    assert str(best) == "certainly resnet50: 100.0% of the tensors fit by name and shape (names)"


def test_what_tensors_cannot_tell_apart_is_named_together():
    guesses = fitting_architectures(timm_state("tf_efficientnet_b0"))
    assert {guess.arch for guess in guesses if guess.share == 1} == {"efficientnet_b0", "tf_efficientnet_b0"}


@pytest.mark.slow
def test_a_variant_is_no_certainty():
    tensors = timm_state("resnet50", num_classes=0)
    changed = {name: value for name, value in tensors.items() if not name.startswith("layer4.2")}
    best = fitting_architectures(changed)[0]
    assert best.sureness == "perhaps a variant of" and best.share < 0.95


def test_names_that_tell_nothing_are_guessed_by_shapes():
    tensors = {f"x{index}": value for index, value in enumerate(timm_state("resnet34").values())}
    best = fitting_architectures(tensors)[0]
    assert (best.arch, best.method) == ("resnet34", "shapes") and "by shapes alone" in str(best)
    assert "looks like resnet34" in suggestion(tensors, "resnet18")
