"""A checkpoint in several files: a directory with its config.json, and the config beside a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from featurespace.errors import FeaturespaceError
from featurespace.models.layouts.configs import architecture, config_options, read_config

_WEIGHTS = (
    *("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"),
    "pytorch_model.pth",
)


def read_local_dir(directory: Path) -> tuple[str, Path, dict[str, Any]]:
    """Return architecture, weights file and build options of a directory as timm, the hub or transformers lay it out."""
    config_file = directory / "config.json"
    if not config_file.is_file():
        names = ", ".join(sorted(entry.name for entry in directory.iterdir())[:8]) or "nothing"
        raise FeaturespaceError(f"{directory} has no config.json (it holds {names}); write ARCH@FILE instead")
    foreign = read_config(directory)
    if foreign is not None:
        arch, options = architecture(foreign, str(config_file))
        options |= config_options(foreign) | _overlay(_preprocessor(directory))
        return arch, _weights(directory), options
    try:
        config = json.loads(config_file.read_text(encoding="utf-8"))
        arch = config["architecture"]
    except (ValueError, KeyError, TypeError) as error:
        raise FeaturespaceError(
            f"{config_file} names no 'architecture' that timm could build, and no 'model_type' known here; "
            "write ARCH@FILE instead"
        ) from error
    options = {**config.get("model_args", {}), **_overlay(config.get("pretrained_cfg", {}))}
    return str(arch), _weights(directory), options


def file_config(path: Path) -> dict[str, Any] | None:
    """Return what a config.json of transformers beside a weights file says of the network, or None."""
    return read_config(path.parent) if path.name in _WEIGHTS else None


def _weights(directory: Path) -> Path:
    files = [directory / name for name in _WEIGHTS]
    files += sorted(p for p in directory.iterdir() if p.suffix in (".safetensors", ".bin", ".pth", ".pt"))
    weights = next((path for path in files if path.is_file()), None)
    if weights is None:
        raise FeaturespaceError(f"{directory} holds no weights (model.safetensors or pytorch_model.bin); add the file")
    return weights


def _overlay(values: Any) -> dict[str, Any]:
    known = {k: v for k, v in values.items() if k in ("input_size", "mean", "std")} if isinstance(values, dict) else {}
    return {"pretrained_cfg_overlay": known} if known else {}


def _preprocessor(directory: Path) -> dict[str, Any]:
    """Return mean and deviation that transformers' preprocessor_config.json gives, if it is there."""
    try:
        values = json.loads((directory / "preprocessor_config.json").read_text(encoding="utf-8"))
        return {name: values[f"image_{name}"] for name in ("mean", "std") if values.get(f"image_{name}")}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
