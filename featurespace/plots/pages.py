"""Pages of panels: the tasks and metrics of an experiment, a few at a time."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

PANELS = 6  # on one page


def pages(table: pd.DataFrame, *, panels: int = PANELS) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield experiment, name of the page and its rows; a page has the rows of up to ``panels`` tasks and metrics."""
    for experiment, rows in table.groupby("experiment", sort=False):
        places = list(dict.fromkeys(zip(rows["task"], rows["metric"])))
        for start in range(0, len(places), panels):
            chosen = places[start : start + panels]
            name = f"{experiment}_{start // panels + 1}" if len(places) > panels else str(experiment)
            yield str(experiment), name, rows[[each in chosen for each in zip(rows["task"], rows["metric"])]]
