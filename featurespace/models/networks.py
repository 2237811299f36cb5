"""Networks of timm and torchvision by name, without weights or with the library's own, and what they expect."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from featurespace import memory
from featurespace.errors import FeaturespaceError, unknown
from featurespace.models.smp_networks import SMP, DecoderFeatures, create_smp
from featurespace.seeding import child_seed

TORCHVISION = "torchvision/"
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


@dataclass(frozen=True)
class Preprocessing:
    """What a network expects: input size (channels, height, width), normalisation and interpolation."""

    input_size: tuple[int, int, int] = (3, 224, 224)
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: str = "bicubic"

    def to_dict(self) -> dict[str, Any]:
        """Return the values with lists for tuples, as JSON has them."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], base: Preprocessing | None = None) -> Preprocessing:
        """Take the known entries of a timm ``pretrained_cfg`` or a manifest; the rest comes from ``base``."""
        known: dict[str, Any] = {
            key: tuple(values[key]) for key in ("input_size", "mean", "std") if values.get(key) is not None
        }
        if values.get("interpolation"):
            known["interpolation"] = str(values["interpolation"])
        return replace(base or cls(), **known)


def create_network(
    arch: str,
    *,
    pretrained: bool = False,
    seed: int = 0,
    image_size: int | tuple[int, int] | None = None,
    **options: Any,
) -> nn.Module:
    """Return a network with its classifier; random weights depend on ``seed`` and ``arch`` only.

    torch's global random state is left as it was. ``options`` go to timm (``num_classes``, say), but for
    ``norm_eps``: {path of a part: epsilon of the norms in it}, "" for the whole network.
    """
    eps = options.pop("norm_eps", None) or {}
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(child_seed(seed, "weights", arch))
            if arch.startswith(TORCHVISION):
                network = _create_torchvision(arch, pretrained, image_size, options)
            elif arch.startswith(SMP):
                if pretrained:
                    raise FeaturespaceError(f"{arch} has no weights of its own; write {arch}@FILE, or {arch}@random")
                network = create_smp(arch, options)
            else:
                network = _create_timm(arch, pretrained, image_size, options)
    except FeaturespaceError:
        raise
    except Exception as error:  # whatever the library raises; the message carries its type and text
        memory.pass_on(error, f"building {arch}")
        raise _creation_failed(arch, pretrained, image_size, error) from error
    set_norm_eps(network, eps)
    return network.eval()


def set_norm_eps(network: nn.Module, eps: Mapping[str, float]) -> None:
    """Set the epsilon of all norms in the named parts; "" is the whole network."""
    for name, module in network.named_modules():
        for part, value in eps.items():
            if isinstance(module, _NORMS) and (not part or f"{name}.".startswith(f"{part}.")):
                module.eps = value


def first_convolution(network: nn.Module) -> str | None:
    """Return the path of the convolution that sees the image."""
    declared = getattr(network, "pretrained_cfg", {}).get("first_conv")
    if isinstance(declared, str):
        return declared
    return next((name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)), None)


def resize(network: nn.Module, image_size: int | tuple[int, int]) -> None:
    """Set a built network to another image size; timm resamples its position embeddings."""
    if isinstance(set_size := getattr(network, "set_input_size", None), MethodType):
        set_size(img_size=_pair(image_size))


def remove_classifier(network: nn.Module) -> dict[str, Tensor]:
    """Take the classifier off, so that the network returns pooled features; return its tensors by name."""
    before = {name: value.detach().clone() for name, value in network.state_dict().items()}
    if isinstance(reset := getattr(network, "reset_classifier", None), MethodType):
        reset(0)
    elif not isinstance(network, DecoderFeatures):  # that is built without one
        name = torchvision_classifier(network)
        parent, _, last = name.rpartition(".")
        setattr(network.get_submodule(parent), last, nn.Identity())
    after = network.state_dict()
    return {name: value for name, value in before.items() if name not in after}


def torchvision_classifier(network: nn.Module) -> str:
    """Return the path of the last linear layer (or convolution) of a torchvision network's head."""
    if isinstance(network, DecoderFeatures):
        raise FeaturespaceError(
            "a segmentation network takes no classifier; name the network of its encoder (resnet18@FILE), or finetune for "
            "segmentation"
        )
    for head in ("fc", "classifier", "heads", "head"):
        if hasattr(network, head):
            found = [n for n, m in network.get_submodule(head).named_modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
            if found:
                return f"{head}.{found[-1]}" if found[-1] else head
    raise FeaturespaceError(
        f"{type(network).__name__} of torchvision has no classifier known here (fc, classifier, heads, head); "
        "name the timm network of that architecture instead"
    )


def head_prefixes(network: nn.Module) -> tuple[str, ...]:
    """Return the module paths of a network's classifier, e.g. ``("fc",)``."""
    if isinstance(network, DecoderFeatures):
        return ("segmentation_head", "classification_head")
    declared = getattr(network, "pretrained_cfg", {}).get("classifier") or ()
    return (declared,) if isinstance(declared, str) else tuple(declared)


def preprocessing_of(network: nn.Module, arch: str, image_size: int | tuple[int, int] | None) -> Preprocessing:
    """Return what the network's own weights were trained with, at ``image_size`` if given.

    A network with another number of input channels takes the average of the three means and deviations for each.
    """
    if arch.startswith(TORCHVISION):
        result = _torchvision_preprocessing(arch.removeprefix(TORCHVISION))
    else:
        result = Preprocessing.from_mapping(getattr(network, "pretrained_cfg", {}))
    first = first_convolution(network)
    convolution = dict(network.named_modules()).get(first or "")
    # Not where pixels are rearranged before it, as focus and space-to-depth stems do.
    known = getattr(network, "in_chans", None) or getattr(convolution, "in_channels", None)
    channels = known if known in (1, 2, 3, 4) else result.input_size[0]
    result = replace(result, input_size=(channels, *result.input_size[1:]))
    if len(result.mean) != channels:
        mean, std = sum(result.mean) / len(result.mean), sum(result.std) / len(result.std)
        result = replace(result, mean=(mean,) * channels, std=(std,) * channels)
    if image_size is not None:
        height, width = _pair(image_size)
        result = replace(result, input_size=(result.input_size[0], height, width))
    return result


def checkpoint_filter(network: nn.Module) -> Callable[[dict[str, Tensor]], dict[str, Tensor]] | None:
    """Return timm's own conversion of foreign checkpoints for this family, which also resizes embeddings."""
    module = sys.modules.get(type(network).__module__)
    if module is None or not module.__name__.startswith("timm."):
        return None
    convert = getattr(module, "checkpoint_filter_fn", None) or getattr(module, "_filter_fn", None)
    if convert is None:
        return None
    takes_network = len(inspect.signature(convert).parameters) > 1  # some families need the tensors only
    return lambda tensors: dict(convert(tensors, network) if takes_network else convert(tensors))


def _create_timm(arch: str, pretrained: bool, image_size: Any, options: dict[str, Any]) -> nn.Module:
    import timm

    is_hub = arch.startswith("hf-hub:")
    if not is_hub:
        check_arch(arch)
    if image_size is not None and not is_hub and _has_fixed_size(arch):
        options = {**options, "img_size": _pair(image_size)}
    return timm.create_model(arch, pretrained=pretrained, **options)


def check_arch(arch: str) -> None:
    """Raise for an architecture that timm, or torchvision, does not know."""
    if arch.startswith(TORCHVISION):
        import torchvision

        names = torchvision.models.list_models(module=torchvision.models)
        if arch.removeprefix(TORCHVISION) not in names:
            raise unknown("architecture", arch, [TORCHVISION + name for name in names])
        return
    if arch.startswith(SMP):
        return  # known once it is built
    import timm

    if not timm.is_model(arch.split(".")[0]):
        hint = "`timm.list_models()` has them all; a file is written ARCH@FILE."
        raise unknown("architecture", arch, timm.list_models(), where="timm", hint=hint)
    tags = timm.models.list_pretrained(arch.split(".")[0] + ".*")
    if "." in arch and arch not in tags:
        raise unknown("weights tag", arch, tags or [arch.split(".")[0]], where="timm")


def _has_fixed_size(arch: str) -> bool:
    import timm

    config = timm.models.get_pretrained_cfg(arch)
    return bool(config is not None and config.fixed_input_size)


def _create_torchvision(arch: str, pretrained: bool, image_size: Any, options: dict[str, Any]) -> nn.Module:
    import torchvision

    check_arch(arch)
    name = arch.removeprefix(TORCHVISION)
    if image_size is not None and name.startswith("vit_"):
        options = {**options, "image_size": _pair(image_size)[0]}
    if name in ("googlenet", "inception_v3"):
        options = {"init_weights": True, **options} if not pretrained else options
    channels = options.pop("in_chans", 3)
    network = torchvision.models.get_model(name, weights="DEFAULT" if pretrained else None, **options)
    if channels != 3:
        _replace_first_convolution(network, channels)
    return network


def _replace_first_convolution(network: nn.Module, channels: int) -> None:
    """Let a torchvision network, which has no option for it, take another number of channels."""
    name = first_convolution(network) or ""
    old: Any = network.get_submodule(name)
    new = nn.Conv2d(
        channels,
        old.out_channels,
        old.kernel_size,
        old.stride,
        old.padding,
        old.dilation,
        old.groups,
        old.bias is not None,
    )
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, new)


def _torchvision_preprocessing(name: str) -> Preprocessing:
    import torchvision

    transforms = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    size = transforms.crop_size[0]
    interpolation = transforms.interpolation.value
    return Preprocessing((3, size, size), tuple(transforms.mean), tuple(transforms.std), interpolation)


def _creation_failed(arch: str, pretrained: bool, image_size: Any, error: Exception) -> FeaturespaceError:
    text = (str(error).strip().splitlines() or [""])[0][:200]
    reason = f"{type(error).__name__}: {text}"
    if pretrained:
        name = arch.removeprefix("hf-hub:")
        return FeaturespaceError(
            f"the weights of {arch} could not be fetched ({reason}); without internet, download the file on "
            f"another machine and pass {name.split('/')[-1] if arch.startswith('hf-hub:') else arch}@FILE"
        )
    size = f" at image size {image_size}" if image_size is not None else ""
    return FeaturespaceError(f"{arch} cannot be built{size} ({reason}); `featurespace inspect {arch}` shows its size")


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
