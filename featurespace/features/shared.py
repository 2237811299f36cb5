"""One feature store written by several processes: each fills its own rows of the same files, and the first one closes it.

A process writes the rows of its own run of whole batches, and says in ``parts/RANK-of-SIZE.json`` how many of them count and what
their hashes are. A killed extraction goes on from there where as many processes are started again.
"""

from __future__ import annotations

import hashlib
import shutil
import socket
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from featurespace import distributed, files
from featurespace.errors import FeaturespaceError
from featurespace.features.rows import digest_of, header_of, pieces, write_rows
from featurespace.features.store import FeatureStore

PARTS = "parts"


class Part:
    """The rows of a store that one process writes.

    Parameters
    ----------
    store : the store, made by the first process
    samples : the samples in row order
    """

    def __init__(self, store: FeatureStore, samples: pd.DataFrame):
        self.store, self.samples = store, samples
        self.file = store.path / PARTS / f"{distributed.rank()}-of-{distributed.size()}.json"
        ends = distributed.shares(len(samples), store.manifest["batch_size"])
        self.start, self.stop = ends[distributed.rank()], ends[distributed.rank() + 1]
        self.bad: list[dict[str, Any]] = []
        self.done = self.start
        names = [layer["name"] for layer in store.manifest["layers"]]
        self.digests: dict[str, Any] = {name: hashlib.sha256() for name in names}
        self.nonfinite = dict.fromkeys(names, 0)
        self._take_up()

    def _take_up(self) -> None:
        """Take up what an earlier process with the same share wrote, where the rows are what it wrote."""
        try:
            known = files.read_json(self.file)
        except (OSError, ValueError):
            return
        if not isinstance(known, dict) or known.pop("seal", None) != files.hash_value(known):
            return
        if (known["key"], known["start"], known["stop"]) != (self.store.manifest["key_sha256"], self.start, self.stop):
            return
        digests = {}
        for layer in self.store.manifest["layers"]:
            try:
                digest = digest_of(self.store.path / layer["file"], layer["width"], self.start, known["done"])
            except (OSError, ValueError):
                return
            if digest.hexdigest() != known["layers"][layer["name"]]["sha256"]:
                return
            digests[layer["name"]] = digest
        self.digests, self.done, self.bad = digests, known["done"], known["bad"]
        self.nonfinite = {name: each["nonfinite"] for name, each in known["layers"].items()}

    def write(self, start: int, features: Mapping[str, np.ndarray], bad: Mapping[int, str]) -> None:
        """Write the rows of a batch; those of unreadable images stay, and go when the store is closed."""
        self.bad += [
            {"row": row, "id": self.samples["id"].iat[row], "path": self.samples["path"].iat[row], "reason": reason}
            for row, reason in bad.items()
        ]
        for layer in self.store.manifest["layers"]:
            rows = np.ascontiguousarray(features[layer["name"]], dtype=np.float32)
            write_rows(self.store.path / layer["file"], start, rows)
            self.digests[layer["name"]].update(rows)
            read = [place for place in range(len(rows)) if start + place not in bad]
            self.nonfinite[layer["name"]] += int((~np.isfinite(rows[read])).any(axis=1).sum())
        self.done = start + len(rows)

    def checkpoint(self) -> None:
        """Make the rows written so far count."""
        for layer in self.store.manifest["layers"] if self.done > self.start else ():
            with files.writing(self.store.path / layer["file"]):
                files.sync(self.store.path / layer["file"])
        state = self.state()
        files.write_json(self.file, {**state, "seal": files.hash_value(state)})

    def state(self) -> dict[str, Any]:
        """Return what is known of these rows."""
        return {
            "key": self.store.manifest["key_sha256"], "start": self.start, "stop": self.stop, "done": self.done,
            "bad": self.bad,
            "layers": {name: {"sha256": digest.hexdigest(), "nonfinite": self.nonfinite[name]}
                       for name, digest in self.digests.items()},
        }  # fmt: skip


def open_shared(path: Path) -> FeatureStore:
    """Return the store that the first process has begun or finished, on every process.

    Raises
    ------
    FeaturespaceError
        this process does not see it
    """
    for _ in range(30):  # file systems of clusters show a new file after a while
        if (path / "manifest.json").is_file():
            return FeatureStore.begun(path)
        time.sleep(1)
    raise FeaturespaceError(
        f"process {distributed.rank()} on {socket.gethostname()} does not see {path}, which the first process has written; "
        "--out must lie on a file system that all machines share"
    )


def close_shared(store: FeatureStore, samples: pd.DataFrame, states: Iterable[dict[str, Any]]) -> None:
    """Finish a store that several processes have filled: rows of unreadable images go, and each layer gets its hash.

    Cost: every row is read once, and written again where an image could not be read.
    """
    states = list(states)
    bad = sorted((image for state in states for image in state["bad"]), key=lambda image: image["row"])
    digests = {}
    for layer in store.manifest["layers"]:
        layer["nonfinite"] = sum(state["layers"][layer["name"]]["nonfinite"] for state in states)
        digests[layer["name"]] = _closed(store, layer, len(samples), bad)
    store.close_filled(samples, bad, digests)
    shutil.rmtree(store.path / PARTS)


def _closed(store: FeatureStore, layer: dict[str, Any], rows: int, bad: list[dict[str, Any]]) -> Any:
    """Return the running hash of a layer's rows that count; the others are taken out of its file."""
    file, width = store.path / layer["file"], layer["width"]
    if not bad:
        return digest_of(file, width, 0, rows)
    digest = hashlib.sha256()
    out = {image["row"] for image in bad}

    def write(path: Path) -> None:
        with open(path, "wb") as handle:
            handle.write(header_of(rows - len(bad), width))
            first = 0
            for piece in pieces(file, width, 0, rows):
                block = np.frombuffer(piece, np.float32).reshape(-1, width)
                kept = block[[place for place in range(len(block)) if first + place not in out]]
                first += len(block)
                digest.update(kept.tobytes())
                handle.write(kept.tobytes())

    files.write_atomic(file, write)
    return digest
