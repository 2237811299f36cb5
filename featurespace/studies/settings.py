"""What `featurespace study` is told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from featurespace.config import AnalyzeConfig, make_config
from featurespace.errors import FeaturespaceError, did_you_mean
from featurespace.training.settings import FinetuneConfig, Noise, PretrainConfig

GIVEN_BY_GRID = (
    "model",
    "out",
    "runs",
    "seed",
    "fraction",
    "mode",
    "noise",
    "freeze",
    "experiment",
    "pretraining",
    "run",
)
MODES = ("full", "linear", "scratch")


class Pretraining(BaseModel):
    """Where finetunings start: a checkpoint that is there, or a training of the study's own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = Field(default=None, description="Model spec of a checkpoint that is there.")
    train: dict[str, Any] | None = Field(
        default=None, description="Keys of `featurespace train pretrain`; model may be the name of another pretraining."
    )

    data: tuple[str, ...] = Field(
        default=(), description="Data specs of images like those a given model was trained on, for the gap to a task's."
    )

    @field_validator("data", mode="before")
    @classmethod
    def _one_is_a_list_of_one(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_of_both(self) -> Pretraining:
        if (self.model is None) == (self.train is None):
            raise ValueError("give either model (a checkpoint that is there) or train (how to make it)")
        unknown = sorted(set(self.train or ()) - set(PretrainConfig.model_fields))
        if unknown:
            raise ValueError(
                f"train has the key {unknown[0]!r}, which `featurespace train pretrain` does not know"
                + did_you_mean(unknown[0], PretrainConfig.model_fields)
            )
        if self.train and self.data:
            raise ValueError("data goes with model; a training names its data itself")
        if "out" in (self.train or ()):
            raise ValueError("train has the key 'out'; the study gives each cell its folder")
        return self


class Design(BaseModel):
    """A part of the grid: every combination of its values, or a star around the first of each."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    experiment: str = Field(min_length=1, description="Name in the runs table.")
    pretraining: tuple[str, ...] = Field(default=("all",), description="Names of pretrainings, or all.")
    task: tuple[str, ...] = Field(default=("all",), description="Names of tasks, or all.")
    fraction: tuple[float, ...] = Field(default=(1.0,), min_length=1, description="Shares of the training images.")
    mode: tuple[Literal["full", "linear", "scratch"], ...] = Field(
        default=("full",), min_length=1, description="full, linear or scratch."
    )
    noise: tuple[Noise | None, ...] = Field(default=(None,), min_length=1, description="Noise on the images, or null.")
    freeze: tuple[str | None, ...] = Field(
        default=(None,), min_length=1, description="Layers up to which weights stay as they are, or null."
    )
    seed: tuple[int, ...] = Field(default=(0,), min_length=1, description="Seeds; each is a run.")
    star: bool = Field(
        default=False, description="Vary fraction, mode, noise and freeze one at a time from the first value of each."
    )

    @field_validator("pretraining", "task", "fraction", "mode", "noise", "freeze", "seed", mode="before")
    @classmethod
    def _one_is_a_list_of_one(cls, value: Any) -> Any:
        return value if isinstance(value, list | tuple) else (value,)

    @field_validator("pretraining", "task", "fraction", "mode", "noise", "freeze", "seed")
    @classmethod
    def _each_once(cls, value: tuple) -> tuple:
        for place, each in enumerate(value):
            if each in value[:place]:
                raise ValueError(f"{each!r} stands twice; a value counts once")
        return value


class StudyConfig(BaseModel):
    """The schema of a study: pretrainings, tasks, and which of them are combined how."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    out: Path = Field(description="Directory of the study.")
    pretrainings: dict[str, Pretraining] = Field(min_length=1, description="Starts by name.")
    tasks: dict[str, dict[str, Any]] = Field(
        min_length=1, description="Keys of `featurespace train finetune` by name; what the grid gives is left out."
    )
    defaults: dict[str, Any] = Field(
        default_factory=dict, description="Keys of trainings that hold where a pretraining or task says nothing else."
    )
    grid: tuple[Design, ...] = Field(
        min_length=1, description="Which pretrainings, tasks, fractions, modes, noise and seeds."
    )
    adjust: str | None = Field(default=None, description="YAML file of pretrainings to add to the comparison.")
    predict: bool = Field(
        default=False,
        description="Ask whether probes, kNN, LogME, H-score, LEEP and gap of the starts predict how well they are finetuned.",
    )
    cpus: float = Field(default=1, gt=0, description="CPUs of a cell on a cluster.")
    gpus: float = Field(default=0, ge=0, description="GPUs of a cell on a cluster; 0.5 puts two on one.")
    analyze: dict[str, Any] | None = Field(
        default=None,
        description="Options of `featurespace analyze` over each start and what was finetuned from it; tasks and pretrainings "
        "name those wanted, by default all.",
    )

    @field_validator("analyze")
    @classmethod
    def _known_options(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        given = dict.fromkeys(("models", "arms", "out", "into", "begun_with"), "the study gives it")
        given["trust"] = "which only a command line can give"
        known = sorted({*AnalyzeConfig.model_fields, "only", "tasks", "pretrainings"} - set(given))
        for key in value or {}:
            if key not in known:
                why = given.get(
                    key, "which is no option of it; allowed are " + ", ".join(known) + did_you_mean(key, known)
                )
                raise ValueError(f"analyze has the key {key!r}, {why}")
        options = {key: each for key, each in (value or {}).items() if key not in ("tasks", "pretrainings")}
        try:
            make_config(**{"models": ("start", "finetuned"), "data": ("images=there",)} | options)
        except FeaturespaceError as error:
            raise ValueError(f"analyze: {error}") from None
        return value

    @model_validator(mode="after")
    def _analyzed_are_known(self) -> StudyConfig:
        for key, names in (("tasks", self.tasks), ("pretrainings", self.pretrainings)):
            for each in (self.analyze or {}).get(key) or ():
                if each not in names:
                    raise ValueError(
                        f"analyze names {each!r} among its {key}, which are {', '.join(names)}{did_you_mean(each, names)}"
                    )
        return self

    @field_validator("tasks")
    @classmethod
    def _known_keys(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, keys in value.items():
            for key in keys:
                if key in GIVEN_BY_GRID:
                    raise ValueError(
                        f"task {name!r} has the key {key!r}, which the study gives each cell; leave it out"
                    )
                if key not in FinetuneConfig.model_fields:
                    raise ValueError(
                        f"task {name!r} has the key {key!r}, which `featurespace train finetune` does not know"
                        + did_you_mean(key, FinetuneConfig.model_fields)
                    )
            if "data" not in keys:
                raise ValueError(f"task {name!r} has no data; write data: LABEL=PATH")
        return value

    @field_validator("defaults")
    @classmethod
    def _known_defaults(cls, value: dict[str, Any]) -> dict[str, Any]:
        trainings = {**FinetuneConfig.model_fields, **PretrainConfig.model_fields}
        known = [each for each in trainings if each not in GIVEN_BY_GRID]
        for key in value:
            if key not in known:
                close = did_you_mean(key, known)
                raise ValueError(f"defaults has the key {key!r}, which no training takes from there{close}")
        return value

    def of(self, schema: type[BaseModel], given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the defaults that a schema knows, with what is given over them."""
        return {key: value for key, value in self.defaults.items() if key in schema.model_fields} | dict(given)
