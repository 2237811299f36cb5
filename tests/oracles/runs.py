"""What two runs of the same command must have in common, bit for bit."""

import re
from pathlib import Path

TIMES = {"provenance.json", "report.html", "hashes.json", ".lock"}  # hold times


def contents(folder):
    """Every file of a run and its bytes, without those that hold times."""
    found = {str(file.relative_to(folder)): file for file in sorted(Path(folder).rglob("*")) if file.is_file()}
    return {name: file.read_bytes() for name, file in found.items() if name not in TIMES}


def report_but_for_times(folder):
    """The report's text without dates and seconds."""
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:+]+", "TIME", (Path(folder) / "report.html").read_text())
    return re.sub(r"<td>[\d.]+</td></tr>", "<td>SECONDS</td></tr>", text)
