"""U-Nets over a loaded backbone, and the way back from a U-Net to the backbone's own names."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from featurespace.errors import FeaturespaceError, needs_extra
from featurespace.models.load import Model
from featurespace.models.networks import set_norm_eps
from featurespace.seeding import child_seed

ENCODER = "encoder.model."


def build_unet(model: Model, classes: int, *, seed: int = 0) -> nn.Module:
    """Return a U-Net whose encoder has the weights of a loaded model; its decoder's weights depend on ``seed``.

    Raises
    ------
    FeaturespaceError
        if segmentation-models-pytorch is not installed, the network is not timm's, or it has no pyramid of feature maps
        (a plain vision transformer)
    """
    try:
        from segmentation_models_pytorch import Unet
    except ImportError as error:
        raise needs_extra("segmentation", "segmentation-models-pytorch", "train") from error
    if "/" in model.arch:
        raise FeaturespaceError(
            f"{model.arch} is no network of timm, over which U-Nets are built; name timm's of that kind"
        )
    odd = [name for name in model.options if name not in ("in_chans", "norm_eps", "img_size")]
    if odd:
        raise FeaturespaceError(
            f"{model.spec} is {model.arch} built with {odd[0]}={model.options[odd[0]]!r}, of which no U-Net can be built; name "
            "the timm network that has it by itself (tf_..., ..._quickgelu_...)"
        )
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(child_seed(seed, "decoder", model.arch))
            network = Unet(
                f"tu-{model.arch}", encoder_weights=None, in_channels=model.preprocessing.input_size[0], classes=classes
            )
    except (ValueError, AttributeError, RuntimeError, KeyError, IndexError) as error:
        raise FeaturespaceError(
            f"{model.arch} cannot be the encoder of a U-Net ({error}): it has no pyramid of feature maps, as plain vision "
            "transformers have none; take a convolutional network or a transformer with stages (swin)"
        ) from error
    weights = model.network.state_dict()
    encoder = network.encoder.model
    set_norm_eps(encoder, model.options.get("norm_eps") or {})
    encoder.load_state_dict({name: weights[plain_name(name, weights)] for name in encoder.state_dict()})
    return network


def plain_name(name: str, weights: Mapping[str, Tensor]) -> str:
    """Return the backbone's name of a tensor of the encoder, in which a list of stages is flattened to ``stages_0``."""
    return name if name in weights else re.sub(r"^([a-z]+)_(\d+)", r"\1.\2", name)


def unet_state(network: nn.Module, model: Model) -> dict[str, Tensor]:
    """Return the weights of a U-Net with the encoder's under the backbone's names, so that it loads as the backbone.

    What of the backbone the U-Net does not use (a last norm, say) is as it was at the start.
    """
    before = model.network.state_dict()
    state = dict(before)
    for name, value in network.state_dict().items():
        inner = name.removeprefix(ENCODER)
        state[plain_name(inner, before) if inner != name else name] = value
    return state
