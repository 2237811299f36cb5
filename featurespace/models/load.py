"""From a parsed spec to a network that returns pooled features, with a hash of the weights it carries."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from featurespace.errors import FeaturespaceError
from featurespace.models.checkpoint import read_manifest, read_tensors
from featurespace.models.guess import suggestion
from featurespace.models.matching import Match, best_match, check, is_sufficient, match
from featurespace.models.networks import (
    Preprocessing,
    checkpoint_filter,
    create_network,
    head_prefixes,
    preprocessing_of,
    remove_classifier,
    resize,
)
from featurespace.models.report import MatchReport, TensorMatch
from featurespace.models.specs import ModelSpec

ImageSize = int | tuple[int, int] | None


@dataclass(frozen=True)
class Model:
    """A network in eval mode without its classifier, and where its weights came from.

    ``weights_hash`` covers names, shapes, dtypes and bytes of the whole backbone state. ``match`` is None for
    random weights and for those that timm or torchvision loaded themselves. ``head`` holds the checkpoint's
    classifier, if it had one; ``manifest`` what featurespace wrote beside the weights.
    """

    label: str
    spec: str
    arch: str
    network: nn.Module
    preprocessing: Preprocessing
    weights_hash: str
    source: str
    match: MatchReport | None = None
    head: Mapping[str, Tensor] = field(default_factory=dict)
    manifest: Mapping[str, Any] | None = None


def load_model(spec: ModelSpec, *, seed: int = 0, image_size: ImageSize = None) -> Model:
    """Build the network of a spec and load its weights.

    Parameters
    ----------
    spec : from ``parse_model_spec``
    seed : for random weights, and for the tensors (at most 5 %) that a checkpoint lacks
    image_size : side, or (height, width); transformers with a fixed size are built for it
    """
    if spec.source == "random":
        assert spec.arch is not None
        return _random(spec.label, spec.text, spec.arch, seed, image_size)
    if spec.source in ("pretrained", "hf-hub"):
        return _pretrained(spec, seed, image_size)
    if spec.source in ("file", "featurespace"):
        assert spec.path is not None and spec.arch is not None
        return _from_file(spec, spec.arch, spec.path, seed, image_size, {})
    if spec.source == "local-dir":
        assert spec.path is not None
        arch, weights, options = _read_local_dir(spec.path)
        return _from_file(spec, arch, weights, seed, image_size, options)
    raise FeaturespaceError(
        f"model {spec.text!r} is a table of features computed elsewhere, so it has no network to load; "
        "use it where features are read, not where images go through a network"
    )


def untrained_control(model: Model, *, seed: int) -> Model:
    """Return the same architecture at the same input size with random weights.

    Its BatchNorm statistics are at their initial values: estimate them on the data before extracting.
    """
    label = f"{model.arch.replace('/', '-')}-random"
    channels, *size = model.preprocessing.input_size
    options = {"in_chans": channels} if channels != 3 else {}
    control = _random(label, f"{model.arch}@random", model.arch, seed, (size[0], size[1]), **options)
    return replace(control, preprocessing=model.preprocessing)


def state_hash(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 over names, dtypes, shapes and bytes, in sorted order of the names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name}\x1f{value.dtype}\x1f{tuple(value.shape)}\x1e".encode())
        # Bytes through uint8, because numpy has no bfloat16.
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _random(label: str, text: str, arch: str, seed: int, image_size: ImageSize, **options: Any) -> Model:
    network = create_network(arch, seed=seed, image_size=image_size, **options)
    remove_classifier(network)
    preprocessing = preprocessing_of(network, arch, image_size)
    source = f"random weights, seed {seed}"
    return Model(label, text, arch, network.eval(), preprocessing, state_hash(network.state_dict()), source)


def _pretrained(spec: ModelSpec, seed: int, image_size: ImageSize) -> Model:
    assert spec.arch is not None
    name = f"hf-hub:{spec.arch}" if spec.source == "hf-hub" else spec.arch
    network = create_network(name, pretrained=True, seed=seed, image_size=image_size)
    if spec.source == "hf-hub" and image_size is not None:
        resize(network, image_size)
    head = remove_classifier(network)
    config = getattr(network, "pretrained_cfg", {})
    arch = str(config.get("architecture") or spec.arch) if spec.source == "hf-hub" else spec.arch
    library = "torchvision" if name.startswith("torchvision/") else "timm"
    tag = config.get("tag") or ""
    source = f"{name}, downloaded" if spec.source == "hf-hub" else f"{library}'s own weights {tag}".strip()
    preprocessing = preprocessing_of(network, arch, image_size)
    weights_hash = state_hash(network.state_dict())
    return Model(spec.label, spec.text, arch, network.eval(), preprocessing, weights_hash, source, head=head)


def _from_file(
    spec: ModelSpec, arch: str, path: Path, seed: int, image_size: ImageSize, options: Mapping[str, Any]
) -> Model:
    checkpoint = read_tensors(path, trust=spec.trust)
    manifest = read_manifest(path)
    size = image_size
    if size is None and manifest and manifest.get("input_size"):
        size = (int(manifest["input_size"][1]), int(manifest["input_size"][2]))
    network = create_network(arch, seed=seed, image_size=size, **options)
    channels = _channels(network, checkpoint.tensors)
    if channels is not None:
        network = create_network(arch, seed=seed, image_size=size, **{**options, "in_chans": channels})
    heads = head_prefixes(network)
    remove_classifier(network)
    found = match_network(network, checkpoint.tensors, heads=heads, where=str(path), arch=arch)
    _check_finite(found.state, path)
    network.load_state_dict(found.state, strict=False)
    preprocessing = preprocessing_of(network, arch, image_size)
    if manifest:
        preprocessing = Preprocessing.from_mapping({**manifest, "input_size": None}, preprocessing)
        if image_size is None:
            preprocessing = Preprocessing.from_mapping({"input_size": manifest.get("input_size")}, preprocessing)
    return Model(
        spec.label,
        spec.text,
        arch,
        network.eval(),
        preprocessing,
        state_hash(network.state_dict()),
        f"{path.name}: {checkpoint.layout}",
        found.report,
        {name: value.clone() for name, value in found.head.items()},  # the file may be mapped, and be overwritten
        manifest,
    )


def match_network(
    network: nn.Module, tensors: Mapping[str, Tensor], *, heads: tuple[str, ...], where: str, arch: str
) -> Match:
    """Match a checkpoint with a network; timm's own conversion is tried where names alone do not do it all."""
    state = network.state_dict()
    hint = partial(suggestion, tensors, arch)
    plain = best_match(state, tensors)
    if is_sufficient(plain.report) and not plain.report.mismatched:
        check(plain, where=where, arch=arch, hint=hint)
        return plain
    converted = _convert(network, tensors, plain.report.prefix)
    if converted is not None:
        found = _with_origin(best_match(state, converted), tensors, plain.report)
        better = found.report.share_of_parameters > plain.report.share_of_parameters
        if better and is_sufficient(found.report):
            check(found, where=where, arch=arch, hint=hint)
            return found
    return match(state, tensors, head_prefixes=heads, where=where, arch=arch, hint=hint)


def _channels(network: nn.Module, tensors: Mapping[str, Tensor]) -> int | None:
    """Return the number of input channels of a checkpoint whose first convolution differs in that from timm's."""
    first = getattr(network, "pretrained_cfg", {}).get("first_conv")
    if not isinstance(first, str):
        return None
    for entry in best_match(network.state_dict(), tensors).report.mismatched:
        old, new = entry.source_shape or (), entry.target_shape or ()
        if entry.target == f"{first}.weight" and len(old) == len(new) == 4 and old[:1] + old[2:] == new[:1] + new[2:]:
            return old[1]
    return None


def _convert(network: nn.Module, tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor] | None:
    convert = checkpoint_filter(network)
    if convert is None:
        return None
    short = {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
    try:
        with torch.no_grad():
            return convert(short)
    except Exception:  # a layout that the filter does not know; the plain match then explains what is missing
        return None


def _with_origin(found: Match, tensors: Mapping[str, Tensor], plain: MatchReport) -> Match:
    """Set the shapes of the file where timm's conversion changed them, and say so."""
    matched: list[TensorMatch] = []
    reshaped = list(found.report.reshaped)
    for entry in found.report.matched:
        name = f"{plain.prefix}{entry.source}"
        before = tuple(tensors[name].shape) if name in tensors else entry.source_shape
        new = TensorMatch(name if name in tensors else entry.source, entry.target, before, entry.target_shape)
        (matched if before == entry.target_shape else reshaped).append(new)
    report = replace(
        found.report,
        prefix=plain.prefix,
        matched=tuple(matched),
        reshaped=tuple(reshaped),
        notes=("converted by timm's own checkpoint filter",),
    )
    return replace(found, report=report)


def _read_local_dir(directory: Path) -> tuple[str, Path, dict[str, Any]]:
    """Return architecture, weights file and build options of a directory as timm and the hub lay it out."""
    config_file = directory / "config.json"
    if not config_file.is_file():
        names = ", ".join(sorted(entry.name for entry in directory.iterdir())[:8]) or "nothing"
        raise FeaturespaceError(f"{directory} has no config.json (it holds {names}); write ARCH@FILE instead")
    try:
        config = json.loads(config_file.read_text(encoding="utf-8"))
        arch = config["architecture"]
    except (ValueError, KeyError, TypeError) as error:
        raise FeaturespaceError(
            f"{config_file} names no 'architecture' that timm could build; write ARCH@FILE instead"
        ) from error
    files = [directory / name for name in ("model.safetensors", "pytorch_model.bin", "pytorch_model.pth")]
    files += sorted(p for p in directory.iterdir() if p.suffix in (".safetensors", ".bin", ".pth", ".pt"))
    weights = next((path for path in files if path.is_file()), None)
    if weights is None:
        raise FeaturespaceError(f"{directory} holds no weights (model.safetensors or pytorch_model.bin); add the file")
    overlay = {k: v for k, v in config.get("pretrained_cfg", {}).items() if k in ("input_size", "mean", "std")}
    options = {**config.get("model_args", {}), **({"pretrained_cfg_overlay": overlay} if overlay else {})}
    return str(arch), weights, options


def _check_finite(state: Mapping[str, Tensor], path: Path) -> None:
    for name, value in state.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            bad = int((~torch.isfinite(value)).sum())
            raise FeaturespaceError(
                f"{path}: {bad} of the {value.numel()} values of {name} are NaN or infinite, so every feature "
                "would be; the training diverged or the file is damaged: take an earlier checkpoint"
            )
