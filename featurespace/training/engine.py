"""One training from start to end on pytorch-lightning: devices, precision, saved states, and errors in plain words."""

from __future__ import annotations

import logging
import os
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins import MixedPrecision

from featurespace.device import resolve_device
from featurespace.errors import FeaturespaceError, counted, needs_extra
from featurespace.files import sync
from featurespace.progress import Progress
from featurespace.training.batches import Batch, Batches
from featurespace.training.curves import Curves
from featurespace.training.module import TrainingModule
from featurespace.training.settings import TrainingConfig

STATE = "state.ckpt"
LOGGERS = {"wandb": "WandbLogger", "mlflow": "MLFlowLogger"}
PRECISION = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


class Saving(pl.Callback):
    """Write the whole state of a training from time to time, between two steps; a rerun goes on from it."""

    def __init__(self, file: Path, batches: Batches, minutes: float):
        self.file, self.batches, self.seconds = file, batches, minutes * 60
        self.last = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """Return where the training stands."""
        return {"next_piece": self.batches.next_piece, "data": self.batches.stamp}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there; other images than those it began with are refused."""
        if state["data"] != self.batches.stamp:
            raise FeaturespaceError(
                f"images or labels have changed since {self.file} was saved; choose a new out, or delete that file to "
                "begin anew"
            )
        self.batches.next_piece = state["next_piece"]

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Batch, index: int) -> None:
        """Save where the time has come, the step is whole and the epoch is not over."""
        whole = (batch.number + 1) % trainer.accumulate_grad_batches == 0
        if whole and index + 1 < len(self.batches) and time.monotonic() - self.last >= self.seconds:
            self.batches.next_piece = batch.number + 1  # not what was read ahead
            self._save(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Save at the end of an epoch where the time has come."""
        if time.monotonic() - self.last >= self.seconds:
            self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        partial = self.file.with_name(f".{self.file.stem}.partial{self.file.suffix}")
        trainer.save_checkpoint(partial, weights_only=False)  # called on every process, written by the first
        if trainer.is_global_zero:
            sync(partial)
            os.replace(partial, self.file)
        self.last = time.monotonic()


def run(
    name: str, module: TrainingModule, batches: Batches, config: TrainingConfig,
    scores: Callable[[int, Any], dict[str, float]], progress: Progress,
) -> list[dict[str, float]]:  # fmt: skip
    """Train with a bar, tell the last epoch, and return the rows of the curves."""
    if config.precision == "fp16" and _on_cpu(config):
        progress.say("precision fp16 takes many times as long as fp32 on a CPU; bf16 and fp32 are made for it")
    total = config.epochs * len(batches) // config.accumulate * config.batch_size
    with progress.stage(name), progress.bar(name, total, "images") as advance:
        curves = Curves(config.out / "curves.csv", advance, scores)
        fit(module, batches, config, curves)
    last = ", ".join(f"{key} {value:.4g}" for key, value in curves.rows[-1].items() if key not in ("epoch", "step"))
    progress.say(
        f"{name}: {counted(config.epochs, 'epoch')} of {counted(batches.order.steps * config.batch_size, 'image')}; {last}"
    )
    return curves.rows


def fit(module: TrainingModule, batches: Batches, config: TrainingConfig, curves: Curves) -> None:
    """Train; go on from the state in ``config.out`` where there is one.

    Raises
    ------
    FeaturespaceError
        too little memory, a precision the device has not, a loss that is no number
    """
    state, several = config.out / STATE, config.devices * config.nodes > 1
    with quiet_lightning():
        trainer = pl.Trainer(
            max_epochs=config.epochs, accelerator=config.device, devices=config.devices, num_nodes=config.nodes,
            strategy="ddp" if several else "auto", **_precision(config),
            accumulate_grad_batches=config.accumulate, callbacks=[curves, Saving(state, batches, config.save_minutes)],
            logger=_loggers(config), enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            num_sanity_val_steps=0, use_distributed_sampler=False, sync_batchnorm=several and not _on_cpu(config),
        )  # fmt: skip
        # What batches draw must not depend on what was drawn before, nor change what is drawn after.
        with torch.random.fork_rng(), _plain_memory_errors(config), _plain_interrupts():
            trainer.fit(module, batches, ckpt_path=state if state.exists() else None, weights_only=False)


def process_rank() -> int:
    """Return the number of this process among those that torchrun started, 0 where there is one."""
    return int(os.environ.get("RANK", "0"))


def check_processes(config: TrainingConfig) -> None:
    """Refuse devices and nodes that are not as many as the processes that torchrun started."""
    started, wanted = int(os.environ.get("WORLD_SIZE", "1")), config.devices * config.nodes
    if started != wanted:
        raise FeaturespaceError(
            f"devices x nodes is {wanted} and {counted(started, 'process runs', 'processes run')}; start with "
            f"torchrun --nnodes={config.nodes} --nproc-per-node={config.devices} -m featurespace train ..., or change "
            "devices and nodes"
        )


def _on_cpu(config: TrainingConfig) -> bool:
    return resolve_device(config.device).type == "cpu"


def _precision(config: TrainingConfig) -> dict[str, Any]:
    """Return what tells Lightning the precision; by its name alone fp16 would become bf16 on a CPU."""
    if config.precision == "fp16" and _on_cpu(config):
        return {"plugins": MixedPrecision("16-mixed", "cpu")}
    return {"precision": PRECISION[config.precision]}


def _loggers(config: TrainingConfig) -> Any:
    """Return Lightning's loggers by name; what csv would write is in curves.csv anyway."""
    from pytorch_lightning import loggers

    found: list[Any] = []
    for name in config.loggers:
        if name == "tensorboard":
            if not find_spec("tensorboard"):
                raise needs_extra("logger tensorboard", "tensorboard", "train")
            found.append(loggers.TensorBoardLogger(config.out, name="", version="tensorboard"))
        elif name != "csv":
            try:
                found.append(getattr(loggers, LOGGERS[name])(save_dir=str(config.out)))
            except ModuleNotFoundError as error:
                raise FeaturespaceError(
                    f"logger {name} cannot be used ({error}); install {name}, or leave it out"
                ) from error
    return found or False


@contextmanager
def _plain_memory_errors(config: TrainingConfig) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        text = str(error)
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "DefaultCPUAllocator" not in text:
            raise
        part = config.batch_size // (config.accumulate * config.devices * config.nodes)
        raise FeaturespaceError(
            f"out of memory with {part} images at a time on a device; raise accumulate (now {config.accumulate}: the batch "
            f"of {config.batch_size} stays, in more parts), or use precision bf16 (now {config.precision}), a smaller "
            f"image_size or another model ({text.splitlines()[0][:200] if text else 'no further message'})"
        ) from error


@contextmanager
def _plain_interrupts() -> Iterator[None]:
    """Let an interrupt be a KeyboardInterrupt; Lightning ends the program instead, and has all later ones ignored."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from error


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning from announcing its hardware and advising loader workers."""
    loggers = [logging.getLogger(f"pytorch_lightning.{each}") for each in ("utilities.rank_zero", "accelerators.cuda")]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            warnings.filterwarnings("ignore", module="lightning_fabric")
            yield
    finally:
        for each, level in zip(loggers, levels):
            each.setLevel(level)
