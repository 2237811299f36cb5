"""The command line as a user meets it, in this process: one of its own would import everything once more."""

import contextlib
import io
import sys
from typing import NamedTuple

import pytest

from featurespace.cli import main


class Result(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def command(*arguments):
    """Run `featurespace ARGUMENTS`, and return how it ended and what it said."""
    output, errors, code = io.StringIO(), io.StringIO(), 0
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
    ):
        for name, value in (("COLUMNS", "200"), ("NO_COLOR", "1")):
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["featurespace", *map(str, arguments)])
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
    return Result(code, output.getvalue(), errors.getvalue())
