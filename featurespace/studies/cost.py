"""What is left to do in a study, by the time that its finished cells took."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from featurespace.studies.cells import Cell
from featurespace.studies.ledger import FINISHED, State


def seconds_left(found: Sequence[tuple[Cell, State]]) -> tuple[float, int]:
    """Return the seconds that the cells to come will take one after another, and how many have nothing to judge by.

    A cell takes as long as the median of finished ones of its kind, data, size, and epochs times share of the images.
    """
    rates: dict[tuple, list[float]] = {}
    for cell, state in found:
        if state.word == FINISHED and state.seconds is not None:
            rates.setdefault(_like(cell), []).append(state.seconds / _work(cell))
    left = [cell for cell, state in found if state.word != FINISHED]
    known = [cell for cell in left if _like(cell) in rates]
    return sum(median(rates[_like(cell)]) * _work(cell) for cell in known), len(left) - len(known)


def _like(cell: Cell) -> tuple:
    return (cell.kind, cell.config.data, cell.config.image_size, cell.config.batch_size, cell.config.precision)


def _work(cell: Cell) -> float:
    return cell.config.epochs * getattr(cell.config, "fraction", 1.0)
