"""What a checkpoint or a model is, as plain values; the command line formats them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from featurespace.errors import FeaturespaceError
from featurespace.files import hash_file
from featurespace.models.blocks import stage_names
from featurespace.models.checkpoint import read_manifest, read_tensors
from featurespace.models.guess import Guess, fitting_architectures
from featurespace.models.health import Finding, health
from featurespace.models.layers import POOLED, select_layers
from featurespace.models.load import load_model
from featurespace.models.networks import Preprocessing
from featurespace.models.report import MatchReport, Shape
from featurespace.models.specs import ModelSpec
from featurespace.models.trace import trace_layers


@dataclass(frozen=True)
class LayerRow:
    """One layer as ``inspect`` lists it; ``selected`` names the presets that it belongs to."""

    name: str
    class_name: str
    shape: Shape
    kind: str
    selected: tuple[str, ...]


@dataclass(frozen=True)
class ModelInfo:
    """What ``featurespace inspect MODEL`` shows. ``parameters`` leaves the classifier out."""

    label: str
    arch: str
    source: str
    parameters: int
    weights_hash: str
    preprocessing: Preprocessing
    layers: tuple[LayerRow, ...]
    match: MatchReport | None


@dataclass(frozen=True)
class TensorRow:
    """One tensor of a file."""

    name: str
    shape: Shape
    dtype: str


@dataclass(frozen=True)
class FileInfo:
    """What ``featurespace inspect FILE`` shows.

    ``guesses`` are the architectures that fit, best first; ``training`` what the file tells of its training, ``health``
    what is not as in a trained network.
    """

    path: str
    sha256: str
    layout: str
    tensors: tuple[TensorRow, ...]
    parameters: int
    dtypes: dict[str, int]
    metadata: dict[str, Any]
    ignored: tuple[str, ...]
    manifest: dict[str, Any] | None
    guesses: tuple[Guess, ...]
    training: dict[str, Any]
    health: tuple[Finding, ...]


def inspect_model(spec: ModelSpec, *, image_size: int | None = None) -> ModelInfo:
    """Load a model and list its layers in order of execution, with the shape of one sample's feature."""
    model = load_model(spec, image_size=image_size)
    generator = torch.Generator().manual_seed(0)
    example = torch.rand((2, *model.preprocessing.input_size), generator=generator)
    everything = select_layers(model.network, ["*", POOLED], example)
    classes = {call.name: call.class_name for call in trace_layers(model.network, example)}
    presets = {"blocks": _names(model.network, "blocks", example), "stages": _names(model.network, "stages", example)}
    rows = tuple(
        LayerRow(
            layer.name,
            classes[layer.module],
            layer.shape,
            layer.kind,
            tuple(preset for preset, names in presets.items() if layer.name in names),
        )
        for layer in everything
    )
    parameters = sum(parameter.numel() for parameter in model.network.parameters())
    return ModelInfo(
        model.label, model.arch, model.source, parameters, model.weights_hash, model.preprocessing, rows, model.match
    )


def inspect_file(path: str | Path, *, trust: bool = False) -> FileInfo:
    """Read a checkpoint and say what it holds, and which architectures have tensors of these shapes."""
    path = Path(path)
    checkpoint = read_tensors(path, trust=trust)
    tensors = checkpoint.tensors
    rows = tuple(TensorRow(n, tuple(v.shape), str(v.dtype).removeprefix("torch.")) for n, v in tensors.items())
    return FileInfo(
        path=str(path),
        sha256=hash_file(path),
        layout=checkpoint.layout,
        tensors=rows,
        parameters=sum(value.numel() for value in tensors.values()),
        dtypes=dict(Counter(row.dtype for row in rows)),
        metadata={key: value for key, value in checkpoint.metadata.items() if key != "manifest"},
        ignored=tuple(checkpoint.ignored),
        manifest=read_manifest(path),
        guesses=tuple(guess for guess in fitting_architectures(tensors) if guess.share >= 0.5),
        training=checkpoint.training,
        health=tuple(health(tensors)),
    )


def _names(network: torch.nn.Module, preset: str, example: Tensor) -> set[str]:
    try:
        if preset == "stages":
            return {*stage_names(network, example), POOLED}
        return {layer.name for layer in select_layers(network, preset, example)}
    except FeaturespaceError:  # a network without stages is still worth listing
        return set()
