"""A run directory: the only place that knows its paths."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from featurespace import files, locking
from featurespace.errors import FeaturespaceError, beside, unknown
from featurespace.features.store import FeatureStore
from featurespace.record import NAME, STORES, Record
from featurespace.spreadsheets import guarded
from featurespace.tables.data_schemas import SCHEMAS as IMAGES
from featurespace.tables.folder import Tables
from featurespace.tables.memo import Memo
from featurespace.tables.result_schemas import SCHEMAS as RESULTS
from featurespace.tables.schema import SCHEMAS, validate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURE_FORMATS = ("pdf", "svg", "png")
FIGURE_DPI = 300  # of what has pixels
LAST = ("report.html", "summary.json", "provenance.json")  # what a finished run ends with
RESERVED = (*LAST, NAME, "config.yaml", "tables", "figures", "features", "statistics")
FOLDERS = ("", "tables", "figures", "statistics", "features/*/*", "export", "export/*/*")  # with files of ours


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
        self.path = Path(path).expanduser()
        self.tables = Tables(self.path / "tables")
        self._record = Record(self.path)

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
        with locking.locked(self.path, self.config):
            with files.writing(self.path):
                for folder in FOLDERS:
                    for each in self.path.glob(folder) if folder else [self.path]:
                        files.remove_partial(each)
            yield

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
        """Read everything the run wrote; return what was read, or raise FeaturespaceError naming the file that differs."""
        record = self._record.read()
        if not record["finished"]:
            raise FeaturespaceError(f"the run in {self.path} is unfinished; run the same command again to finish it")
        for name in record["sha256"]:
            if not self._record.holds(name):
                raise FeaturespaceError(f"{self.path / name} is not what was written; run the same command again")
        if (result := self.memo().damaged()) is not None:
            raise FeaturespaceError(f"{result} is not what was written; run the same command again")
        stores = sorted(file.parent for file in self.path.glob(STORES))
        for store in stores:
            FeatureStore.open(store, verify=True)
        return [*(str(store.relative_to(self.path)) for store in stores), *record["sha256"]]

    def check_tables(self) -> None:
        """Raise FeaturespaceError where what figures and report are made from is missing, or not as it was written."""
        made_from = [
            name for name in self._record.read()["sha256"] if name.startswith(("tables/", "summary", "proven"))
        ]
        if not any(name.startswith("tables/") for name in made_from):
            raise FeaturespaceError(
                f"{self.path} holds no tables; `featurespace analyze` with --out {self.path} makes them"
            )
        for name in made_from:
            if not self._record.holds(name):
                raise FeaturespaceError(f"{self.path / name} is not what was written; run the same command again")

    def stores(self) -> list[FeatureStore]:
        """Return the finished features of every model on every data set that the run's directory holds."""
        found = []
        for file in sorted(self.path.glob(STORES)):
            with contextlib.suppress(FeaturespaceError):
                found.append(FeatureStore.open(file.parent))
        return found

    def unfinished(self) -> list[str]:
        """Return what an interrupted extraction left, as ``MODEL on DATA``."""
        finished = {store.path for store in self.stores()}
        folders = [file.parent for file in sorted(self.path.glob(STORES)) if file.parent not in finished]
        return [" on ".join(folder.relative_to(self.path / "features").parts) for folder in folders]

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

    def claim(self, difference: str | None) -> None:
        """Raise FeaturespaceError where the directory holds another run, or files of somebody else.

        Parameters
        ----------
        difference : how a configuration already there differs, in words; None if there is none or it is the same
        """
        if difference:
            raise FeaturespaceError(
                f"{self.path} holds another run ({difference}); choose another --out, or delete that directory"
            )
        taken = [name for name in RESERVED if (self.path / name).exists()]
        if taken and not self.config.exists():
            raise FeaturespaceError(
                f"{self.path} is not empty and no run of ours: it holds {', '.join(taken)} but no config.yaml; "
                "choose another --out"
            )

    def begin(self, started: str, config_text: str) -> None:
        """Write the resolved configuration, and take away what a finished run ends with."""
        files.write_text(self.config, config_text)  # first: by it the directory is known to be ours
        self._record.begin(started, LAST)
        self._record.add("config.yaml")
        with files.writing(self.path):
            for name in LAST:
                (self.path / name).unlink(missing_ok=True)

    def parts(self, ended: str) -> list[dict[str, str]]:
        """Return when each process that worked on this run started and ended; more than one: it was interrupted."""
        return self._record.parts(ended)

    def finish(self) -> None:
        """Say that the run holds everything; from now on `verify` tells what differs."""
        self._record.finish()

    def forget_other_tables(self, key: str) -> list[str]:
        """Delete tables of other features than those with this key, or not as they were written; name the latter.

        Figures go with them: they are drawn again from the tables that stay.
        """
        record = self._record.read()
        there = [file.stem for file in (self.path / "tables").glob("[!.]*")]
        known = {Path(name).stem for name in record["sha256"] if name.startswith("tables/")}.union(there)
        same = record["features"] == key
        changed = [name for name in sorted(known) if not same or not self._record.holds(*_files_of(name))]
        if changed or not same:
            gone = [file for name in changed for file in _files_of(name)]
            with files.writing(self.path):
                for file in gone:
                    (self.path / file).unlink(missing_ok=True)
                if (self.path / "figures").exists():
                    shutil.rmtree(self.path / "figures")
            self._record.change(features=key, sha256=self._record.without(["figures/", *gone]))
        return changed if same else []

    def _write(self, name: str, write: Callable[[Path], object]) -> None:
        """Write a file of the run whole, then its hash."""
        files.write_atomic(self.path / name, write)
        self._record.add(name)

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Write a table as CSV and Parquet, checked against its schema."""
        table = validate(table, (SCHEMAS | RESULTS | IMAGES)[name])
        self._write(f"tables/{name}.csv", lambda path: _to_csv(table, path))
        self._write(f"tables/{name}.parquet", lambda path: table.to_parquet(path, index=False))

    def write_figure(self, name: str, figure: Figure, data: pd.DataFrame, caption: str) -> None:
        """Write a figure as PDF, SVG and PNG (300 dpi), its data as CSV and the draft of its caption."""
        for file in save_figure(figure, self.path / "figures" / name):
            self._record.add(f"figures/{file.name}")
        self._write(f"figures/{name}.csv", lambda path: _to_csv(data, path))
        self.write_text(f"figures/{name}.txt", caption + "\n")

    def remove_figures(self, start: str) -> None:
        """Take away the figures whose names start so, which an earlier command drew."""
        with files.writing(self.path):
            for file in sorted((self.path / "figures").glob(f"{start}*")):
                file.unlink()
        self._record.change(sha256=self._record.without([f"figures/{start}"]))

    def write_json(self, name: str, value: Any) -> None:
        """Write `summary.json` or `provenance.json`."""
        files.write_json(self.path / name, value)
        self._record.add(name)

    def write_text(self, name: str, text: str) -> None:
        """Write `report.html`, or another text."""
        files.write_text(self.path / name, text)
        self._record.add(name)


def _files_of(table: str) -> tuple[str, str]:
    return f"tables/{table}.csv", f"tables/{table}.parquet"


def _to_csv(table: pd.DataFrame, path: Path) -> None:
    # 17 digits: a float read from the CSV is the float that was written.
    guarded(table).to_csv(path, index=False, float_format="%.17g")


def save_figure(figure: Figure, path: str | Path) -> list[Path]:
    """Write a figure as PDF, SVG and PNG (300 dpi), text as text; return the files.

    Parameters
    ----------
    figure : the figure
    path : where to, without a suffix; folders are made
    """
    import matplotlib

    path = Path(path)
    written = []
    # No dates and no random names in the files: the same figure makes the same bytes.
    metadata: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once, not once a format
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": path.name, "pdf.fonttype": 42}):
        for suffix in FIGURE_FORMATS:
            file = path.with_name(f"{path.name}.{suffix}")
            options: dict[str, Any] = {"dpi": FIGURE_DPI, "metadata": metadata[suffix]}
            files.write_atomic(file, partial(figure.savefig, **options))
            written.append(file)
    return written


def load(path: str | Path) -> Run:
    """Return the run in a directory; raises FeaturespaceError if there is none."""
    run = Run(path)
    if not run.config.is_file():
        raise FeaturespaceError(
            f"{path} holds no run (there is no config.yaml); `featurespace analyze ... --out {path}` makes one"
            + ("" if run.path.exists() else beside(run.path))
        )
    return run
