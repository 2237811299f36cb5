"""What a user can send where an error is ours."""

from __future__ import annotations

import json
import os
import tempfile
import traceback

from featurespace.provenance import command_line, installed_versions, machine


def write_bug_report(error: Exception) -> str:
    """Write what a bug report needs into the temporary folder, and return what to tell the user."""
    facts = {"command": command_line(), "versions": installed_versions(), "machine": machine()}
    text = json.dumps(facts, indent=2) + "\n\n" + "".join(traceback.format_exception(error))
    what = f"this is a bug of featurespace ({type(error).__name__}: {error}); please report it with"
    try:
        handle, path = tempfile.mkstemp(prefix="featurespace-bug-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError:  # the temporary folder is full, say
        return f"{what} this:\n{text}"
    return f"{what} the file {path}"
