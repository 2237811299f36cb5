"""Each line of the page on threats names a test that is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_each_threat_has_its_test():
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs" / "threats.md").read_text())
    lines = [line for line in (ROOT / "docs" / "threats.md").read_text().splitlines() if line.startswith("| ")]
    assert len(named) == len(lines) - 1 >= 10  # the first is the head of the table
    for file, name in named:
        assert f"def {name}(" in (ROOT / file).read_text(), f"{file} has no {name}"
