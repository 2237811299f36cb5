"""The feature store: one directory per (model, data), rows written in place, trusted only by hash and row count.

``layers/<layer>.npy`` (n, d) float32, ``samples.parquet`` and ``manifest.json``. The manifest holds everything that
can change a number, the rows that are finished, and the SHA-256 of those rows for every layer.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from featurespace import files
from featurespace.errors import FeaturespaceError, unknown

FORMAT = 1
CHUNK_BYTES = 1 << 26


class FeatureStore(Mapping[str, np.ndarray]):
    """Features of one model on one data set: a mapping from layer to a read-only (n, d) float32 memmap.

    Use `open` to read, `create` to write. While writing, `write` the rows of a batch, now and then `checkpoint`,
    at the end `finish`.
    """

    def __init__(self, path: Path, manifest: dict[str, Any]):
        self.path = path
        self.manifest = manifest
        self._files: dict[str, str] = {layer["name"]: layer["file"] for layer in manifest["layers"]}
        self._writers: dict[str, np.memmap] = {}
        self._digests: dict[str, Any] = {}

    # Reading ----------------------------------------------------------------------------------------------------

    @classmethod
    def open(cls, path: str | Path, *, verify: bool = False) -> FeatureStore:
        """Open a finished store; with ``verify`` every row is read and compared with its hash."""
        path = Path(path)
        store = cls(path, _read_manifest(path))
        if not store.complete:
            raise FeaturespaceError(
                f"the features in {path} are unfinished ({store.rows_done} of {store.manifest['rows']} rows); "
                "run the same command again to finish them"
            )
        if verify:
            store.verify()
        return store

    def __getitem__(self, layer: str) -> np.ndarray:
        if layer not in self._files:
            raise unknown("layer", layer, self._files, where=f"the features of {self.manifest['model']}")
        return np.load(self.path / self._files[layer], mmap_mode="r")

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __repr__(self) -> str:
        return f"FeatureStore({str(self.path)!r}, {self.rows_done} rows, {len(self)} layers)"

    @property
    def samples(self) -> pd.DataFrame:
        """Samples in the order of the rows: id, path, label, group, split, domain."""
        return pd.read_parquet(self.path / "samples.parquet")

    @property
    def complete(self) -> bool:
        """Whether every row is written."""
        return bool(self.manifest["complete"])

    @property
    def rows_done(self) -> int:
        """Number of rows that count."""
        return int(self.manifest["rows_done"])

    def verify(self) -> None:
        """Read every row and compare with the hashes in the manifest; raises FeaturespaceError naming the file."""
        if files.hash_file(self.path / "samples.parquet") != self.manifest["samples_sha256"]:
            raise FeaturespaceError(f"{self.path / 'samples.parquet'} is not what was written; delete {self.path}")
        for layer in self.manifest["layers"]:
            file = self.path / layer["file"]
            problem = self._problem_with(layer)
            if problem:
                raise FeaturespaceError(f"{file} {problem}; delete {self.path} and run the same command again")

    def _problem_with(self, layer: dict[str, Any]) -> str | None:
        file = self.path / layer["file"]
        try:
            rows = np.load(file, mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            return f"cannot be read ({error})"
        if rows.shape != (self.manifest["rows"], layer["width"]) or rows.dtype != np.float32:
            return f"has shape {rows.shape} and type {rows.dtype}"
        if _digest(rows[: self.rows_done]).hexdigest() != layer["sha256"]:
            return "does not hold the rows that were written"
        return None

    # Writing ----------------------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls, path: Path, *, key: dict[str, Any], names: tuple[str, str], samples: pd.DataFrame,
        widths: Mapping[str, int], batch_size: int,
    ) -> FeatureStore:  # fmt: skip
        """Start a store in ``path``, or take up one that was interrupted with the same key.

        Parameters
        ----------
        key : everything that can change a number; a store with another key is replaced
        names : labels of model and data set
        samples : the samples in row order
        widths : features per layer
        batch_size : rows per batch; a resumed store keeps the one it began with, so that no bit changes
        """
        resumed = cls._resumable(path, key)
        if resumed is not None:
            return resumed
        if path.exists():
            shutil.rmtree(path)
        layers: list[dict[str, Any]] = [
            {
                "name": name,
                "file": f"layers/{files.safe_name(name)}.npy",
                "width": int(width),
                "sha256": "",
                "nonfinite": 0,
            }
            for name, width in widths.items()
        ]
        manifest = {
            "format": FORMAT, "model": names[0], "data": names[1], "key": key, "key_sha256": files.hash_value(key),
            "rows": len(samples), "rows_done": 0, "complete": False, "batch_size": batch_size, "bad_images": [],
            "layers": layers,
        }  # fmt: skip
        (path / "layers").mkdir(parents=True)
        for layer in layers:
            shape = (len(samples), layer["width"])
            np.lib.format.open_memmap(path / layer["file"], mode="w+", dtype=np.float32, shape=shape)
        store = cls(path, manifest)
        store._write_samples(samples)
        store._begin_writing()
        store.checkpoint(0)
        return store

    @classmethod
    def matching(cls, path: Path, key: dict[str, Any]) -> FeatureStore | None:
        """Return the finished store in ``path`` if its key is ``key`` and every row is what was written."""
        try:
            store = cls.open(path)
            if store.manifest["key_sha256"] != files.hash_value(key):
                return None
            store.verify()
        except FeaturespaceError:
            return None
        return store

    @classmethod
    def _resumable(cls, path: Path, key: dict[str, Any]) -> FeatureStore | None:
        try:
            store = cls(path, _read_manifest(path))
        except FeaturespaceError:
            return None
        if store.complete or store.manifest["key_sha256"] != files.hash_value(key):
            return None
        if any(store._problem_with(layer) for layer in store.manifest["layers"]):
            return None
        store._begin_writing()
        return store

    def _begin_writing(self) -> None:
        for layer in self.manifest["layers"]:
            writer = np.lib.format.open_memmap(self.path / layer["file"], mode="r+")
            self._writers[layer["name"]] = writer
            self._digests[layer["name"]] = _digest(writer[: self.rows_done])

    def write(self, start: int, features: Mapping[str, np.ndarray]) -> None:
        """Write the rows of one batch, which begins at row ``start``; batches come in order."""
        for layer in self.manifest["layers"]:
            rows = np.ascontiguousarray(features[layer["name"]], dtype=np.float32)
            self._writers[layer["name"]][start : start + len(rows)] = rows
            self._digests[layer["name"]].update(rows)
            layer["nonfinite"] += int((~np.isfinite(rows)).any(axis=1).sum())

    def checkpoint(self, rows_done: int) -> None:
        """Make the first ``rows_done`` rows count: flush them to disk, then say so in the manifest."""
        for writer in self._writers.values() if rows_done else ():
            writer.flush()
        for layer in self.manifest["layers"]:
            layer["sha256"] = self._digests[layer["name"]].hexdigest()
        self.manifest["rows_done"] = rows_done
        files.write_json(self.path / "manifest.json", self.manifest)

    def finish(self, bad: dict[int, str]) -> None:
        """Close the store; rows of images that could not be read (row -> reason) are taken out."""
        samples = self.samples
        self.manifest["bad_images"] = [
            {"id": samples["id"].iat[row], "path": samples["path"].iat[row], "reason": why} for row, why in bad.items()
        ]
        if bad:
            self._drop(np.array(sorted(bad)), samples)
        self.manifest["complete"] = True
        self.checkpoint(int(self.manifest["rows"]))
        self._writers.clear()

    def _drop(self, rows: np.ndarray, samples: pd.DataFrame) -> None:
        keep = np.setdiff1d(np.arange(len(samples)), rows)
        for layer in self.manifest["layers"]:
            kept = np.asarray(self._writers[layer["name"]])[keep]
            files.write_atomic(self.path / layer["file"], lambda path, kept=kept: np.save(path, kept))  # type: ignore[misc]
            self._digests[layer["name"]] = _digest(kept)
            layer["nonfinite"] = int((~np.isfinite(kept)).any(axis=1).sum())
        self._writers.clear()
        self.manifest["rows"] = len(keep)
        self._write_samples(samples.iloc[keep].reset_index(drop=True))

    def _write_samples(self, samples: pd.DataFrame) -> None:
        path = files.write_atomic(self.path / "samples.parquet", lambda file: samples.to_parquet(file, index=False))
        self.manifest["samples_sha256"] = files.hash_file(path)


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = files.read_json(path / "manifest.json")
    except (OSError, ValueError) as error:
        raise FeaturespaceError(f"{path} holds no feature store ({error})") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise FeaturespaceError(f"{path} holds a feature store of another format; delete it and extract again")
    return manifest


def _digest(rows: np.ndarray) -> Any:
    digest = hashlib.sha256()
    step = max(1, CHUNK_BYTES // max(1, rows.shape[1] * rows.itemsize))
    for start in range(0, len(rows), step):
        digest.update(np.ascontiguousarray(rows[start : start + step]).data)
    return digest
