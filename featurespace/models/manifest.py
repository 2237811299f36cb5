"""The manifest of a checkpoint that featurespace wrote, read without torch."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from featurespace.errors import FeaturespaceError

KEY = "featurespace_manifest"
MAX_HEADER = 100_000_000  # bytes, the limit of safetensors itself
REQUIRED = (
    "arch",
    "num_classes",
    "config",
    "data_hash",
    "parent",
    "metrics",
    "featurespace_version",
    "input_size",
    "mean",
    "std",
)


def read_manifest(path: str | Path) -> dict[str, Any] | None:
    """Return the manifest inside a checkpoint, or in ``<stem>.json`` beside it, or None if it has none.

    The one inside wins, because the JSON file beside may have stayed behind from an older run. A JSON file
    that does not look like a manifest (some other tool's config) is passed over.
    """
    path = Path(path)
    if path.suffix == ".safetensors" and path.is_file():
        text = safetensors_header(path).get("__metadata__", {}).get(KEY)
        if text is not None:
            return _parse(text, f"the manifest inside {path}")
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return None
    manifest = _parse(beside.read_text(encoding="utf-8"), str(beside), strict=False)
    return manifest if manifest and {"arch", "featurespace_version"} <= manifest.keys() else None


def safetensors_header(path: Path) -> dict[str, Any]:
    """Return the JSON header of a safetensors file, after checking that the file is as long as it says."""
    size = path.stat().st_size
    with open(path, "rb") as handle:
        start = handle.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(size - 8, MAX_HEADER):
            raise FeaturespaceError(
                f"{path} ({size} bytes) is not a safetensors file or was cut off in its header; "
                "copy it again and compare its size with the original"
            )
        try:
            header = json.loads(handle.read(length))
        except (ValueError, RecursionError) as error:
            raise FeaturespaceError(
                f"the header of {path} is not JSON, so this is no safetensors file; "
                "if it was written by torch.save, rename it to end in .pt"
            ) from error
    if not isinstance(header, dict):
        raise FeaturespaceError(f"the header of {path} holds no table of tensors, so this is no safetensors file")
    try:
        ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
        texts = all(isinstance(text, str) for text in header.get("__metadata__", {}).values())
    except (TypeError, KeyError, IndexError, ValueError, AttributeError, OverflowError):
        texts = False
    if not texts:
        raise FeaturespaceError(f"the header of {path} is damaged, or this is no safetensors file; copy it again")
    expected = 8 + length + max(ends, default=0)
    if size < expected:
        raise FeaturespaceError(
            f"{path} is cut off: its header announces {expected} bytes and it has {size}; copy it again"
        )
    return header


def _parse(text: str, where: str, *, strict: bool = True) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        if not strict and '"featurespace_version"' not in text:
            return None
        raise FeaturespaceError(f"{where} is not valid JSON ({error}); restore it or write ARCH@FILE") from error
    return value if isinstance(value, dict) else None
