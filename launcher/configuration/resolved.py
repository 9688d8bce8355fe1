"""A resolved service back in the words of config.yaml: what `config show` prints, key by key.

Pure. Decides how each kind of value is written. Knows nothing of secrets or of where a value came from.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel

from launcher.configuration.models import AutoGpu, AutoPort, FixedPort, NamedGpus, NoGpu, PortRange, Service
from launcher.configuration.units import format_duration

__all__ = ["flatten", "resolved_service"]


def resolved_service(service: Service) -> dict[str, object]:
    """Every key of `service` under its YAML name; durations as text, absent values as None."""
    return {key: value for key, value in _model(service).items() if key != "name"}


def flatten(value: object, path: tuple[str, ...]) -> Iterator[str]:
    """The dotted key of `value` and of everything below it."""
    yield ".".join(path)
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flatten(inner, (*path, str(key)))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from flatten(inner, (*path, str(index)))


def _model(model: BaseModel) -> dict[str, object]:
    resolved: dict[str, object] = {}
    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        is_duration = name.endswith("_s") and isinstance(value, float)
        resolved[info.alias or name] = format_duration(value) if is_duration else _plain(value)
    return resolved


def _plain(value: object) -> object:
    match value:
        case BaseModel():
            return _model(value)
        case FixedPort():
            return value.number
        case PortRange() | AutoPort() | AutoGpu() | NoGpu() | Path():
            return str(value)
        case NamedGpus(names=(only,)):
            return only
        case NamedGpus():
            return list(value.names)
        case tuple() | list():
            return [_plain(item) for item in value]
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
    return value
