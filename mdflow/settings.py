"""How settings are read and checked: defaults, a YAML file, then flags, then key.sub=value."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from mdflow.errors import InputError, hint


class Settings(BaseModel):
    """Frozen; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# A date that is none is a ValueError, brackets by the thousand are a RecursionError.
YAML_TROUBLE = (yaml.YAMLError, ValueError, RecursionError)

Config = TypeVar("Config", bound=Settings)


def build(
    kind: type[Config],
    file: Path | None = None,
    overrides: list[str] | None = None,
    base: dict[str, Any] | None = None,
    **flags: Any,
) -> Config:
    """A config of `kind` from its defaults, then a YAML file, then flags that are not None, then "key.sub=value".

    `base`: values in place of some of the defaults. A flag's double underscore is a dot. Raises InputError naming
    every wrong key (with the nearest right one) and every value out of range.
    """
    values = read_yaml(file) if file else {}
    for key, value in flags.items():
        if value is not None:
            put(values, key.split("__"), value)
    for override in overrides or []:
        key, separator, text = override.partition("=")
        if not separator:
            raise InputError(f"Cannot read the setting '{override}'; expected key.sub=value.")
        put(values, key.split("."), parse_value(override, text))
    try:
        return kind.model_validate(overlay(overlay(kind().model_dump(), base or {}), values))
    except ValidationError as error:
        raise InputError("; ".join(explain(kind, problem) for problem in error.errors())) from error


def dump(config: Settings) -> str:
    """The config as YAML that `build` reads back."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def read_yaml(file: Path) -> dict[str, Any]:
    """The mapping in a YAML file."""
    try:
        values = plain_yaml(Path(file).read_text())
    except OSError as error:
        raise InputError(f"Cannot read the config '{file}': {error.strerror}.") from error
    except YAML_TROUBLE as error:
        raise InputError(f"The config '{file}' is not valid YAML: {' '.join(str(error).split())}.") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(f"The config '{file}' holds a {type(values).__name__}; expected key: value lines.")
    return values


def plain_yaml(text: str) -> Any:
    """The value of a YAML text without aliases: a few lines of them can stand for more than any memory holds."""
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
        raise yaml.YAMLError("it has an alias (*name); write the value out")
    return yaml.safe_load(text)


def parse_value(override: str, text: str) -> Any:
    """The value of a key=value setting, in YAML's notation."""
    try:
        return plain_yaml(text)
    except YAML_TROUBLE as error:
        raise InputError(f"Cannot read the value in '{override}'; expected a number, a word or a [list].") from error


def put(values: dict[str, Any], path: list[str], value: Any) -> None:
    """Set a nested key."""
    for key in path[:-1]:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise InputError(f"'{'.'.join(path)}' goes below '{key}', which holds a single value.")
    values[path[-1]] = value


def overlay(defaults: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """`values` over `defaults`, key by key: a part of a group that is not named keeps the default of its verb."""
    laid = {
        key: overlay(defaults[key], value) if isinstance(value, dict) and isinstance(defaults.get(key), dict) else value
        for key, value in values.items()
    }
    return defaults | laid


def explain(kind: type[BaseModel], problem: dict[str, Any]) -> str:
    """One clause for one of pydantic's errors."""
    place = [str(part) for part in problem["loc"]]
    name = ".".join(place)
    if problem["type"] != "extra_forbidden":
        return f"'{name}' is {problem['input']!r}: {problem['msg'][0].lower()}{problem['msg'][1:]}"
    for part in place[:-1]:
        annotation = kind.model_fields[part].annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            kind = annotation
    return f"Unknown setting '{name}': {hint(place[-1], kind.model_fields)}"
