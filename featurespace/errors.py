"""What a user can repair, said so that the next step is clear."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from pathlib import Path


class FeaturespaceError(Exception):
    """A problem that the user can repair; the command line prints it without a traceback and exits with 2.

    The message says what was wrong, the value seen, what is allowed and what to do next.
    """

    def __str__(self) -> str:
        return visible(super().__str__())


def visible(text: str) -> str:
    """Return text in which a file's name can do nothing to a terminal: control characters are escaped."""
    return "".join(
        each if each.isprintable() or each in "\n\t" else each.encode("unicode_escape").decode() for each in text
    )


def counted(count: int, one: str, several: str = "") -> str:
    """Return a number and what it counts: 1 image, 2,000 images; ``several`` where it is not ``one`` with an s.

    >>> counted(1, "class", "classes"), counted(2000, "image")
    ('1 class', '2,000 images')
    """
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def nearest(name: str, choices: Iterable[str], *, count: int = 3) -> list[str]:
    """Return up to ``count`` of the choices that read most like ``name``, best first."""
    known = {choice.lower(): choice for choice in choices}
    return [known[key] for key in difflib.get_close_matches(name.lower(), known, n=count, cutoff=0.5)]


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return the end of a sentence with the choices that read like ``name``; nothing where none does.

    >>> did_you_mean("cuad", ["auto", "cuda"])
    "; did you mean 'cuda'?"
    """
    close = nearest(name, choices)
    return "; did you mean " + " or ".join(repr(choice) for choice in close) + "?" if close else ""


def beside(path: Path) -> str:
    """Return the end of a sentence with what is called nearly like a path that is not there; nothing where nothing is."""
    close = nearest(path.name, os.listdir(path.parent)) if os.path.isdir(path.parent) else []
    return f"; did you mean {path.parent / close[0]}?" if close else ""


def unknown(kind: str, name: str, choices: Iterable[str], *, where: str = "", hint: str = "") -> FeaturespaceError:
    """Return the error for a name that is none of the choices, with the nearest ones or the whole list.

    Parameters
    ----------
    kind : what the name stands for, e.g. ``"layer"``
    name : the value seen
    choices : all allowed values; at most a dozen are listed
    where : where it was looked for, e.g. ``"resnet18"``
    hint : the next step, e.g. a command that lists the choices
    """
    choices = list(choices)
    message = f"{kind} {name!r} is not known" + (f" in {where}" if where else "")
    close = did_you_mean(name, choices)
    if close:
        message += close
    elif choices:
        shown = ", ".join(choices[:12]) + (f" and {len(choices) - 12} more" if len(choices) > 12 else "")
        message += f"; allowed: {shown}"
    return FeaturespaceError(message + (f" {hint}" if hint else ""))


def needs_extra(what: str, package: str, extra: str) -> FeaturespaceError:
    """Return the error for a package that is not installed because it belongs to an extra."""
    return FeaturespaceError(
        f"{what} needs {package}, which is not installed; run: pip install 'featurespace[{extra}]'"
    )
