"""What torch.save wrote, read without running code from the file: torch's own restricted reader and a short list.

The list maps names in a file to classes that hold data. Most are stand-ins which can do less than the class that was
saved: a path that touches no disk, a mapping without a factory, an array that is never one of objects.
"""

from __future__ import annotations

import argparse
import datetime
import pathlib
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from featurespace import memory
from featurespace.errors import FeaturespaceError
from featurespace.models.archives import SMALL, check_kind, check_zip

MAX_ENTRIES = 5_000_000  # of nested mappings, one counted as often as it is referred to
VIEWS = 8  # times that tensors may show the same bytes: tied weights, averaged copies
TRUSTED = "its code was run (--trust)"


def load_pickle(path: Path, *, trust: bool = False) -> tuple[Any, bool]:
    """Return what torch.save wrote, on the CPU, and whether code from the file was run for it.

    Parameters
    ----------
    trust : run the code of a file that cannot be read without; one that can be is read as if not trusted

    Raises
    ------
    FeaturespaceError
        for a file that is damaged, that declares more than it holds, or that needs code and is not trusted
    """
    is_zip = check_kind(path)
    size, packed = check_zip(path) if is_zip else (path.stat().st_size, False)
    is_script = False
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(allowed()):
            warnings.simplefilter("ignore")  # of pickle protocols, and of storages without a type
            # Mapped, compressed bytes would be taken for weights.
            value = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip and not packed)
    except Exception as error:  # of bytes that may be anything torch raises anything
        memory.pass_on(error, f"reading {path}")
        is_script = "TorchScript" in str(error)
        if not (is_script or isinstance(error, pickle.UnpicklingError) or "legacy .tar" in str(error)):
            raise _damaged(path, error) from error
        if not trust:
            raise FeaturespaceError(_refusal(path, is_zip, error)) from error
    else:
        _check_content(value, size, path)
        return value, False
    return _run(path, is_script), True


def allowed() -> list[Any]:
    """Return the names beyond torch's own that a file may use, as (stand-in, name)."""
    paths = {"PosixPath": pathlib.PurePosixPath, "PurePosixPath": pathlib.PurePosixPath,
             "WindowsPath": pathlib.PureWindowsPath, "PureWindowsPath": pathlib.PureWindowsPath,
             "Path": pathlib.PurePosixPath}  # fmt: skip
    named: dict[str, Any] = {
        f"{module}.{name}": kind for name, kind in paths.items() for module in ("pathlib", "pathlib._local")
    }
    # "core" and "_core" are NumPy 1 and 2.
    for core in ("numpy.core.multiarray", "numpy._core.multiarray"):
        named |= {f"{core}.scalar": _scalar, f"{core}._reconstruct": _array}
    named |= {"numpy.ndarray": _Array, "numpy.dtype": _Dtype}
    # NumPy 2 writes an array's type as one of these classes.
    named |= {f"numpy.dtypes.{name}": _named_dtype(code) for name, code in _DTYPES.items()}
    named |= {name: _Dict for name in ("collections.defaultdict", *_ATTRIBUTE_DICTS)}
    named |= {f"builtins.{name}": _Nothing(name) for name in ("list", "dict", "int", "float", "str", "bool", "tuple")}
    named |= {f"pytorch_lightning.callbacks.{name}": _Nothing(name) for name in _CALLBACKS}
    named |= {f"datetime.{kind.__name__}": kind for kind in _TIMES}
    named |= {"argparse.Namespace": argparse.Namespace, "types.SimpleNamespace": argparse.Namespace}
    named |= {"torch.torch_version.TorchVersion": str, "builtins.bytes": _no_bytes}
    return [(kind, name) for name, kind in named.items()]


_TIMES = (datetime.datetime, datetime.date, datetime.time, datetime.timedelta, datetime.timezone)
_DTYPES = {
    "Float16DType": "f2", "Float32DType": "f4", "Float64DType": "f8", "BoolDType": "b1", "Int8DType": "i1",
    "Int16DType": "i2", "Int32DType": "i4", "Int64DType": "i8", "UInt8DType": "u1", "UInt16DType": "u2",
    "UInt32DType": "u4", "UInt64DType": "u8",
}  # fmt: skip
# Lightning's mapping of hyperparameters has moved several times.
_ATTRIBUTE_DICTS = (
    "pytorch_lightning.utilities.parsing.AttributeDict", "lightning.pytorch.utilities.parsing.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict", "lightning.fabric.utilities.data.AttributeDict",
)  # fmt: skip
_CALLBACKS = (  # classes that Lightning before 1.6 took as keys
    "model_checkpoint.ModelCheckpoint", "early_stopping.EarlyStopping", "lr_monitor.LearningRateMonitor",
    "gpu_stats_monitor.GPUStatsMonitor", "timer.Timer",
)  # fmt: skip


class _Dict:
    """A mapping that comes out as a plain dict; a factory of missing values is left out."""

    def __new__(cls, *args: Any) -> Any:
        return {}


class _Nothing:
    """The name of a class that a file mentions, e.g. as a factory; it makes nothing."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


class _Dtype:
    """A type of numbers or text, never of objects, and never of records."""

    def __init__(self, code: Any = "f8", *flags: Any) -> None:
        if not isinstance(code, str) or not re.fullmatch(r"[biufcSUV]\d{1,4}", code):
            raise pickle.UnpicklingError("GLOBAL numpy.dtype-of-objects is no type of numbers or text")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        if any(part is not None for part in state[2:5]):
            raise pickle.UnpicklingError("GLOBAL numpy.dtype-of-records is no type of numbers or text")
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(">" if state[1] == ">" else "<")


def _named_dtype(code: str) -> Any:
    return type(f"_{code}", (_Dtype,), {"__init__": lambda self, *args: _Dtype.__init__(self, code)})


class _Array(np.ndarray):
    """An array of numbers or text; its bytes must be as many as its shape says."""

    def __new__(cls, *args: Any) -> _Array:
        return super().__new__(cls, (0,))

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, content = state
        if not isinstance(dtype, _Dtype) or not isinstance(content, bytes):
            raise pickle.UnpicklingError("GLOBAL numpy.ndarray-of-objects is no array of numbers or text")
        super().__setstate__((1, tuple(shape), dtype.dtype, bool(fortran), content))  # type: ignore[arg-type]


def _array(*args: Any) -> _Array:
    return _Array()


def _scalar(dtype: Any, content: Any = b"") -> Any:
    if not isinstance(dtype, _Dtype) or not isinstance(content, bytes) or len(content) != dtype.dtype.itemsize:
        raise pickle.UnpicklingError("GLOBAL numpy.scalar-of-objects is no number")
    return np.frombuffer(content, dtype.dtype)[0] if content else dtype.dtype.type()


def _no_bytes() -> bytes:
    return b""  # how protocol 2 writes them; others come by their text


def _check_content(value: Any, size: int, path: Path) -> None:
    """Raise for tensors without values of their own, or which show more than the file holds."""
    if _entries(value, 5, {}) > MAX_ENTRIES:
        raise FeaturespaceError(
            f"checkpoint {path} refers to itself more than {MAX_ENTRIES:,} times; it is no checkpoint"
        )
    storages: dict[int, int] = {}
    shown = 0
    for tensor in _tensors(value):
        vars(tensor).clear()  # attributes could stand in the way of methods
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested or tensor.device.type != "cpu":
            raise FeaturespaceError(
                f"checkpoint {path} holds a tensor that is quantised, sparse or without values ({_kind(tensor)}); save "
                "dense weights: torch.save({k: v.dequantize() for k, v in model.state_dict().items()}, 'weights.pt')"
            )
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        shown += tensor.numel() * tensor.element_size()
    declared = max(shown, sum(storages.values()))
    if declared > VIEWS * size + SMALL:
        raise FeaturespaceError(
            f"checkpoint {path} declares tensors of {declared:,} bytes and holds {size:,}: it is cut off, or made to fill "
            "the memory; take it from its source again"
        )


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield every tensor once, whatever refers to what."""
    waiting, seen = [value], set()
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, Tensor):
            yield each
        elif isinstance(each, Mapping):
            waiting += each.values()
        elif isinstance(each, list | tuple | set):
            waiting += each


def _entries(value: Any, depth: int, known: dict[tuple[int, int], int]) -> int:
    """Return how many entries are met on walking through nested mappings; of shared ones each visit counts."""
    if not isinstance(value, Mapping):
        return 1
    key = (id(value), depth)
    if key not in known:
        known[key] = sum(_entries(each, depth - 1, known) if depth else 1 for each in value.values())
    return known[key]


def _kind(tensor: Tensor) -> str:
    return "quantised" if tensor.is_quantized else f"{tensor.layout}, {tensor.device}".replace("torch.", "")


def _run(path: Path, is_script: bool) -> Any:
    """Load a file by running what it holds; whole networks become their weights."""
    try:
        value = torch.jit.load(path, map_location="cpu") if is_script else torch.load(
            path, map_location="cpu", weights_only=False
        )  # fmt: skip
        if isinstance(value, Mapping):
            return {key: each.state_dict() if isinstance(each, nn.Module) else each for key, each in value.items()}
        return value.state_dict() if isinstance(value, nn.Module) else value
    except Exception as error:  # code from a file raises anything
        hint = "install the package, or put its folder on PYTHONPATH" if isinstance(error, ImportError) else (
            "load it in the environment that wrote it"
        )  # fmt: skip
        raise FeaturespaceError(
            f"checkpoint {path} cannot be loaded although it is trusted ({type(error).__name__}: {_first_line(error)}); {hint}"
        ) from error


def _refusal(path: Path, is_zip: bool, error: Exception) -> str:
    text = str(error)
    found = re.search(r"GLOBAL (\S+)", text)
    names = [found[1]] if found else []
    if is_zip and found:
        try:
            with torch.serialization.safe_globals(allowed()):
                names = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path)) or names
        except Exception:  # the file may be damaged too; the refusal stands with the first name
            pass
    needs = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    if "TorchScript" in text:
        needs = "TorchScript, a whole program"
    return (
        f"checkpoint {path} holds more than weights (it needs {needs or _first_line(error)}) and loading it could run code, "
        "so it is refused; in the environment that wrote it, save weights only: torch.save(model.state_dict(), "
        "'weights.pt'). Only if you know who wrote it: --trust (trust=True in Python) runs the code in it"
    )


def _damaged(path: Path, error: Exception) -> FeaturespaceError:
    return FeaturespaceError(
        f"checkpoint {path} ({path.stat().st_size} bytes) cannot be read: it is cut off, damaged or not written by "
        f"torch.save ({_first_line(error)}); copy it again and compare its size or hash"
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200]
