"""A run directory: the only place that knows its paths."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from featurespace import files
from featurespace.errors import FeaturespaceError, unknown
from featurespace.features.store import FeatureStore
from featurespace.tables.memo import Memo
from featurespace.tables.schema import SCHEMAS, validate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURE_FORMATS = ("pdf", "svg", "png")
RESERVED = (
    "report.html",
    "summary.json",
    "provenance.json",
    "config.yaml",
    "tables",
    "figures",
    "features",
    "statistics",
)


class Tables(Mapping[str, pd.DataFrame]):
    """The tables of a run by name, read when asked for."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __getitem__(self, name: str) -> pd.DataFrame:
        if name not in self._names():
            raise KeyError(str(unknown("table", name, self, where=str(self.folder))))
        return pd.read_parquet(self.folder / f"{name}.parquet")

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def _names(self) -> list[str]:
        return sorted(file.stem for file in self.folder.glob("*.parquet") if not file.name.startswith("."))

    def __repr__(self) -> str:
        return f"Tables({', '.join(self)})"


class Run:
    """One output directory of `featurespace analyze`.

    Attributes
    ----------
    path : the directory
    tables : its tables by name, as DataFrames

    Examples
    --------
    >>> run = Run("runs/demo")  # doctest: +SKIP
    >>> run.tables["similarity"]  # doctest: +SKIP
    >>> run.features("finetuned", "mri")["pooled"]  # doctest: +SKIP
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.tables = Tables(self.path / "tables")

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, tables: {', '.join(self.tables)})"

    # Paths ------------------------------------------------------------------------------------------------------

    @property
    def report(self) -> Path:
        """The report, one HTML file."""
        return self.path / "report.html"

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    def store_path(self, model: str, data: str) -> Path:
        """Directory of the features of a model on a data set."""
        return self.path / "features" / files.safe_name(model) / files.safe_name(data)

    def memo(self) -> Memo:
        """Return the results of statistics that this run has made already."""
        return Memo(self.path / "statistics")

    def figure_path(self, name: str, suffix: str = "png") -> Path:
        """File of a figure."""
        return self.path / "figures" / f"{name}.{suffix}"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for this process; a second one is told so. A killed process holds nothing."""
        from filelock import FileLock, Timeout

        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / ".lock", timeout=0)
            lock.acquire()
        except Timeout as error:
            raise FeaturespaceError(
                f"another process is working in {self.path}; wait until it has finished, or choose another --out"
            ) from error
        except OSError as error:
            raise FeaturespaceError(
                f"{self.path} cannot be written ({error.strerror}); choose another --out"
            ) from error
        try:
            yield
        finally:
            lock.release()

    # Reading ----------------------------------------------------------------------------------------------------

    def features(self, model: str, data: str) -> FeatureStore:
        """Return the features of a model on a data set, a mapping from layer to memmap."""
        path = self.store_path(model, data)
        if not path.is_dir():
            raise unknown(
                "features of",
                f"{model} on {data}",
                [f"{store.manifest['model']} on {store.manifest['data']}" for store in self.stores()],
                where=str(self.path),
            )
        return FeatureStore.open(path)

    def verify(self) -> list[str]:
        """Read all features and tables; return what was read, or raise FeaturespaceError naming the file that differs."""
        checked = []
        for file in sorted(self.path.glob("features/*/*/manifest.json")):
            FeatureStore.open(file.parent, verify=True)
            checked.append(str(file.parent.relative_to(self.path)))
        for name, digest in self._table_record().get("sha256", {}).items():
            file = self.path / "tables" / name
            if not file.is_file() or files.hash_file(file) != digest:
                raise FeaturespaceError(f"{file} is not what was written; run the same command again")
            checked.append(f"tables/{name}")
        return checked

    def stores(self) -> list[FeatureStore]:
        """Return the finished features of every model on every data set that the run's directory holds."""
        found = []
        for file in sorted(self.path.glob("features/*/*/manifest.json")):
            with contextlib.suppress(FeaturespaceError):
                found.append(FeatureStore.open(file.parent))
        return found

    @property
    def summary(self) -> dict[str, Any]:
        """What the run found, in short: `summary.json`."""
        return self._json("summary.json")

    @property
    def provenance(self) -> dict[str, Any]:
        """Where the numbers came from: `provenance.json`."""
        return self._json("provenance.json")

    def _json(self, name: str) -> dict[str, Any]:
        try:
            return files.read_json(self.path / name)
        except (OSError, ValueError) as error:
            raise FeaturespaceError(f"{self.path / name} cannot be read ({error}); is the run finished?") from error

    # Writing ----------------------------------------------------------------------------------------------------

    def claim(self, config_text: str, difference: str | None) -> None:
        """Take the directory for a run, or go on with the same one; raises FeaturespaceError if it holds another.

        Parameters
        ----------
        config_text : the resolved configuration, written at once
        difference : how a configuration already there differs, in words; None if there is none or it is the same
        """
        if difference:
            raise FeaturespaceError(
                f"{self.path} holds another run ({difference}); choose another --out, or delete that directory"
            )
        if not self.config.exists():
            taken = [name for name in RESERVED if (self.path / name).exists()]
            if taken:
                raise FeaturespaceError(
                    f"{self.path} is not empty and no run of ours: it holds {', '.join(taken)} but no config.yaml; "
                    "choose another --out"
                )
        try:
            files.write_text(self.config, config_text)
        except OSError as error:
            raise FeaturespaceError(
                f"{self.path} cannot be written ({error.strerror}); choose another --out"
            ) from error

    def begin(self) -> None:
        """Take away what a finished run ends with, so that an interrupted one is not taken for finished."""
        for name in ("report.html", "summary.json", "provenance.json"):
            (self.path / name).unlink(missing_ok=True)

    def forget_tables_of_other_features(self, key: str) -> None:
        """Delete tables and figures that were made from other features than those with this key."""
        if self._table_record().get("features") != key:
            shutil.rmtree(self.path / "tables", ignore_errors=True)
            shutil.rmtree(self.path / "figures", ignore_errors=True)
            files.write_json(self.path / "tables" / "source.json", {"features": key, "sha256": {}})

    def _table_record(self) -> dict[str, Any]:
        file = self.path / "tables" / "source.json"
        try:
            return files.read_json(file) if file.is_file() else {}
        except ValueError:
            return {}

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Write a table as CSV and Parquet, checked against its schema."""
        table = validate(table, SCHEMAS[name])
        folder = self.path / "tables"
        # 17 digits: a float read from the CSV is the float that was written.
        files.write_atomic(folder / f"{name}.csv", lambda path: table.to_csv(path, index=False, float_format="%.17g"))
        files.write_atomic(folder / f"{name}.parquet", lambda path: table.to_parquet(path, index=False))
        record = self._table_record()
        hashes = {file: files.hash_file(folder / file) for file in (f"{name}.csv", f"{name}.parquet")}
        files.write_json(folder / "source.json", {**record, "sha256": {**record.get("sha256", {}), **hashes}})

    def write_figure(self, name: str, figure: Figure) -> None:
        """Write a figure as PDF, SVG and PNG (300 dpi)."""
        import matplotlib

        # Text stays text; no dates and no random names in the files: the same run makes the same bytes.
        metadata: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # laid out once, not once a format
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "pdf.fonttype": 42}):
            for suffix in FIGURE_FORMATS:
                files.write_atomic(
                    self.figure_path(name, suffix),
                    lambda path, suffix=suffix: figure.savefig(path, dpi=300, metadata=metadata[suffix]),  # type: ignore[misc]
                )

    def write_json(self, name: str, value: Any) -> None:
        """Write `summary.json` or `provenance.json`."""
        files.write_json(self.path / name, value)


def load(path: str | Path) -> Run:
    """Return the run in a directory; raises FeaturespaceError if there is none."""
    run = Run(path)
    if not run.config.is_file():
        raise FeaturespaceError(
            f"{path} holds no run (there is no config.yaml); `featurespace analyze ... --out {path}` makes one"
        )
    return run
