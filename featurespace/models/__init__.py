"""Model specs, checkpoints of any layout, layers and hooks; names are imported on first use."""

from __future__ import annotations

import importlib
from typing import Any

_EXPORTS = {
    "specs": ("ModelSpec", "parse_model_spec", "parse_model_specs"),
    "manifest": ("read_manifest",),
    "checkpoint": ("CheckpointTensors", "read_tensors", "write_checkpoint"),
    "matching": ("Match", "MatchReport", "TensorMatch", "match"),
    "load": ("Model", "load_model", "state_hash", "untrained_control"),
    "networks": ("Preprocessing",),
    "classifier": ("Classifier", "build_classifier"),
    "layers": ("Layer", "select_layers"),
    "trace": ("LayerCall", "trace_layers"),
    "hooks": ("Captured", "capture"),
    "compare": ("compare_files",),
    "inspect": ("inspect_file", "inspect_model"),
}
_HOME = {name: module for module, names in _EXPORTS.items() for name in names}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"featurespace.models.{_HOME[name]}"), name)
    raise AttributeError(f"module 'featurespace.models' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
