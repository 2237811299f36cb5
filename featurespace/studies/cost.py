"""What is left to do in a study: by the time that its finished cells took, or by a step of each kind, timed."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from featurespace.models.specs import parse_model_spec
from featurespace.progress import Progress
from featurespace.studies.cells import Cell
from featurespace.studies.ledger import FINISHED, State
from featurespace.training.settings import FinetuneConfig


def seconds_left(found: Sequence[tuple[Cell, State]]) -> tuple[float, list[Cell]]:
    """Return the seconds that the cells to come will take one after another, and those cells that have nothing to judge by.

    A cell takes as long as the median of finished ones of its kind, network, data, size and mode, epochs times share of the images.
    """
    archs = _architectures([cell for cell, _ in found])
    rates: dict[tuple, list[float]] = {}
    for cell, state in found:
        if state.word == FINISHED and state.seconds is not None:
            rates.setdefault(_like(cell, archs), []).append(state.seconds / _work(cell))
    left = [cell for cell, state in found if state.word != FINISHED]
    known = [cell for cell in left if _like(cell, archs) in rates]
    seconds = sum(median(rates[_like(cell, archs)]) * _work(cell) for cell in known)
    return seconds, [cell for cell in left if _like(cell, archs) not in rates]


def timed_seconds(wanted: Sequence[Cell], cells: Sequence[Cell], progress: Progress) -> float:
    """Return the seconds of training of some cells of a study one after another, from one timed step of each kind of them.

    Raises FeaturespaceError for what a training would refuse at its start: images, masks, labels, too little data.
    """
    archs = _architectures(cells)
    rates: dict[tuple, float] = {}
    kinds = len({_like(cell, archs) for cell in wanted})
    with progress.bar("timed", kinds, "kinds of training") as advance:
        for cell in wanted:
            if _like(cell, archs) not in rates:
                rates[_like(cell, archs)] = _planned_seconds(cell, archs[cell.name]) / _work(cell)
                advance(1)
    return sum(rates[_like(cell, archs)] * _work(cell) for cell in wanted)


def _planned_seconds(cell: Cell, arch: str) -> float:
    from featurespace.training.finetune import plan_finetuning
    from featurespace.training.pretrain import plan_pretraining

    config = cell.config if cell.parent is None else cell.config.model_copy(update={"model": f"{arch}@random"})
    return plan_finetuning(config).seconds if isinstance(config, FinetuneConfig) else plan_pretraining(config).seconds


def _architectures(cells: Sequence[Cell]) -> dict[str, str]:
    """Return the network of each cell; that of a cell whose parent is still to be trained is its parent's."""
    found: dict[str, str] = {}
    for cell in cells:  # parents first
        found[cell.name] = found.get(cell.parent or "") or str(parse_model_spec(cell.config.model, bare=True).arch)
    return found


def _like(cell: Cell, archs: dict[str, str]) -> tuple[Any, ...]:
    config = cell.config
    form = (cell.kind, archs[cell.name], config.data, config.image_size, config.batch_size, config.precision)
    return form + tuple(getattr(config, name, None) for name in ("method", "task", "mode"))


def _work(cell: Cell) -> float:
    return cell.config.epochs * getattr(cell.config, "fraction", 1.0)
