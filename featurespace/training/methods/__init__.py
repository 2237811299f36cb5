"""Methods of pretraining, one file each: a class ``Method`` with its options; a new file is a new method."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING

from featurespace.errors import unknown

if TYPE_CHECKING:
    from featurespace.training.method import PretrainingMethod


def names() -> list[str]:
    """Return the methods there are."""
    return sorted(each.name for each in pkgutil.iter_modules(__path__))


def find(name: str) -> type[PretrainingMethod]:
    """Return the class of a method."""
    if name not in names():
        raise unknown("method", name, names())
    return import_module(f"{__name__}.{name}").Method
