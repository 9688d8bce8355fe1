"""Settings as plain read-only records: what the planner read and checked, without the library that checks.

Decides how frozen models travel as JSON and come back with the same attributes: mappings, lists, paths,
choices and records are told apart. The process that supervises therefore needs neither the models nor YAML
in its memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from launcher.configuration.choices import AutoGpu, AutoPort, FixedPort, NamedGpus, NoGpu, PortRange
from launcher.placement import Assignment

__all__ = ["Record", "from_json", "to_json"]

_RECORD, _MAPPING, _LIST, _PATH, _CHOICE = "r", "m", "l", "p", "c"
_CHOICES = {
    kind.__name__: kind for kind in (Assignment, AutoGpu, AutoPort, FixedPort, NamedGpus, NoGpu, PortRange)
}


class Record:
    """The attributes of a frozen model; equal to a record with the same ones."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        """Hold `values`, which nobody may change any more."""
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name} cannot be set: settings change by reading the file again")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]  # it holds mappings, so it cannot have one

    def __repr__(self) -> str:
        return f"Record({self.__dict__!r})"


def to_json(value: object, **added: object) -> object:
    """Return `value` as JSON: frozen pydantic models with their properties, choices of ports and GPUs,
    mappings, lists, paths; `from_json` is the inverse. Raises TypeError for anything else.

    A model gets the attributes `added` as well.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return [_PATH, str(value)]
    if isinstance(value, Mapping):
        return [_MAPPING, {str(key): to_json(item) for key, item in value.items()}]
    if isinstance(value, tuple | list | set | frozenset):
        return [_LIST, [to_json(item) for item in value]]
    kind = type(value)
    if kind.__name__ in _CHOICES and is_dataclass(kind):
        named = {field.name: to_json(getattr(value, field.name)) for field in fields(kind)}
        return [_CHOICE, [kind.__name__, named]]
    found = {name: getattr(value, name) for name in _attributes(value)} | added
    return [_RECORD, {name: to_json(item) for name, item in found.items()}]


def from_json(document: object) -> Any:
    """Return what `to_json` was given, with records for models and tuples for lists.

    Raises ValueError, TypeError or KeyError for what it never made.
    """
    if isinstance(document, dict):
        raise ValueError("a mapping is marked as one")
    if not isinstance(document, list):
        return document
    kind, content = document
    match kind:
        case "r":
            return Record(_each(content))
        case "m":
            return _each(content)
        case "l" if isinstance(content, list):
            return tuple(from_json(item) for item in content)
        case "p":
            return Path(content)
        case "c":
            name, named = content
            return _CHOICES[name](**_each(named))
    raise ValueError(f"{kind!r} is no kind of value")


def _each(content: object) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise ValueError(f"{content!r} has no names")
    return {name: from_json(item) for name, item in content.items()}


def _attributes(value: object) -> list[str]:
    """The names of a model's fields, and of the properties that our own classes add to them."""
    if isinstance(value, Record):
        return list(vars(value))
    kind = type(value)
    models = getattr(kind, "model_fields", None)
    if models is None:
        raise TypeError(f"{kind.__name__} is no setting")
    derived = [
        name
        for base in kind.__mro__
        for name, item in vars(base).items()
        if isinstance(item, property) and base.__module__.startswith("launcher.")
    ]
    return [*models, *derived]
