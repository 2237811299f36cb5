"""What `featurespace compare` is told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from featurespace.errors import unknown

PLACE = ("experiment", "task", "metric")
LOWER_IS_BETTER = ("*loss*", "*error*", "epochs_to_convergence*")


class CompareConfig(BaseModel):
    """The schema of the configuration of a comparison of runs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    runs: tuple[str, ...] = Field(
        min_length=1, description="Runs tables: experiment, pretraining, task, run, metric, value."
    )
    adjust: str | None = Field(default=None, description="YAML file of pretrainings to add, moved to another size.")
    curves: tuple[str, ...] = Field(
        default=(),
        description="Curves tables (experiment, pretraining, task, run, epoch, metric, value): time to convergence.",
    )
    losses: tuple[str, ...] = Field(
        default=(),
        description="Tables of training losses (experiment, pretraining, task, run, epoch, step, samples, loss).",
    )
    predictions: tuple[str, ...] = Field(
        default=(),
        description="LABEL=PATH of predictions.csv, or with masks of a folder of predicted masks; 2 to 6 models.",
    )
    masks: str | None = Field(default=None, description="Folder of the true masks that predictions are of.")
    images: str | None = Field(default=None, description="Folder of their images, for pictures of who is right where.")
    task: str = Field(default="test", min_length=1, description="What the predictions are of, for tables and titles.")
    by_class: bool = Field(default=False, description="Compare with models that are independent within each class.")
    family: tuple[str, ...] = Field(
        default=PLACE,
        description="Holm's correction counts the tests of one value of these: experiment, task, metric; or all for all tests.",
    )
    alpha: float = Field(
        default=0.05, gt=0, lt=0.5, description="Size of the tests, and one less the level of intervals."
    )
    margin: float = Field(
        default=1.0, gt=0, lt=100, description="A difference below this, in percent of the means, would not matter."
    )
    power: float = Field(default=0.8, gt=0.5, lt=1, description="Power by which the runs needed are counted.")
    std: Literal["population", "sample"] = Field(
        default="population", description="Standard deviations of the runs (ddof 0, as papers often print), or ddof 1."
    )
    draws: int = Field(default=10_000, ge=1000, le=1_000_000, description="Draws of the bootstrap.")
    lower_is_better: tuple[str, ...] = Field(
        default=LOWER_IS_BETTER, description="Patterns of metrics whose smaller values are better."
    )
    seed: int = Field(default=0, ge=0, description="Seed of everything random.")

    @property
    def ddof(self) -> int:
        """What is taken from n in the standard deviations that tables print; tests always take 1."""
        return 0 if self.std == "population" else 1

    @field_validator("runs", "curves", "losses", "predictions", "lower_is_better", mode="before")
    @classmethod
    def _one_is_a_list_of_one(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("predictions")
    @classmethod
    def _labelled(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            label, equals, path = each.partition("=")
            if not (equals and label.strip() and path.strip()):
                raise ValueError(f"{each!r} is no LABEL=PATH, e.g. scratch=runs/scratch/predictions.csv")
        labels = [each.partition("=")[0].strip() for each in value]
        if len(set(labels)) < len(labels):
            raise ValueError(f"a label is given twice among {', '.join(labels)}; each model needs its own")
        return value

    @model_validator(mode="after")
    def _masks_need_predictions(self) -> Self:
        for name, needed in (("masks", self.predictions), ("images", self.masks), ("by_class", self.predictions)):
            if getattr(self, name) and not needed:
                what = "masks" if name == "images" else "predictions"
                raise ValueError(f"{name} is given without {what}, which it belongs to; give {what}, too")
        return self

    @property
    def predicted(self) -> dict[str, Path]:
        """The file or folder of the predictions of each model, by its label."""
        named = [each.partition("=")[::2] for each in self.predictions]
        return {label.strip(): Path(path.strip()).expanduser() for label, path in named}

    @field_validator("family", mode="before")
    @classmethod
    def _known_family(cls, value: Any) -> Any:
        names = [each.strip() for each in value.split(",")] if isinstance(value, str) else value
        if names == ["all"]:
            return ()
        if isinstance(names, Sequence):
            for each in names:
                if each not in PLACE:
                    raise ValueError(str(unknown("part of a family", str(each), [*PLACE, "all"])))
            return tuple(part for part in PLACE if part in names)
        return names
