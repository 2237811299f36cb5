"""One seed at the edge, a child by name for every use: adding a layer changes no other number."""

from __future__ import annotations

import hashlib

import numpy as np


def child_seed(seed: int, *names: str) -> int:
    """Return a 32-bit seed that depends only on ``seed`` and the names, e.g. ``("umap", model, layer)``."""
    text = "\x1f".join([str(int(seed)), *names])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")


def child(seed: int, *names: str) -> np.random.Generator:
    """Return a generator that depends only on ``seed`` and the names."""
    return np.random.default_rng(child_seed(seed, *names))
