"""Ratios of an earlier run of the benchmarks, and whether those of a new one got clearly worse."""

from __future__ import annotations

import json
from pathlib import Path

FILE = Path(__file__).with_name("ratios.json")
CLEARLY = 1.25  # times an earlier ratio: one machine's repeats lie within 10 %


def worse(name: str, found: dict[str, float], stored: dict[str, dict[str, float]]) -> list[str]:
    """Return a sentence for every ratio that got clearly worse; larger is worse."""
    return [
        f"{name}, {each}: {ratio:.2f}, {ratio / known:.2f} times the stored {known:.2f}"
        for each, ratio in found.items()
        if (known := stored.get(name, {}).get(each)) is not None and ratio > CLEARLY * known
    ]


def check(name: str, found: dict[str, float], *, write: bool) -> int:
    """Compare with the stored ratios, or store these; return the exit code."""
    stored = json.loads(FILE.read_text()) if FILE.exists() else {}
    if write:
        stored[name] = stored.get(name, {}) | {each: round(ratio, 3) for each, ratio in found.items()}
        FILE.write_text(json.dumps(stored, indent=2, sort_keys=True) + "\n")
        return 0
    problems = worse(name, found, stored)
    print("\n".join(problems) or f"{name}: no ratio is clearly worse ({CLEARLY} times) than the stored one")
    return 1 if problems else 0
