"""From a parsed spec to a network that returns pooled features, with a hash of the weights it carries."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from featurespace.errors import FeaturespaceError
from featurespace.models.checkpoint import read_manifest, read_tensors
from featurespace.models.directories import file_config, read_local_dir
from featurespace.models.fitting import match_network
from featurespace.models.layouts.recognise import building_options, told
from featurespace.models.networks import (
    Preprocessing,
    create_network,
    head_prefixes,
    preprocessing_of,
    remove_classifier,
    resize,
)
from featurespace.models.report import MatchReport
from featurespace.models.specs import ModelSpec

ImageSize = int | tuple[int, int] | None


@dataclass(frozen=True)
class Model:
    """A network in eval mode without its classifier, and where its weights came from.

    ``weights_hash`` covers names, shapes, dtypes and bytes of the whole backbone state. ``match`` is None for
    random weights and for those that timm or torchvision loaded themselves. ``head`` holds the checkpoint's
    classifier, if it had one; ``manifest`` what featurespace wrote beside the weights; ``options`` how the network
    differs from what timm builds under that name (input channels, epsilon of norms).
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
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def structure(self) -> str:
        """What the network is without its weights: the architecture, and what of it differs from timm's."""
        different = ", ".join(f"{name}={self.options[name]!r}" for name in sorted(self.options))
        return f"{self.arch} with {different}" if different else self.arch


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
        arch, weights, options = read_local_dir(spec.path)
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
    options = {**({"in_chans": channels} if channels != 3 else {}), **model.options}
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
    weights_hash = state_hash(network.state_dict())
    return Model(label, text, arch, network.eval(), preprocessing, weights_hash, source, options=options)


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
    options = {**options, **((manifest or {}).get("options") or {})}
    network = create_network(arch, seed=seed, image_size=size, **options)
    more, layout = building_options(network, checkpoint.tensors, arch, config=file_config(path))
    if more:
        options = {**more, **options}
        network = create_network(arch, seed=seed, image_size=size, **options)
    heads = head_prefixes(network)
    remove_classifier(network)
    found = match_network(network, checkpoint.tensors, heads=heads, where=str(path), arch=arch)
    _check_finite(found.state, path)
    state = network.state_dict()  # with the versions of its modules, which MnasNet asks for
    state.update(found.state)
    network.load_state_dict(state)
    preprocessing = preprocessing_of(network, arch, image_size or options.get("img_size"))
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
        told(found.report, checkpoint, arch, layout, options),
        {name: value.clone() for name, value in found.head.items()},  # the file may be mapped, and be overwritten
        manifest,
        {name: value for name, value in options.items() if name != "pretrained_cfg_overlay"},
    )


def _check_finite(state: Mapping[str, Tensor], path: Path) -> None:
    for name, value in state.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            bad = int((~torch.isfinite(value)).sum())
            raise FeaturespaceError(
                f"{path}: {bad} of the {value.numel()} values of {name} are NaN or infinite, so every feature "
                "would be; the training diverged or the file is damaged: take an earlier checkpoint"
            )
