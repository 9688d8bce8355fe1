"""The kinds of value that config.yaml has: ports, GPU choices, argument lists, durations, sizes, names.

Pure. Decides how one scalar or list is read and what it may be, each with the sentence for the user when it
is not. Knows nothing of keys, files or of other values.
"""

import re
import shlex
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from launcher.configuration.choices import (
    AutoGpu,
    AutoPort,
    FixedPort,
    Gpu,
    NamedGpus,
    NoGpu,
    Port,
    PortRange,
)
from launcher.configuration.units import parse_duration, parse_size

__all__ = [
    "Argv",
    "AutoGpu",
    "AutoPort",
    "Cpus",
    "Duration",
    "FixedPort",
    "Gpu",
    "GpuValue",
    "HttpPath",
    "NamedGpus",
    "NoGpu",
    "Port",
    "PortRange",
    "PortValue",
    "SignalName",
    "Size",
    "Text",
    "parse_gpu",
    "parse_port",
]


def _fail(text: str) -> PydanticCustomError:
    return PydanticCustomError("lucid", "{text}", {"text": text})


def _from_value_error(parse: Callable[[object], Any]) -> Callable[[object], Any]:
    def validate(value: object) -> Any:
        try:
            return parse(value)
        except ValueError as error:
            raise _fail(str(error)) from None

    return validate


_PORT = re.compile(r"auto|(?:0|[1-9]\d{0,8})(?:\s*-\s*[1-9]\d{0,8})?", re.ASCII)


def parse_port(value: object) -> Port:
    """A port from a number, `first-last` or `auto`; ValueError says what is allowed."""
    if isinstance(value, FixedPort | PortRange | AutoPort):
        return value
    text = str(value)
    if isinstance(value, bool) or not _PORT.fullmatch(text):
        raise ValueError(f"must be a port number, a range such as 5005-5014, or auto, not {value!r}")
    if text == "auto":
        return AutoPort()
    numbers = [int(part) for part in text.split("-")]
    for number in numbers:
        if not 1 <= number <= 65535:
            raise ValueError(f"a port is a number from 1 to 65535, not {number}")
    if len(numbers) == 1:
        return FixedPort(numbers[0])
    if numbers[0] > numbers[1]:
        raise ValueError(f"the range runs backwards; write {numbers[1]}-{numbers[0]}")
    return PortRange(*numbers)


_GPU_NAME = re.compile(r"(?:GPU|MIG)-[0-9A-Za-z/-]{4,80}", re.ASCII)


def parse_gpu(value: object) -> Gpu:
    """A GPU choice from `auto`, `none`, an index, a `GPU-…`/`MIG-…` identifier or a list; else ValueError."""
    if isinstance(value, AutoGpu | NoGpu | NamedGpus):
        return value
    if value == "auto":
        return AutoGpu()
    if value == "none":
        return NoGpu()
    names = tuple(_gpu_name(item) for item in (value if isinstance(value, list | tuple) else [value]))
    if not names:
        raise ValueError("is an empty list; write none for the CPU")
    if len(set(names)) != len(names):
        raise ValueError("names the same GPU twice")
    return NamedGpus(names)


def _gpu_name(item: object) -> str | int:
    if isinstance(item, int) and not isinstance(item, bool) and 0 <= item < 1024:
        return item
    if isinstance(item, str) and re.fullmatch(r"0|[1-9]\d{0,3}", item, re.ASCII):
        return int(item)
    if isinstance(item, str) and _GPU_NAME.fullmatch(item):
        return item
    raise ValueError(
        f"must be auto, none, a GPU index, a GPU-… or MIG-… identifier, or a list of those, not {item!r}"
    )


def _words(value: object) -> object:
    """Argv from a list of scalars, or from one line split as a shell would, without a shell."""
    if isinstance(value, str):
        try:
            value = shlex.split(value)
        except ValueError as error:
            raise _fail(f"cannot be split into words: {str(error).lower()}; write a list") from None
    if isinstance(value, list | tuple):
        if not value:
            raise _fail("is empty; write the program and its arguments as a list")
        return tuple(_text(item) for item in value)
    return value


def _text(value: object) -> object:
    """Text from a scalar; booleans as YAML writes them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


def _free_of_nul(value: str) -> str:
    if "\0" in value:
        raise _fail("must not contain a NUL character")
    return value


_DURATION_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$"},
        {"type": "number", "minimum": 0},
    ],
    "examples": ["500ms", "10s", "5m", "1h30m"],
}
_SIZE_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*([KkMmGgTt]([Ii]?[Bb])?|[Bb])$"},
        {"type": "integer", "minimum": 0},
    ],
    "examples": ["10MB", "2GiB"],
}
_WORDS_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "minLength": 1},
        {"type": "array", "minItems": 1, "items": {"type": ["string", "number", "boolean"]}},
    ]
}
_PORT_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": 65535},
        {"type": "string", "pattern": r"^(auto|[0-9]+(\s*-\s*[0-9]+)?|\$\{.+\})$"},
    ]
}
_CPUS_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "integer", "minimum": 1},
        {"type": "string", "pattern": r"^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$"},
        {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}},
    ]
}
_GPU_ITEM: dict[str, Any] = {"type": ["integer", "string"]}
_GPU_SCHEMA: dict[str, Any] = {"anyOf": [_GPU_ITEM, {"type": "array", "minItems": 1, "items": _GPU_ITEM}]}

# By their numbers on Linux (signal(7)), which `kill` takes as well.
SIGNALS = {
    "TERM": 15, "INT": 2, "QUIT": 3, "HUP": 1, "USR1": 10, "USR2": 12, "KILL": 9, "ABRT": 6, "ALRM": 14,
    "WINCH": 28,
}  # fmt: skip
_SIGNAL_SCHEMA: dict[str, Any] = {"enum": [*SIGNALS, *(f"SIG{name}" for name in SIGNALS), *SIGNALS.values()]}
_SIGNAL_NAMES = {str(number): name for name, number in SIGNALS.items()}


def _signal(value: object) -> object:
    text = str(value).upper().removeprefix("SIG")
    name = _SIGNAL_NAMES.get(text, text)
    if name not in SIGNALS:
        raise _fail(f"must be one of {', '.join(SIGNALS)}, not {value!r}")
    return name


def _cpus(value: object) -> object:
    """A thread count from a number; processor numbers from a list or `0-3,8`."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 4096:
        return value
    if isinstance(value, str):
        value = [number for part in value.split(",") for number in _cpu_range(part)]
    if isinstance(value, list | tuple) and value and all(_is_cpu(item) for item in value):
        return tuple(sorted(set(value)))
    raise _fail(
        f"must be a number of threads, a list of processor numbers, or text such as 0-3,8; not {value!r}"
    )


def _is_cpu(item: object) -> bool:
    return isinstance(item, int) and not isinstance(item, bool) and 0 <= item < 4096


def _cpu_range(part: str) -> list[object]:
    match = re.fullmatch(r"\s*(\d{1,4})(?:-(\d{1,4}))?\s*", part, re.ASCII)
    if match is None:
        return [part]
    first = int(match[1])
    return list(range(first, int(match[2] or first) + 1))


def _http_path(value: str) -> str:
    if not re.fullmatch(r"/[!-~]*", value):
        raise PydanticCustomError(
            "lucid", "must be a path that starts with '/', not {value}", {"value": repr(value)}
        )
    return value


HttpPath = Annotated[str, AfterValidator(_http_path)]
Text = Annotated[
    str,
    AfterValidator(_free_of_nul),
    BeforeValidator(_text),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]
Duration = Annotated[
    float, BeforeValidator(_from_value_error(parse_duration)), WithJsonSchema(_DURATION_SCHEMA)
]
Size = Annotated[int, BeforeValidator(_from_value_error(parse_size)), WithJsonSchema(_SIZE_SCHEMA)]
Argv = Annotated[tuple[Text, ...], BeforeValidator(_words), WithJsonSchema(_WORDS_SCHEMA)]
PortValue = Annotated[Port, PlainValidator(_from_value_error(parse_port)), WithJsonSchema(_PORT_SCHEMA)]
GpuValue = Annotated[Gpu, PlainValidator(_from_value_error(parse_gpu)), WithJsonSchema(_GPU_SCHEMA)]
SignalName = Annotated[str, PlainValidator(_signal), WithJsonSchema(_SIGNAL_SCHEMA)]
Cpus = Annotated[tuple[int, ...] | int, PlainValidator(_cpus), WithJsonSchema(_CPUS_SCHEMA)]
