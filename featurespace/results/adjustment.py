"""Runs of a pretraining moved to another size of its data set, along the line through two sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from featurespace.errors import FeaturespaceError, unknown
from featurespace.results.rows import RUN_KEYS
from featurespace.results.settings import PLACE
from featurespace.yaml_files import checked, read_yaml


class Known(BaseModel):
    """A pretraining whose data set has a known size."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pretraining: str = Field(min_length=1, description="Name in the runs table.")
    size: float = Field(gt=0, allow_inf_nan=False, description="Images that it was pretrained on.")


class Adjustment(BaseModel):
    """A pretraining that nobody ran: the smaller one, were its data set ``factor`` times as large."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, description="Name that the moved runs get.")
    small: Known = Field(description="The pretraining at its smaller size; this size times factor is gone to.")
    large: Known = Field(description="The same kind of pretraining at a larger size; its runs are the ones moved.")
    factor: float = Field(gt=0, allow_inf_nan=False, description="Size gone to, over that of small.")
    errors: Literal["independent", "exact"] = Field(
        default="independent",
        description="Propagation: independent takes slope and intercept as if they were (as published), exact does not.",
    )


class Adjustments(BaseModel):
    """A file for `featurespace compare --adjust`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    adjustments: tuple[Adjustment, ...] = Field(min_length=1, description="Pretrainings to add, each moved to a size.")


class Point(NamedTuple):
    """Mean of a score and its standard deviation, at a size."""

    size: float
    mean: float
    error: float


def read_adjustments(file: str | Path) -> tuple[Adjustment, ...]:
    """Return the adjustments of a YAML file; raises FeaturespaceError with the key, the value and what is allowed."""
    found = checked(Adjustments, read_yaml(Path(file).expanduser(), Adjustments)).adjustments
    for each in found:
        if each.small.size == each.large.size:
            raise FeaturespaceError(
                f"{file}: {each.name!r} has two pretrainings of the same size ({each.small.size:g}); a line needs two sizes"
            )
    names = [each.name for each in found]
    for name in names:
        if names.count(name) > 1:
            raise FeaturespaceError(f"{file}: two adjustments are called {name!r}; give each a name of its own")
    return found


def extrapolated(small: Point, large: Point, size: float, *, errors: str = "independent") -> Point:
    """Return mean and error at a size, on the line through two points.

    With dx = x2 - x1 the slope is m = (y2 - y1) / dx, with error sqrt(e1^2 + e2^2) / dx, and the intercept y2 - m x2, with
    error sqrt(e2^2 + me^2 x2^2).

    Parameters
    ----------
    small, large : the two points, at different sizes
    size : where to
    errors : ``"independent"`` adds the errors of slope and intercept as if these were independent, which they are not:
        ``sqrt(me^2 x^2 + ce^2)``, too large; ``"exact"`` adds those of the two means: ``sqrt((1 - s)^2 e1^2 + s^2 e2^2)``
        with s = (x - x1) / dx

    Returns
    -------
    Point
        At the size.
    """
    step = large.size - small.size
    slope = (large.mean - small.mean) / step
    mean = slope * size + (large.mean - slope * large.size)
    if errors == "exact":
        share = (size - small.size) / step
        return Point(size, mean, float(np.hypot((1 - share) * small.error, share * large.error)))
    slope_error = float(np.hypot(small.error, large.error)) / abs(step)
    intercept_error = float(np.hypot(large.error, slope_error * large.size))
    return Point(size, mean, float(np.hypot(slope_error * size, intercept_error)))


def adjusted_runs(runs: pd.DataFrame, adjustments: tuple[Adjustment, ...]) -> pd.DataFrame:
    """Return the runs with those of each adjustment added after the small pretraining's.

    The runs v of the larger pretraining become ``(v - y2) / e2 * e3 + y3``: as many, with the mean and the standard
    deviation (ddof 0) at the size gone to.

    Parameters
    ----------
    runs : table with the columns of `read_runs`
    adjustments : what to add; for every experiment, task and metric in which both pretrainings have two runs or more

    Raises
    ------
    FeaturespaceError
        a pretraining is not in the table, a name is taken, the two nowhere have two runs each of the same task, or runs of
        the larger one have no variance, by which they could be rescaled
    """
    known = list(dict.fromkeys(runs["pretraining"]))
    for each in adjustments:
        for source in (each.small.pretraining, each.large.pretraining):
            if source not in known:
                raise unknown("pretraining", source, known, where=f"the runs, for the adjustment {each.name!r}")
        if each.name in known:
            raise FeaturespaceError(
                f"the adjustment {each.name!r} has the name of a pretraining in the runs; choose another"
            )
    added: dict[str, list[pd.DataFrame]] = {}
    for each in adjustments:
        places = [rows for _, rows in runs.groupby(list(PLACE), sort=False) if _has_both(rows, each)]
        if not places:
            raise FeaturespaceError(
                f"the adjustment {each.name!r}: {each.small.pretraining!r} and {each.large.pretraining!r} nowhere have two "
                "runs each of the same experiment, task and metric"
            )
        for rows in places:
            added.setdefault(each.small.pretraining, []).append(_moved(rows, each))
    order = [table for name in known for table in (runs[runs["pretraining"] == name], *added.get(name, []))]
    return pd.concat(order, ignore_index=True)


def _has_both(rows: pd.DataFrame, adjustment: Adjustment) -> bool:
    """Whether both have a mean and a deviation."""
    counts = rows["pretraining"].value_counts()
    return all(counts.get(each.pretraining, 0) > 1 for each in (adjustment.small, adjustment.large))


def _moved(rows: pd.DataFrame, adjustment: Adjustment) -> pd.DataFrame:
    small, large = (rows[rows["pretraining"] == each.pretraining] for each in (adjustment.small, adjustment.large))
    first, second = (
        Point(known.size, float(of["value"].mean()), float(of["value"].std(ddof=0)))
        for known, of in ((adjustment.small, small), (adjustment.large, large))
    )
    if second.error == 0:
        place = rows.iloc[0]
        raise FeaturespaceError(
            f"the adjustment {adjustment.name!r}: the runs of {adjustment.large.pretraining!r} on {place['task']} "
            f"({place['metric']}) are all {second.mean:g}; without variance they cannot be rescaled"
        )
    size = adjustment.small.size * adjustment.factor
    at = extrapolated(first, second, size, errors=adjustment.errors)
    values = (large["value"] - second.mean) / second.error * at.error + at.mean
    return large[list(RUN_KEYS)].assign(pretraining=adjustment.name, value=values)
