"""The directory of a training: whose it is, and what is in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from featurespace import files, locking
from featurespace import yaml_files as schemas
from featurespace.errors import FeaturespaceError, counted
from featurespace.progress import Progress
from featurespace.training.engine import STATE, process_rank
from featurespace.training.settings import TrainingConfig

CHECKPOINT = "checkpoint.safetensors"


@contextmanager
def claimed(config: TrainingConfig) -> Iterator[None]:
    """Hold the directory for a training and write its configuration; of several processes the first does so.

    Raises
    ------
    FeaturespaceError
        another process works in it, or it holds another training or other files
    """
    if process_rank():
        yield
        return
    with locking.locked(config.out, config.out / "config.yaml"), files.writing(config.out):
        files.remove_partial(config.out)
        _claim(config)
        yield


def made(config: TrainingConfig, train: Callable[[Path], None], progress: Progress) -> Path:
    """Return the checkpoint of a training: one that is there already, or the one that ``train`` writes to the path given."""
    with claimed(config):
        file = config.out / CHECKPOINT
        if file.exists():
            progress.say(f"{file} is finished; delete it, or choose another out, to train again")
            return file
        train(file)
        if not process_rank():
            (config.out / STATE).unlink(missing_ok=True)
        return file


def snapshot(config: TrainingConfig, epoch: int) -> Path | None:
    """Return the file of the checkpoint that is kept of an epoch, None where none is, or another process writes it."""
    due = config.snapshots and epoch % config.snapshots == 0 and epoch < config.epochs and not process_rank()
    return config.out / f"epoch_{epoch:04d}.safetensors" if due else None


def _claim(config: TrainingConfig) -> None:
    file, schema = config.out / "config.yaml", type(config)
    if file.exists():
        try:
            held = schemas.checked(schema, schemas.read_yaml(file, schema)).identity()
        except FeaturespaceError as error:
            raise FeaturespaceError(f"{config.out} holds something else ({error}); choose a new out") from error
        changed = schemas.differences(held, config.identity())
        if changed:
            raise FeaturespaceError(f"{config.out} holds another training ({changed}); choose a new out, or delete it")
    elif any(each.name != ".lock" for each in config.out.iterdir()):
        raise FeaturespaceError(f"{config.out} holds other files and no training; choose an out that is new or empty")
    files.write_text(file, schemas.to_yaml(config))


def refuse_small(count: int, config: TrainingConfig) -> None:
    """Refuse fewer training images than a batch."""
    if count < config.batch_size:
        raise FeaturespaceError(
            f"{counted(count, 'training image is', 'training images are')} fewer than a batch of {config.batch_size}; "
            f"lower batch_size to {count} or less"
        )
