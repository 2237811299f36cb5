"""Options that every room checks alike: counts are whole numbers, randomness comes from a generator."""

from __future__ import annotations

from typing import Any

import numpy as np


def check_counts(**counts: Any) -> None:
    """Raise ValueError unless each option is a whole number; True and 2.0 are none.

    Examples
    --------
    >>> check_counts(k=5, folds=np.int64(3))
    >>> check_counts(k=2.5)
    Traceback (most recent call last):
    ValueError: k is 2.5 (float); it counts something and must be a whole number, e.g. 2
    """
    for name, value in counts.items():
        if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
            example = int(value) if isinstance(value, float) and np.isfinite(value) else 5
            raise ValueError(
                f"{name} is {value!r} ({type(value).__name__}); it counts something and must be a whole number, "
                f"e.g. {example}"
            )


def check_generator(rng: Any) -> None:
    """Raise ValueError unless rng is a source of randomness, as all functions that draw take it.

    Examples
    --------
    >>> check_generator(np.random.default_rng(0))
    >>> check_generator(None)
    Traceback (most recent call last):
    ValueError: rng is None (NoneType); what draws takes a generator, e.g. rng=np.random.default_rng(0)
    """
    if not isinstance(rng, np.random.Generator):
        raise ValueError(
            f"rng is {rng!r} ({type(rng).__name__}); what draws takes a generator, e.g. rng=np.random.default_rng(0)"
        )
