"""The feature store: one directory per (model, data), rows written in place, trusted only by hash and row count.

``layers/<layer>.npy`` (n, d) float32, ``samples.parquet`` and ``manifest.json``. The manifest holds everything that
can change a number, the rows that are finished, and the SHA-256 of those rows for every layer.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from featurespace import files
from featurespace.errors import FeaturespaceError, unknown
from featurespace.features.rows import cut, digest_of, header_of, reserve, write_rows

FORMAT = 2


class FeatureStore(Mapping[str, np.ndarray]):
    """Features of one model on one data set: a mapping from layer to a read-only (n, d) float32 memmap.

    Use `open` to read, `create` to write. While writing, `write` the rows of a batch, now and then `checkpoint`,
    at the end `finish`.
    """

    def __init__(self, path: Path, manifest: dict[str, Any]):
        self.path = path
        self.manifest = manifest
        self._files: dict[str, str] = {layer["name"]: layer["file"] for layer in manifest["layers"]}
        self._samples = pd.DataFrame()  # these three while writing
        self._position = 0
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
        problems = [(self.path / layer["file"], self._problem_with(layer)) for layer in self.manifest["layers"]]
        samples = self.path / "samples.parquet"
        if not samples.is_file() or files.hash_file(samples) != self.manifest["samples_sha256"]:
            problems.append((samples, "is not what was written"))
        for file, problem in problems:
            if problem:
                raise FeaturespaceError(f"{file} {problem}; delete {self.path} and run the same command again")

    def _problem_with(self, layer: dict[str, Any]) -> str | None:
        file = self.path / layer["file"]
        kept = self.rows_done if self.complete else self.rows_done - len(self.manifest["bad_images"])
        header = header_of(kept, layer["width"])
        try:
            if self.complete:
                with open(file, "rb") as handle:
                    same = handle.read(len(header)) == header
                if not same or file.stat().st_size != len(header) + 4 * kept * layer["width"]:
                    return "does not have the shape that was written"
            if digest_of(file, layer["width"], 0, kept).hexdigest() != layer["sha256"]:
                return "does not hold the rows that were written"
        except (OSError, ValueError) as error:
            return f"cannot be read ({error})"
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
        store = cls._resumable(path, key)
        if store is None:
            layers = [
                {"name": name, "file": f"layers/{files.safe_name(name)}.npy", "width": int(width), "sha256": "", "nonfinite": 0}
                for name, width in widths.items()
            ]  # fmt: skip
            store = cls(path, {
                "format": FORMAT, "model": names[0], "data": names[1], "key": key, "key_sha256": files.hash_value(key),
                "rows": len(samples), "rows_done": 0, "complete": False, "batch_size": batch_size, "bad_images": [],
                "layers": layers,
            })  # fmt: skip
            with files.writing(path):
                if path.exists():
                    shutil.rmtree(path)
                (path / "layers").mkdir(parents=True)
        store._begin_writing(samples)
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
        return store

    @classmethod
    def begun(cls, path: Path) -> FeatureStore:
        """Return the store in ``path``, finished or not."""
        return cls(path, _read_manifest(path))

    def close_filled(self, samples: pd.DataFrame, bad: list[dict[str, Any]], digests: dict[str, Any]) -> None:
        """Finish a store whose files several processes have filled, with the running hashes of their rows that count."""
        self.manifest["bad_images"] = bad
        self._samples, self._digests, self._position = samples, digests, len(samples) - len(bad)
        self.finish()

    def _begin_writing(self, samples: pd.DataFrame) -> None:
        self._samples = samples
        self._position = self.rows_done - len(self.manifest["bad_images"])
        for layer in self.manifest["layers"]:
            file = self.path / layer["file"]
            reserve(file, header_of(self.manifest["rows"], layer["width"]), 4 * self.manifest["rows"] * layer["width"])
            self._digests[layer["name"]] = digest_of(file, layer["width"], 0, self._position)
        if not self.rows_done:
            self.checkpoint(0)

    def write(self, start: int, features: Mapping[str, np.ndarray], bad: Mapping[int, str] | None = None) -> None:
        """Write the rows of one batch, which begins at row ``start``, without the unreadable images (row -> reason).

        Batches come in order.
        """
        bad = bad or {}
        self.manifest["bad_images"] += [
            {"row": row, "id": self._samples["id"].iat[row], "path": self._samples["path"].iat[row], "reason": reason}
            for row, reason in bad.items()
        ]
        count = len(next(iter(features.values())))
        good = [place for place in range(count) if start + place not in bad]
        for layer in self.manifest["layers"]:
            rows = np.ascontiguousarray(features[layer["name"]][good], dtype=np.float32)
            write_rows(self.path / layer["file"], self._position, rows)
            self._digests[layer["name"]].update(rows)
            layer["nonfinite"] += int((~np.isfinite(rows)).any(axis=1).sum())
        self._position += len(good)

    def checkpoint(self, rows_done: int) -> None:
        """Make the first ``rows_done`` rows count: flush them to disk, then say so in the manifest."""
        for layer in self.manifest["layers"]:
            if rows_done:  # no row counts yet otherwise
                with files.writing(self.path / layer["file"]):
                    files.sync(self.path / layer["file"])
            layer["sha256"] = self._digests[layer["name"]].hexdigest()
        self.manifest["rows_done"] = rows_done
        self.manifest["manifest_sha256"] = _manifest_hash(self.manifest)
        files.write_json(self.path / "manifest.json", self.manifest)

    def finish(self) -> None:
        """Close the store, which then holds the rows of the images that could be read."""
        bad = [image["row"] for image in self.manifest["bad_images"]]
        if bad:
            self.checkpoint(int(self.manifest["rows"]))  # a kill while files are cut loses nothing
            for layer in self.manifest["layers"]:
                cut(
                    self.path / layer["file"],
                    header_of(self._position, layer["width"]),
                    4 * self._position * layer["width"],
                )
        samples = self._samples.drop(index=bad).reset_index(drop=True)
        path = files.write_atomic(self.path / "samples.parquet", lambda file: samples.to_parquet(file, index=False))
        self.manifest |= {"samples_sha256": files.hash_file(path), "rows": self._position, "complete": True}
        self.checkpoint(self._position)


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = files.read_json(path / "manifest.json")
    except (OSError, ValueError) as error:
        raise FeaturespaceError(f"{path} holds no feature store ({error})") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise FeaturespaceError(f"{path} holds a feature store of another format; delete it and extract again")
    if manifest.get("manifest_sha256") != _manifest_hash(manifest):
        raise FeaturespaceError(
            f"{path / 'manifest.json'} is not what was written; delete {path} and run the same command again"
        )
    return manifest


def _manifest_hash(manifest: dict[str, Any]) -> str:
    return files.hash_value({name: value for name, value in manifest.items() if name != "manifest_sha256"})
