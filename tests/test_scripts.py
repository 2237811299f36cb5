"""The scripts in analyses/ and figures/ run on a run directory, from top to bottom."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted([*ROOT.glob("analyses/*.py"), *ROOT.glob("figures/*.py")])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_it_runs(script, small_run, tmp_path):
    environment = {**os.environ, "RUN": str(small_run.path), "OUT": str(tmp_path)}
    result = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    if script.parent.name == "figures":
        assert {path.suffix for path in tmp_path.iterdir()} == {".pdf", ".svg", ".png"}
    else:
        assert (small_run.path / f"{script.stem}.csv").stat().st_size > 100


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_it_reads_as_a_script(script):
    text = script.read_text()
    assert text.count("\n") <= 80 and text.startswith('"""') and "# %%" in text
    assert "argparse" not in text and "sys.argv" not in text and "\ndef " not in text
