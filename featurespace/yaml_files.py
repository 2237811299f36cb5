"""YAML files against a schema: read safely, every key known, every error with the option, the value and what is allowed."""

from __future__ import annotations

import os
import re
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from featurespace.errors import FeaturespaceError, beside, did_you_mean

MAX_CHARACTERS = 1_000_000  # of a configuration file
OF_A_CALL = ("config", "save_config", "out", "into", "trust", "dry_run", "quiet", "verbose", "json", "json_output")
Schema = TypeVar("Schema", bound=BaseModel)


def checked(schema: type[Schema], values: Mapping[str, Any]) -> Schema:
    """Return the values as a schema's; raises FeaturespaceError with the option, the value and what is allowed."""
    try:
        return schema(**values)
    except ValidationError as error:
        raise FeaturespaceError(_explain(_first(error.errors()), schema)) from error


def read_yaml(path: str | Path, schema: type[BaseModel]) -> dict[str, Any]:
    """Read a YAML file safely; its keys must be fields of the schema, whose values are not checked here."""
    path = Path(path)
    if not os.path.isfile(path):
        raise FeaturespaceError(f"{path} cannot be read as YAML ({_why_no_file(path)})")
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read(MAX_CHARACTERS + 1)
        if len(text) > MAX_CHARACTERS:
            raise FeaturespaceError(f"{path} holds more than {MAX_CHARACTERS:,} characters; is it a configuration?")
        content = yaml.load(text, _Loader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise FeaturespaceError(f"{path} cannot be read as YAML ({error})") from error
    fields = list(schema.model_fields)
    if not isinstance(content, dict):
        raise FeaturespaceError(
            f"{path} must hold keys and values, e.g. '{fields[0]}: ...'; it holds {type(content).__name__}"
        )
    for key in content:
        if key not in fields:
            hint = did_you_mean(str(key), fields) or "; allowed: " + ", ".join(fields)
            if key in OF_A_CALL:  # where they are no fields
                hint = "; it is given on the command line alone, as --" + key.replace("_", "-")
            raise FeaturespaceError(f"{path}:{_line(text, key)}: unknown key {key!r}{hint}")
    return content


def read_checked(path: str | Path, schema: type[BaseModel]) -> dict[str, Any]:
    """Read a YAML file whose values are checked too, but may be some of the schema's; an error names file and line.

    They are returned as the schema has them, or as they are written where it needs more of them.
    """
    values = read_yaml(path, schema)
    try:
        found = schema(**values)
        return {key: getattr(found, key) for key in values}
    except ValidationError as error:
        wrong = [each for each in error.errors() if each["type"] != "missing"]
        if wrong:
            with open(path, encoding="utf-8-sig") as file:
                text = file.read(MAX_CHARACTERS)
            problem = _first(wrong)
            line = _line(text, problem["loc"][0]) if problem["loc"] else 1
            raise FeaturespaceError(f"{path}:{line}: {_explain(problem, schema)}") from error
    return values


def _first(errors: Sequence[Any]) -> Any:
    """Return the error to tell: a misspelt key before the one that is missing for it."""
    return min(errors, key=lambda each: each["type"] != "extra_forbidden")


def _line(text: str, key: Any) -> int:
    """Return the line, from 1, on which a key of a YAML mapping stands."""
    keys = [each for each, _ in getattr(yaml.compose(text, _Loader), "value", ())]
    return next((each.start_mark.line + 1 for each in keys if each.value == str(key)), 1)


def with_changes(path: str | Path, schema: type[BaseModel], changes: Sequence[str]) -> dict[str, Any]:
    """Return the values of a YAML file with some of them changed, each by KEY=VALUE."""
    if not changes:
        read_checked(path, schema)  # whose errors name the line
    values = read_yaml(path, schema)
    for each in changes:
        key, equals, text = each.partition("=")
        if not equals or key not in schema.model_fields:
            hint = did_you_mean(key, schema.model_fields) or "; keys are " + ", ".join(schema.model_fields)
            raise FeaturespaceError(f"--set {each!r} names no key of the configuration (KEY=VALUE){hint}")
        try:
            values[key] = yaml.load(text, _Loader)
        except yaml.YAMLError as error:
            raise FeaturespaceError(f"--set {each!r}: the value is no YAML ({error})") from error
    return values


def differences(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return in words which values of a configuration are others now; nothing where none is."""
    return "; ".join(f"{key}: {value} there, {now[key]} now" for key, value in earlier.items() if value != now[key])


def to_yaml(config: BaseModel) -> str:
    """Return the resolved configuration as YAML, each option under its description."""
    lines = []
    values = config.model_dump(mode="json")
    for name, field in type(config).model_fields.items():
        lines += [f"# {field.description}", yaml.safe_dump({name: values[name]}, sort_keys=False).strip()]
    return "\n".join(lines) + "\n"


class _Loader(yaml.SafeLoader):
    """Plain YAML: keys once, and no aliases, by which a short file can stand for gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.constructor.ConstructorError(
                None, None, "aliases (*name) are not allowed; write the value again"
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _why_no_file(path: Path) -> str:
    if os.path.exists(path):
        return "it is no regular file"
    return "it does not exist" + beside(path)


def _explain(problem: Mapping[str, Any], schema: type[BaseModel]) -> str:
    name = ".".join(str(part) for part in problem["loc"]) or "the configuration"
    if problem["type"] == "extra_forbidden":
        known = _fields_at(schema, problem["loc"][:-1])
        return f"unknown option {name!r}" + (
            did_you_mean(str(problem["loc"][-1]), known) or "; allowed: " + ", ".join(known)
        )
    if problem["type"] == "missing":
        description = schema.model_fields[name].description if name in schema.model_fields else ""
        return f"option {name!r} is missing" + (f": {description}" if description else "")
    message = problem["msg"].removeprefix("Value error, ").replace("valid tuple", "list")
    close = ""
    if problem["type"] == "literal_error":
        close = did_you_mean(str(problem["input"]), re.findall("'([^']*)'", problem["ctx"]["expected"]))
    return f"option {name!r}: {message}; the value was {reprlib.repr(problem['input'])}{close}"


def _fields_at(schema: Any, place: Sequence[str | int]) -> list[str]:
    """Return the keys of the schema at a place within another one, through its lists and dictionaries."""
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        if not place:
            return list(schema.model_fields)
        inner = schema.model_fields.get(str(place[0]))
        return _fields_at(inner.annotation, place[1:]) if inner else []
    within = [each for each in get_args(schema) if get_args(each) or isinstance(each, type)]
    is_union = get_origin(schema) in (Union, UnionType)
    return [key for each in within for key in _fields_at(each, place if is_union else place[1:])]
