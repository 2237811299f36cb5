"""The YAML schemas: strict, every option once, errors that name the closest key."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from featurespace.errors import FeaturespaceError, nearest
from featurespace.options import ANALYSES, ANALYZE, DEFAULT_ANALYSES, DISTANCES, MEASURES, PROPERTIES
from featurespace.yaml_files import checked, read_yaml

TAKEN = ("id", "path", "label", "group", "split", "data", "sample", "thumbnail")  # columns of the tables of images


def _option(name: str, **limits: Any) -> Any:
    return Field(default=ANALYZE[name].default, description=ANALYZE[name].help, **limits)


class AnalyzeConfig(BaseModel):
    """What `featurespace analyze` is told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: tuple[str, ...] = Field(min_length=1, description="Model specs.")
    data: tuple[str, ...] = Field(min_length=1, description="Data specs, LABEL=PATH.")
    layers: str = _option("layers")
    pool: Literal["avg", "cls", "none"] = _option("pool")
    only: tuple[str, ...] | None = _option("only")
    measures: tuple[str, ...] = _option("measures")
    distances: tuple[str, ...] = _option("distances")
    properties: tuple[str, ...] = _option("properties")
    store: bool = _option("store")
    limit: int | None = _option("limit", ge=1)
    image_size: int | None = _option("image_size", ge=8, le=4096)
    batch_size: int = _option("batch_size", ge=1)
    precision: Literal["fp32", "bf16"] = _option("precision")
    device: str = _option("device")
    threads: int | None = _option("threads", ge=1, le=1024)
    seed: int = _option("seed", ge=0)
    on_bad_image: Literal["skip", "error"] = _option("on_bad_image")
    arms: tuple[str, ...] | None = _option("arms")
    steps: tuple[str, ...] | None = _option("steps")
    columns: tuple[str, ...] = _option("columns")
    pictures: bool = _option("pictures")
    control: bool = _option("control")
    begun_with: tuple[int, int] | None = Field(
        default=None,
        description="Models and data sets at the beginning of a run that --into extended: they decide on the controls.",
    )

    @field_validator("models", "data", mode="before")
    @classmethod
    def _one_is_a_list_of_one(cls, value: Any) -> Any:
        if isinstance(value, str):
            return (value,)
        if isinstance(value, Mapping):
            raise ValueError("expected a list of specs, each one text LABEL=..., and no keys")
        return value

    @field_validator("limit", "image_size", "batch_size", "threads", "seed", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("expected a whole number, not true or false (in YAML also yes, no, on and off)")
        return value

    @field_validator("measures", "distances", "properties", mode="before")
    @classmethod
    def _known_names(cls, value: Any, about: ValidationInfo) -> Any:
        kind, choices = {
            "measures": ("measure", MEASURES), "distances": ("distance", DISTANCES), "properties": ("property", PROPERTIES)
        }[str(about.field_name)]  # fmt: skip
        return _names(value, choices, kind) if value is not None else ()

    @field_validator("steps", mode="before")
    @classmethod
    def _steps_are_labels(cls, value: Any) -> Any:
        if value is None:
            return None
        value = [each.strip() for each in value.split(",") if each.strip()] if isinstance(value, str) else value
        if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
            raise ValueError("expected labels of models, as a list or separated by commas")
        if len(set(value)) < max(2, len(value)):
            raise ValueError("expected two different labels of models or more, e.g. start,epoch10,epoch20")
        return tuple(value)

    @field_validator("columns", mode="before")
    @classmethod
    def _names_of_columns(cls, value: Any) -> Any:
        value = value.split(",") if isinstance(value, str) else value or ()
        if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
            raise ValueError("expected names of columns, as a list or separated by commas")
        names = dict.fromkeys(each.strip() for each in value if each.strip())
        taken = [each for each in names if each in TAKEN]
        if taken:
            raise ValueError(f"{taken[0]!r} has a meaning of its own ({', '.join(TAKEN)}); name other columns")
        return tuple(names)

    @field_validator("only", mode="before")
    @classmethod
    def _known_analyses(cls, value: Any) -> Any:
        value = None if value is None else _names(value, ANALYSES, "analysis")
        if value is not None and not value:
            raise ValueError(f"names no analysis; leave it out for all of them; allowed: {', '.join(ANALYSES)}")
        return value

    @field_validator("arms", mode="before")
    @classmethod
    def _arms_name_labels(cls, value: Any) -> Any:
        value = [value] if isinstance(value, str) else value
        if not isinstance(value, list | tuple | None) or not all(isinstance(each, str) for each in value or ()):
            raise ValueError("expected a list of texts NAME=LABEL,LABEL")
        members: dict[str, str] = {}
        for each in value or ():
            name, _, labels = each.partition("=")
            if not name.strip() or not all(label.strip() for label in labels.split(",")):
                raise ValueError(f"{each!r} is no arm; write NAME=LABEL,LABEL, e.g. ct=ct-seed1,ct-seed2")
            for label in labels.split(","):
                if label.strip() in members:
                    other = members[label.strip()]
                    raise ValueError(
                        f"model {label.strip()!r} is in the arms {other!r} and {name.strip()!r}; one is allowed"
                    )
                members[label.strip()] = name.strip()
        names = [each.partition("=")[0].strip() for each in value or ()]
        if len(set(names)) < len(names):
            raise ValueError(f"an arm is named twice among {', '.join(names)}; put all its models into one")
        return value

    @property
    def arm_of(self) -> dict[str, str]:
        """The arm of each model that is in one."""
        named = [each.partition("=")[::2] for each in self.arms or ()]
        return {label.strip(): name.strip() for name, labels in named for label in labels.split(",")}

    @property
    def analyses(self) -> tuple[str, ...]:
        """The analyses to make, in their order."""
        chosen = self.only or (DEFAULT_ANALYSES if self.store else ("similarity",))
        return tuple(each for each in ANALYSES if each in chosen)

    @model_validator(mode="after")
    def _what_needs_no_features(self) -> AnalyzeConfig:
        needing = sorted(set(self.only or ()) - {"similarity", "weights"})
        if needing and not self.store:
            raise ValueError(
                f"store: no features are kept, and {needing[0]} needs them; leave it out of 'only', or keep them"
            )
        return self

    def identity(self) -> dict[str, Any]:
        """What makes a run another run; the rest may differ between two commands on one directory."""
        free = {
            "only",
            "measures",
            "distances",
            "properties",
            "batch_size",
            "threads",
            "on_bad_image",
            "arms",
            "steps",
            "columns",
            "pictures",
            "control",
            "begun_with",
        }
        return self.model_dump(mode="json", exclude=free)


def _names(value: Any, choices: Sequence[str], kind: str) -> Sequence[str]:
    """Return names given as a list, as one text with commas or as "all"; an unknown one is an error with the closest."""
    if value == "all":
        return choices
    if isinstance(value, str):
        value = [each.strip() for each in value.split(",") if each.strip()]
    if not isinstance(value, list | tuple):
        raise ValueError(f"expected a list of names, each one {kind}, or their names separated by commas")
    for each in value:
        if each not in choices:
            close = nearest(str(each), choices)
            raise ValueError(
                f"{each!r} is no {kind}" + (f"; did you mean {close[0]!r}" if close else "")
                + f"; allowed: {', '.join(choices)}"
            )  # fmt: skip
    return value


def make_config(**values: Any) -> AnalyzeConfig:
    """Return the checked configuration; raises FeaturespaceError with the option, the value and what is allowed."""
    return checked(AnalyzeConfig, values)


def read_config(path: str | Path) -> dict[str, Any]:
    """Read the values of `analyze` in a YAML file, safely; unknown keys are errors."""
    path = Path(path)
    content = read_yaml(path, AnalyzeConfig)
    for key in {"models", "data"} & set(content):
        content[key] = _specs(path, key, content[key])
    return content


def _specs(path: Path, key: str, value: Any) -> list[str]:
    """Return the models or data sets of a file; one text is a list of one."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise FeaturespaceError(
            f"{path}: {key!r} must be a list of texts, e.g. '{key}: [LABEL=...]' (LABEL=..., not LABEL: ...); "
            f"it is {reprlib.repr(value)}"
        )
    return value


def extended(
    config: AnalyzeConfig, models: Sequence[str], data: Sequence[str], options: Mapping[str, Any]
) -> AnalyzeConfig:
    """Return the configuration of a run with further models and data sets; those that are there already stay.

    Raises
    ------
    FeaturespaceError
        an option is another than the run's, and would change what is there
    """
    begun = config.begun_with or (len(config.models), len(config.data))
    added = {
        "models": (*config.models, *(each for each in models if each not in config.models)),
        "data": (*config.data, *(each for each in data if each not in config.data)),
    }
    more = len(added["models"]) + len(added["data"]) > len(config.models) + len(config.data)
    merged = make_config(
        **config.model_dump() | dict(options) | added | {"begun_with": begun if more else config.begun_with}
    )
    names = set(options) & set(config.identity()) - {"models", "data"}
    changed = [
        f"{name}: {getattr(config, name)} there, {getattr(merged, name)} now"
        for name in AnalyzeConfig.model_fields
        if name in names and getattr(config, name) != getattr(merged, name)
    ]
    if changed:
        raise FeaturespaceError(
            f"the run was made with other options ({'; '.join(changed)}); leave them out, or choose a new --out"
        )
    return merged
