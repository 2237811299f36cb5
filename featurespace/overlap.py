"""The leakage check: what data sets, or the splits of one, share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from featurespace import files
from featurespace.errors import FeaturespaceError
from featurespace.progress import Progress
from featurespace.spreadsheets import guarded

if TYPE_CHECKING:
    from featurespace.data.dataset import ImageData
    from featurespace.tables.leakage import Side
    from featurespace.tables.memo import Memo

MOST = 20_000  # images of a data set that `analyze` compares with those of others


def leakage(
    data: Sequence[str], out: str | Path | None = None, *, progress: Progress | None = None
) -> dict[str, pd.DataFrame]:
    """Return what every two data sets, and every two splits of one, share: patients, studies, images that are or look alike.

    Parameters
    ----------
    data : data specs, LABEL=PATH
    out : directory for the tables as CSV; none is written by default
    progress : where to tell what happens; silent by default

    Returns
    -------
    dict of DataFrame
        ``leakage``: counts by kind, missing where the source does not tell; ``leakage_pairs``: which, at most 1,000 of a kind.

    Raises
    ------
    FeaturespaceError
        a data set cannot be read, or one data set without splits is given, which there is nothing to compare with

    Notes
    -----
    Each image is decoded once; then every pair is compared. Near-identical are images whose perceptual hashes differ in at most 10
    of 64 bits and whose 32 x 32 grey pictures correlate by 0.98: of copies saved as JPEG of quality 50, halved in size, brightened
    or with noise of 8 of 255, 92 to 100 % are found; of copies that lost 2 % at each edge 46 % (photographs) and 98 % (MRI), at 5 %
    4 and 42 %; of 77,028 pairs of different photographs 3 are called near-identical (the demo's images, 2026-11-28). Mirrored
    and turned copies are not found. Patients are known by name within one command and never written.
    """
    from featurespace.data.specs import open_all

    progress = progress or Progress()
    found = open_all(list(data))
    tables = compared(found, progress, images=True)
    if not len(tables["leakage"]):
        raise FeaturespaceError(
            f"there is nothing to compare data set {found[0].name!r} with: it has no splits; give two data sets, or one with "
            "train and test"
        )
    for name, table in tables.items() if out is not None else ():
        files.write_atomic(Path(str(out)) / f"{name}.csv", partial(guarded(table).to_csv, index=False))
    return tables


def compared(data: Sequence[ImageData], progress: Progress, *, images: bool) -> dict[str, pd.DataFrame]:
    """Return the tables of open data sets; without ``images`` patients and studies alone are compared."""
    from featurespace.tables.leakage import leakage_tables

    several = len(data) > 1
    with progress.bar("leakage", sum(map(len, data)), "images") as advance:
        sides = [_side(each, advance if images and (several or _splits(each)) else None) for each in data]
    return leakage_tables(sides)


def recalled(
    data: Sequence[ImageData], hashes: dict[str, str], memo: Memo, progress: Progress
) -> dict[str, pd.DataFrame]:
    """Return the tables of a run's data sets, from its memory where they are the same, and say what is shared.

    Images are compared where no data set has more than `MOST`.
    """
    from featurespace.tables.data_schemas import LEAKAGE, LEAKAGE_PAIRS
    from featurespace.tables.leakage import leakage_sentences
    from featurespace.tables.memo import Result
    from featurespace.tables.schema import validate

    images = max(map(len, data)) <= MOST
    if not images:
        progress.say(
            f"leakage: patients and studies alone are compared, since a data set has more than {MOST:,} images; "
            "`featurespace leakage` compares images too"
        )

    def make() -> Result:
        made = compared(data, progress, images=images)
        rows = [
            {"table": name, **row} for name, table in made.items() for row in table.astype(object).to_dict("records")
        ]
        return Result([{key: None if value is pd.NA else value for key, value in row.items()} for row in rows], {})

    rows = memo.recall("leakage", {"data": hashes, "images": images}, make).rows
    tables = {
        schema.name: validate(
            [{k: v for k, v in row.items() if k != "table"} for row in rows if row["table"] == schema.name], schema
        )
        for schema in (LEAKAGE, LEAKAGE_PAIRS)
    }
    for sentence, shared in leakage_sentences(tables["leakage"]):
        if shared:
            progress.say(f"leakage: {sentence}")
    return tables


def _splits(data: ImageData) -> bool:
    return bool(data.samples["split"].nunique() > 1)


def _side(data: ImageData, advance: Callable[[int], object] | None) -> Side:
    from featurespace.data.signatures import signatures
    from featurespace.tables.leakage import Side

    looks = signatures(data, advance) if advance is not None else None
    return Side(data.name, data.samples, {kind: data.identities(kind) for kind in ("patient", "study")}, looks)
