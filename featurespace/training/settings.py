"""What a training is told: the options that every kind of training shares, and those of pretraining."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from featurespace.errors import counted

BETAS = (0.9, 0.999)  # torch's
Beta = Annotated[float, Field(ge=0, lt=1)]


class TrainingConfig(BaseModel):
    """Options of any training; sizes of batches are global, over all devices and accumulated parts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(description="Model spec to start from; an architecture alone has random weights.")
    out: Path = Field(description="Directory of the training: checkpoint, curves, configuration.")
    image_size: int | None = Field(
        default=None, ge=8, le=4096, description="Height and width of what the network sees."
    )
    epochs: int = Field(default=100, ge=1, description="Passes over the training images.")
    batch_size: int = Field(default=256, ge=2, description="Images a step, over all devices and accumulated parts.")
    accumulate: int = Field(default=1, ge=1, description="Parts that a batch is worked on in, to save memory.")
    optimizer: Literal["adamw", "sgd", "lars"] = Field(default="adamw", description="adamw, sgd or lars.")
    learning_rate: float = Field(default=1e-3, gt=0, description="Peak learning rate, before the rule.")
    learning_rate_rule: Literal["none", "linear", "sqrt"] = Field(
        default="none", description="none; linear: times batch_size / 256; sqrt: times the root of batch_size."
    )
    weight_decay: float = Field(default=1e-4, ge=0, description="Weight decay; biases and norms have none.")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Momentum of sgd and lars.")
    betas: tuple[Beta, Beta] = Field(
        default=BETAS, description="Decay of adamw's means of gradients and of their squares."
    )
    schedule: Literal["cosine", "exponential", "constant"] = Field(
        default="cosine", description="Learning rate after the warm-up: cosine to zero, exponential or constant."
    )
    decay: float = Field(default=0.97, gt=0, le=1, description="Factor an epoch of the exponential schedule.")
    warmup_epochs: float = Field(default=0, ge=0, description="Epochs over which the learning rate rises from zero.")
    precision: Literal["fp32", "bf16", "fp16"] = Field(default="fp32", description="fp32, bf16 or fp16 (mixed).")
    compiled: bool = Field(default=False, description="Compile the network with torch.compile.")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(default="auto", description="auto, cpu, cuda or mps.")
    devices: int = Field(default=1, ge=1, description="Devices a node; start several with torchrun.")
    nodes: int = Field(default=1, ge=1, description="Machines; start each with torchrun.")
    threads: int | None = Field(default=None, ge=1, description="Threads of torch; by default the cores there are.")
    workers: int | None = Field(
        default=None, ge=0, description="Threads that read images; by default from the machine."
    )
    cache: Literal["auto", "memory", "disk", "none"] = Field(
        default="auto", description="Where decoded images are kept: memory, disk (below out), none, or by their size."
    )
    stored_size: int | None = Field(
        default=None, ge=8, description="Side of the decoded images; by default 8/7 of image_size."
    )
    save_minutes: float = Field(
        default=10, ge=0, description="Time between two saved states, from which a rerun goes on."
    )
    snapshots: int = Field(
        default=0,
        ge=0,
        description="Epochs between two checkpoints that are kept beside the last one, epoch_0005 say; 0: none.",
    )
    loggers: tuple[Literal["csv", "tensorboard", "wandb", "mlflow"], ...] = Field(
        default=("csv", "tensorboard"), description="Where curves go beside curves.csv: tensorboard, wandb, mlflow."
    )
    seed: int = Field(default=0, ge=0, description="Seed of everything random.")

    @field_validator("epochs", "batch_size", "seed", "image_size", "accumulate", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("expected a whole number, not true or false (in YAML also yes, no, on and off)")
        return value

    @model_validator(mode="after")
    def _options_fit(self) -> TrainingConfig:
        if self.batch_size % (self.accumulate * self.devices * self.nodes):
            raise ValueError(
                f"batch_size {self.batch_size} is no multiple of accumulate x devices x nodes = "
                f"{self.accumulate * self.devices * self.nodes}; change one of them"
            )
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs {self.warmup_epochs:g} leaves nothing of {counted(self.epochs, 'epoch')}; lower it"
            )
        if self.betas != BETAS and self.optimizer != "adamw":
            raise ValueError(f"betas {list(self.betas)} go with optimizer adamw, not {self.optimizer}; leave them out")
        if self.stored_size and self.image_size and self.stored_size < self.image_size:
            raise ValueError(
                f"stored_size {self.stored_size} is less than image_size {self.image_size}; raise it or leave it out"
            )
        return self

    @property
    def peak_learning_rate(self) -> float:
        """The learning rate after the rule."""
        factor = {"none": 1.0, "linear": self.batch_size / 256, "sqrt": self.batch_size**0.5}
        return self.learning_rate * factor[self.learning_rate_rule]

    def identity(self) -> dict[str, Any]:
        """What makes a training another one; the rest may differ between two commands on one directory."""
        free = {
            "out",
            "device",
            "devices",
            "nodes",
            "threads",
            "workers",
            "cache",
            "save_minutes",
            "loggers",
            "snapshots",
        }
        return self.model_dump(mode="json", exclude=free)


class PretrainConfig(TrainingConfig):
    """What `featurespace train pretrain` is told."""

    method: str = Field(
        default="simclr", description="A module of featurespace.training.methods: simclr, supervised, mae."
    )
    options: dict[str, Any] = Field(default_factory=dict, description="Options of the method, by name.")
    data: tuple[str, ...] = Field(min_length=1, description="Data specs, LABEL=PATH; several are mixed.")
    weights: tuple[float, ...] | None = Field(
        default=None, description="Share of each data set among the images seen; by default as many as it has."
    )
    online_every: int = Field(
        default=1,
        ge=0,
        description="Epochs between two looks at the embedding (kNN accuracy, effective rank); 0: none.",
    )

    @field_validator("data", mode="before")
    @classmethod
    def _one_is_a_list_of_one(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            raise ValueError("expected a list of specs, each one text LABEL=PATH, and no keys")
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _weights_fit(self) -> PretrainConfig:
        if self.weights is not None and (len(self.weights) != len(self.data) or min(self.weights) <= 0):
            raise ValueError(
                f"weights {self.weights} must be {counted(len(self.data), 'number')} above 0, one for each data set"
            )
        return self


class Noise(BaseModel):
    """Noise put on images, as a way to make a task harder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["gaussian", "rician"] = Field(default="gaussian", description="gaussian, or rician as in MR images.")
    sigma: float = Field(gt=0, le=1, description="Standard deviation, in shares of the range of the image.")
    at: Literal["train", "test", "both"] = Field(default="both", description="train, test or both.")


class FinetuneConfig(TrainingConfig):
    """What `featurespace train finetune` is told."""

    data: str = Field(description="Data spec, LABEL=PATH; its images need labels.")
    task: Literal["multiclass", "multilabel", "segmentation"] = Field(
        default="multiclass",
        description="multiclass: one label an image; multilabel: labels A|B, ?A where unknown; segmentation: masks.",
    )
    masks: Path | None = Field(
        default=None,
        description="Folder of the masks (segmentation), or a column mask in the manifest; of volumes masks in their YAML.",
    )
    classes: tuple[str, ...] | None = Field(default=None, description="Names of the classes 0, 1, ... in the masks.")
    class_weights: tuple[float, ...] | None = Field(
        default=None, description="Weight of each class in the cross-entropy."
    )
    dice: float = Field(
        default=0.0, ge=0, description="Weight of the Dice loss beside the cross-entropy (segmentation)."
    )
    no_label: str | None = Field(
        default=None, description="The label of images that have none of the labels (multilabel)."
    )
    mode: Literal["full", "linear", "scratch"] = Field(
        default="full",
        description="full: all weights; linear: a classifier on frozen features; scratch: random weights.",
    )
    freeze: str | None = Field(
        default=None,
        description="Layer up to which the weights stay as they are, by the names of `featurespace inspect`.",
    )
    layer_decay: float | None = Field(
        default=None, gt=0, le=1, description="Factor of the learning rate from each layer to the one before."
    )
    fraction: float = Field(default=1.0, gt=0, le=1, description="Share of the training images, of each label.")
    noise: Noise | None = Field(default=None, description="Noise on the images: kind, sigma, at.")
    min_scale: float = Field(default=1.0, gt=0, le=1, description="Least share of an image that a random crop leaves.")
    flip: float = Field(default=0.0, ge=0, le=1, description="Share of images mirrored while training.")
    test_with: Literal["last", "best"] | int = Field(
        default="last",
        description="Weights that are tested: the last, those of an epoch, or the best on the validation images.",
    )
    experiment: str | None = Field(default=None, description="Name in the runs table; by default the data set.")
    pretraining: str | None = Field(
        default=None, description="Name in the runs table; by default the model's label, or scratch."
    )
    run: str | None = Field(default=None, description="Name in the runs table; by default the seed.")
    runs: Path | None = Field(default=None, description="The runs table, a .csv to append to; by default out/runs.csv.")

    @model_validator(mode="after")
    def _epochs_fit(self) -> FinetuneConfig:
        if isinstance(self.test_with, int) and not 1 <= self.test_with <= self.epochs:
            raise ValueError(f"test_with {self.test_with} is no epoch of {self.epochs}")
        if (self.task == "segmentation") != (self.classes is not None):
            raise ValueError("task segmentation goes with the names of its classes, e.g. classes: [background, liver]")
        if self.classes is not None and (len(self.classes) < 2 or len(set(self.classes)) < len(self.classes)):
            raise ValueError(f"classes {list(self.classes)} must be two different names at least, the background first")
        if self.class_weights is not None and len(self.class_weights) != len(self.classes or ()):
            raise ValueError(f"class_weights must be {len(self.classes or ())} numbers, one for each of the classes")
        if self.freeze is not None and (self.mode != "full" or self.task == "segmentation"):
            raise ValueError("freeze goes with mode full and task multiclass or multilabel; leave it out")
        if self.layer_decay is not None and self.task == "segmentation":
            raise ValueError("layer_decay does not go with task segmentation; leave it out")
        if self.layer_decay is not None and self.mode != "full":
            raise ValueError(f"layer_decay goes with mode full, not {self.mode}; leave it out")
        return self

    def identity(self) -> dict[str, Any]:
        """What makes a training another one."""
        found = {key: value for key, value in super().identity().items() if key != "runs"}
        return found if self.freeze else {key: value for key, value in found.items() if key != "freeze"}
