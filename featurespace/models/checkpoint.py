"""Checkpoints of any layout, read as named tensors without running code from the file; and our own, written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from featurespace.errors import FeaturespaceError
from featurespace.files import write_atomic, write_json
from featurespace.models.facts import training_facts
from featurespace.models.manifest import KEY, REQUIRED, read_manifest, safetensors_header
from featurespace.models.shards import SUFFIX, read_shards
from featurespace.models.unpickling import TRUSTED, load_pickle

__all__ = ["CheckpointTensors", "read_manifest", "read_tensors", "write_checkpoint"]

# Where training code keeps weights, best first: averaged weights before raw ones (they are what such code
# evaluates), DINO's teacher before its student, BYOL's online network before its target.
_NESTS = (
    *("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema", "teacher"),
    *("state_dict", "model_state_dict", "model_state", "model", "network", "net", "module", "online_network"),
    *("online", "backbone", "encoder", "student", "weights", "params", "target", "state", "checkpoint"),
)
_NOT_WEIGHTS = ("optim", "sched", "scaler", "callback", "loops", "hparam", "hyper_param", "rng")


@dataclass(frozen=True)
class CheckpointTensors:
    """The named tensors of a checkpoint, in file order.

    ``layout`` says in words where they were found, ``metadata`` holds plain values beside them (epoch, say),
    ``ignored`` names entries that are no tensors, ``training`` holds what it tells of its training.
    """

    tensors: dict[str, Tensor]
    metadata: dict[str, Any]
    layout: str
    ignored: list[str] = field(default_factory=list)
    training: dict[str, Any] = field(default_factory=dict)


def read_tensors(path: str | Path, *, trust: bool = False) -> CheckpointTensors:
    """Read the weights of a checkpoint on the CPU: safetensors, or anything torch.save wrote.

    No code from the file is run: ``torch.load(weights_only=True)``. A file that needs more is refused, and with ``trust``
    its code is run; ``layout`` then says so.
    """
    path = Path(path)
    _check_file(path)
    if path.name.endswith(SUFFIX):
        tensors = read_shards(path, lambda shard: read_tensors(shard, trust=trust).tensors)
        return CheckpointTensors(tensors, {}, "files named by an index")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    value, ran = load_pickle(path, trust=trust)
    found = replace(_unwrap(value, path), training=training_facts(value))
    return replace(found, layout=f"{found.layout}; {TRUSTED}") if ran else found


def write_checkpoint(path: str | Path, network_state: Mapping[str, Tensor], manifest: Mapping[str, Any]) -> Path:
    """Write weights and manifest as one safetensors file, and the manifest once more as ``<stem>.json``.

    The manifest holds at least ``manifest.REQUIRED``; ``weights_dtype`` and the like may follow.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise FeaturespaceError(f"checkpoint {path} must end in .safetensors, e.g. {path.with_suffix('.safetensors')}")
    absent = [name for name in REQUIRED if name not in manifest]
    if absent:
        raise FeaturespaceError(f"the manifest of {path} lacks {', '.join(absent)}; give every one of {REQUIRED}")
    # Copies, because safetensors refuses tensors that share memory (tied weights).
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in network_state.items()}
    text = json.dumps(dict(manifest), allow_nan=False, default=str)
    # safetensors sorts its entries, so the order of the network travels in the metadata.
    metadata = {"format": "pt", KEY: text, "order": json.dumps(list(tensors))}
    content = save(tensors, metadata=metadata)  # save_file would tell a full disk as an error of safetensors
    write_atomic(path, lambda temporary: temporary.write_bytes(content))
    write_json(path.with_suffix(".json"), json.loads(text))
    return path


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise FeaturespaceError(f"checkpoint {path} is a directory; name the file in it, or write local-dir:{path}")
    if not path.is_file():
        raise FeaturespaceError(f"checkpoint {path} does not exist")
    if path.stat().st_size == 0:
        raise FeaturespaceError(f"checkpoint {path} is empty (0 bytes): its download or copy failed; fetch it again")


def _read_safetensors(path: Path) -> CheckpointTensors:
    header = safetensors_header(path)
    metadata = dict(header.get("__metadata__", {}))
    names = [name for name in header if name != "__metadata__"]
    order = _order(metadata.pop("order", ""))
    if sorted(order) == sorted(names):
        names = order
    try:
        with safe_open(path, framework="pt", device="cpu") as handle:
            tensors = {name: handle.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise FeaturespaceError(f"{path} cannot be read as safetensors ({error}); copy it again") from error
    if not tensors:
        raise FeaturespaceError(f"checkpoint {path} holds no tensors")
    manifest = metadata.pop(KEY, None)
    if manifest is not None:
        metadata["manifest"] = read_manifest(path)
    return CheckpointTensors(tensors, metadata, "featurespace checkpoint" if manifest else "safetensors")


def _order(text: str) -> list[str]:
    """Return the names that our own files keep in their order; none where the text is anybody else's."""
    try:
        order = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return order if isinstance(order, list) and all(isinstance(name, str) for name in order) else []


def _unwrap(value: Any, path: Path) -> CheckpointTensors:
    """Find the mapping of tensors inside what torch.load returned, up to five mappings deep."""
    if not isinstance(value, Mapping):
        raise FeaturespaceError(
            f"checkpoint {path} holds a {type(value).__name__}, not a mapping from names to tensors; "
            "save model.state_dict() instead"
        )
    trail: list[str] = []
    notes: list[str] = []
    metadata: dict[str, Any] = {}
    ignored: list[str] = []
    for _ in range(5):  # VISSL keeps a trunk in a model in a base_model in a classy_state_dict
        chosen, others = _choose(value)
        ignored += [".".join([*trail, str(key)]) for key, entry in value.items() if _is_ignored(entry, key, chosen)]
        metadata |= {str(k): v for k, v in value.items() if isinstance(v, (str, int, float, bool))}
        if chosen is None:
            break
        notes += [f"{name!r} is there too and was not used" for name in others]
        trail.append(chosen)
        value = value[chosen]
    tensors = {str(key): entry.detach() for key, entry in value.items() if isinstance(entry, Tensor)}
    if not tensors:
        keys = ", ".join(map(str, list(value)[:8])) or "nothing"
        raise FeaturespaceError(f"checkpoint {path} holds no weights under a name known here; it holds {keys}")
    layout = _layout(trail, lightning="pytorch-lightning_version" in metadata)
    return CheckpointTensors(tensors, metadata, "; ".join([layout, *notes]), ignored)


def _choose(value: Mapping[Any, Any]) -> tuple[str | None, list[str]]:
    """Return the key of the nested mapping that holds the weights (None: this one) and the keys passed over."""
    own = sum(isinstance(entry, Tensor) for entry in value.values())
    counts = {
        key: _count(entry)
        for key, entry in value.items()
        if isinstance(entry, Mapping) and isinstance(key, str) and not any(w in key.lower() for w in _NOT_WEIGHTS)
    }
    counts = {key: count for key, count in counts.items() if count > own}
    if not counts:
        return None, []
    known = [key for key in _NESTS if key in counts]
    ranked = known + [key for key in counts if key not in known]
    return ranked[0], [key for key in ranked[1:] if 2 * counts[key] >= counts[ranked[0]]]


def _count(value: Mapping[Any, Any], depth: int = 4) -> int:
    total = 0
    for key, entry in value.items():
        if isinstance(entry, Tensor):
            total += isinstance(key, str)
        elif isinstance(entry, Mapping) and depth:
            total += _count(entry, depth - 1)
    return total


def _is_ignored(entry: Any, key: Any, chosen: str | None) -> bool:
    return key != chosen if chosen is not None else not isinstance(entry, Tensor)


def _layout(trail: list[str], *, lightning: bool) -> str:
    if lightning:
        return "Lightning checkpoint, weights under " + " / ".join(repr(key) for key in trail)
    if trail:
        return "torch.save of a mapping, weights under " + " / ".join(repr(key) for key in trail)
    return "torch.save of a state_dict"
