"""Files that a command has hashed must stay what they were until it has read them."""

from __future__ import annotations

import os
from pathlib import Path

from featurespace.errors import FeaturespaceError


class Changed(FeaturespaceError):
    """A file is not what it was when this command began; whatever is left out elsewhere, this is an error."""


class Watched:
    """Size and time of files when they were hashed."""

    def __init__(self) -> None:
        self.seen: dict[str, tuple[int, int] | None] = {}

    def note(self, path: str | Path) -> None:
        """Remember a file as it is now; the first time counts."""
        self.seen.setdefault(str(path), _state(path))

    def check(self, path: str | Path, what: str | Path | None = None) -> None:
        """Raise `Changed` where a file that was noted is another one now, or gone.

        Parameters
        ----------
        what : what to call it, where its path may name a patient
        """
        if str(path) in self.seen and self.seen[str(path)] != _state(path):
            raise Changed(
                f"{path if what is None else what} has changed, come or gone while this command was running, so that features "
                "would belong to other images than the record says; run the same command again when nothing writes there any more"
            )


def _state(path: str | Path) -> tuple[int, int] | None:
    try:
        about = os.stat(path)
    except OSError:
        return None
    return about.st_size, about.st_mtime_ns
