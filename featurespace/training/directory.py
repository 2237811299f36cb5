"""The directory of a training: whose it is, and what is in it."""

from __future__ import annotations

from featurespace import files
from featurespace import yaml_files as schemas
from featurespace.errors import FeaturespaceError
from featurespace.training.engine import process_rank
from featurespace.training.settings import TrainingConfig

CHECKPOINT = "checkpoint.safetensors"


def claim(config: TrainingConfig) -> None:
    """Write the configuration into the directory, where this is the first process; another training's is refused."""
    if process_rank():
        return
    file, schema = config.out / "config.yaml", type(config)
    if file.exists():
        try:
            held = schemas.checked(schema, schemas.read_yaml(file, schema)).identity()
        except FeaturespaceError as error:
            raise FeaturespaceError(f"{config.out} holds something else ({error}); choose a new out") from error
        changed = [
            f"{key}: {held[key]} there, {value} now" for key, value in config.identity().items() if held[key] != value
        ]
        if changed:
            raise FeaturespaceError(
                f"{config.out} holds another training ({'; '.join(changed)}); choose a new out, or delete it"
            )
    elif config.out.exists() and any(config.out.iterdir()):
        raise FeaturespaceError(f"{config.out} holds other files and no training; choose an out that is new or empty")
    files.write_text(file, schemas.to_yaml(config))


def refuse_small(count: int, config: TrainingConfig) -> None:
    """Refuse fewer training images than a batch."""
    if count < config.batch_size:
        raise FeaturespaceError(
            f"{count} training images are fewer than a batch of {config.batch_size}; lower batch_size to {count} or less"
        )
