"""featurespace: what changed between two vision checkpoints, with an interval and n on every number.

In scripts: ``import featurespace as fs``; ``fs.analyze(...)``, ``fs.load("runs/demo")``,
``from featurespace.metrics import cka``.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# Read by torch when it first allocates: tensors in pages of 2 MiB, where Linux has them. Of 4 KiB, ResNet-50 on a CPU asks for a
# million a batch, a third of its time.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

if TYPE_CHECKING:
    from featurespace.analyze import analyze
    from featurespace.comparing import compare
    from featurespace.errors import FeaturespaceError
    from featurespace.exploration import load
    from featurespace.exporting import export
    from featurespace.extraction import extract
    from featurespace.indexing import index
    from featurespace.overlap import leakage
    from featurespace.run import Run, save_figure
    from featurespace.studying import study
    from featurespace.training.finetune import finetune
    from featurespace.training.pretrain import pretrain
    from featurespace.training.settings import FinetuneConfig, PretrainConfig

__version__ = "0.1.0"
__all__ = [
    "FeaturespaceError", "FinetuneConfig", "PretrainConfig", "Run", "__version__", "analyze", "compare", "export", "extract",
    "finetune", "index", "leakage", "load", "pretrain", "save_figure", "study",
]  # fmt: skip

_HOMES = {
    "analyze": "featurespace.analyze",
    "compare": "featurespace.comparing",
    "export": "featurespace.exporting",
    "extract": "featurespace.extraction",
    "finetune": "featurespace.training.finetune",
    "index": "featurespace.indexing",
    "leakage": "featurespace.overlap",
    "load": "featurespace.exploration",
    "pretrain": "featurespace.training.pretrain",
    "save_figure": "featurespace.run",
    "study": "featurespace.studying",
    "FinetuneConfig": "featurespace.training.settings",
    "PretrainConfig": "featurespace.training.settings",
    "Run": "featurespace.run",
    "FeaturespaceError": "featurespace.errors",
}


def __getattr__(name: str) -> Any:
    # Imports cost seconds (torch, timm): a name is imported when it is first used.
    if name not in _HOMES:
        raise AttributeError(f"module 'featurespace' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
