"""A network with a classifier of the wanted size on a loaded backbone, for training."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from types import MethodType

import torch
from torch import Tensor, nn

from featurespace.errors import FeaturespaceError
from featurespace.models.load import ImageSize, Model, load_model
from featurespace.models.networks import create_network, torchvision_classifier
from featurespace.models.report import shape_text
from featurespace.models.specs import ModelSpec
from featurespace.seeding import child_seed


@dataclass(frozen=True)
class Classifier:
    """A network with a classifier, the model its backbone came from, and whether its classifier did too."""

    network: nn.Module
    model: Model
    kept_head: bool


def build_classifier(
    source: ModelSpec | Model,
    num_classes: int,
    *,
    keep_head: bool = False,
    seed: int = 0,
    image_size: ImageSize = None,
) -> Classifier:
    """Put a classifier of ``num_classes`` on a backbone; the given Model is not changed.

    Parameters
    ----------
    source : a spec (loaded here) or a loaded Model
    num_classes : size of the classifier
    keep_head : take the checkpoint's own classifier; an error if it has none of this size. Never automatic,
        because a classifier of the same size may have been trained for other classes
    seed : for the new classifier's weights
    image_size : passed to ``load_model``
    """
    if num_classes < 1:
        raise FeaturespaceError(f"num_classes is {num_classes}; a classifier needs at least 1")
    model = load_model(source, seed=seed, image_size=image_size) if isinstance(source, ModelSpec) else source
    network = _with_classifier(model, num_classes, seed)
    if keep_head:
        _copy_head(model, network, num_classes)
    return Classifier(network, model, keep_head)


def _with_classifier(model: Model, num_classes: int, seed: int) -> nn.Module:
    network = copy.deepcopy(model.network)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(child_seed(seed, "classifier", model.arch))
        if isinstance(reset := getattr(network, "reset_classifier", None), MethodType):
            reset(num_classes)
            return network
        # torchvision: the place and the width of the classifier are only known from a fresh network.
        name = torchvision_classifier(fresh := create_network(model.arch))
        old = fresh.get_submodule(name)
        parent, _, last = name.rpartition(".")
        setattr(network.get_submodule(parent), last, _like(old, num_classes))
    return network


def _like(old: nn.Module, num_classes: int) -> nn.Module:
    if isinstance(old, nn.Linear):
        return nn.Linear(old.in_features, num_classes)
    assert isinstance(old, nn.Conv2d)  # torchvision_classifier returns no other kind
    return nn.Conv2d(old.in_channels, num_classes, kernel_size=1)


def _copy_head(model: Model, network: nn.Module, num_classes: int) -> None:
    backbone = model.network.state_dict().keys()
    wanted = {name: value for name, value in network.state_dict().items() if name not in backbone}
    state = {}
    for name, value in wanted.items():
        kind = name.rpartition(".")[2]
        same_name = [v for n, v in model.head.items() if n == name]
        same_kind = [v for n, v in model.head.items() if n.rpartition(".")[2] == kind]
        fitting = [v for v in same_name or same_kind if _squeezed(v) == _squeezed(value)]
        if len(fitting) != 1:
            held = ", ".join(f"{n} {shape_text(tuple(v.shape))}" for n, v in model.head.items()) or "none"
            raise FeaturespaceError(
                f"the classifier of {model.spec!r} cannot be kept for {num_classes} classes: {name} needs "
                f"{shape_text(tuple(value.shape))} and the checkpoint's classifier holds {held}; leave keep_head "
                "off to start with a new one"
            )
        state[name] = fitting[0].reshape(value.shape)
    network.load_state_dict(state, strict=False)


def _squeezed(value: Tensor) -> list[int]:
    return [length for length in value.shape if length != 1]
