"""The tables of a run as they lie in its folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from featurespace import memory
from featurespace.errors import FeaturespaceError, unknown


class Tables(Mapping[str, pd.DataFrame]):
    """The tables of a run by name, read when asked for."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __getitem__(self, name: str) -> pd.DataFrame:
        if name not in self._names():
            raise KeyError(str(unknown("table", name, self, where=str(self.folder))))
        file = self.folder / f"{name}.parquet"
        try:
            return pd.read_parquet(file)
        except Exception as error:  # of a broken file pyarrow raises anything
            memory.pass_on(error, f"reading {file}")
            raise FeaturespaceError(f"{file} cannot be read ({error}); run the same command again") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def _names(self) -> list[str]:
        return sorted(file.stem for file in self.folder.glob("*.parquet") if not file.name.startswith("."))

    def __repr__(self) -> str:
        return f"Tables({', '.join(self)})"
