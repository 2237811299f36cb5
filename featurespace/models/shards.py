"""A checkpoint in several files, named by an index: ``model.safetensors.index.json``, ``pytorch_model.bin.index.json``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from featurespace.errors import FeaturespaceError

SUFFIX = ".index.json"


def read_shards(path: Path, read: Callable[[Path], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the tensors that an index names, each from its file beside the index.

    Parameters
    ----------
    read : returns the tensors of one file
    """
    try:
        places = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        files = sorted(set(places.values()))
        # A shard lies beside its index: a path out of there is no download of a model.
        outside = [name for name in files if Path(name).name != name]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FeaturespaceError(
            f"{path} is no index of shards: it has no 'weight_map' from tensors to files"
        ) from error
    if outside:
        raise FeaturespaceError(f"{path} names {outside[0]!r}, which is not a file beside it; the index was changed")
    absent = [name for name in files if not (path.parent / name).is_file()]
    if absent or not files:
        named = ", ".join(absent[:3]) or "none"
        raise FeaturespaceError(
            f"{path} needs {len(files)} files beside it, and {len(absent)} are missing ({named}); fetch them"
        )
    found = {name: read(path.parent / name) for name in files}
    lost = [name for name, file in places.items() if name not in found[file]]
    if lost:
        raise FeaturespaceError(
            f"{path} says that {lost[0]} is in {places[lost[0]]}, which does not have it; fetch both again"
        )
    return {name: found[file][name] for name, file in places.items()}
