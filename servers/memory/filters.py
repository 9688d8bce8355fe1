"""What `filter` of a request means (protocol.md section 4): which memories it lets through.

Pure. It turns the wire's JSON into a typed `Filter`; it does not know how a store evaluates one.

A filter is an object whose parts must all hold::

    {"type": "fact", "tags": ["a", "b"], "since": "2026-01-01", "until": 1767312000000,
     "metadata": {"project": "x", "stage": {"in": [1, 2]}, "cost.total": {"gte": 1, "lt": 5}}}

`type` is one type or a list of which one must match. `tags` is one tag or a list that must all be there;
`{"any": [...]}` asks for one of them. `since` and `until` bound the timestamp, both inclusive, `after` and
`before` exclusive. `timestamp`, or `time_range`, takes the range operators and those four words. Any other
key is a metadata field, as if written inside `metadata`; a dot goes one object deeper.

What else people write means what it says: `{"in": [...]}` for `type` and `tags`, `from` and `to` or a list
of two for `timestamp`, `range: [low, high]`, `min` and `max` for `gte` and `lte`, and `$` before an operator.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from servers.memory.instants import instant_ms

Scalar = str | int | float | bool | None
"""A JSON value that can be compared."""

Operator = Literal["eq", "ne", "in", "gt", "gte", "lt", "lte"]
"""How a metadata field is compared."""

OPERATORS: Final[tuple[Operator, ...]] = get_args(Operator)
_OPERATOR_OF: Final[Mapping[str, Operator]] = {
    **{operator: operator for operator in OPERATORS},
    "min": "gte",
    "max": "lte",
}
_ENDS: Final[tuple[Operator, Operator]] = ("gte", "lte")
_LOW_BOUNDS: Final = {"gte": 0, "gt": 1, "since": 0, "from": 0, "start": 0, "after": 1, "min": 0}
"""The words for the earliest instant, and how many milliseconds later it begins; below, for the latest."""
_HIGH_BOUNDS: Final = {"lte": 0, "lt": 1, "until": 0, "to": 0, "end": 0, "before": 1, "max": 0}
_TIMES: Final = ("timestamp", "time_range")
_RESERVED: Final = frozenset({"type", "tags", "since", "until", "after", "before", "metadata", *_TIMES})
MAX_CONDITIONS: Final = 64
"""Most conditions in one filter, and most values in one list."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison of a metadata field: the keys that lead to it, the operator, the value(s)."""

    path: tuple[str, ...]
    operator: Operator
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Filter:
    """Everything that must hold of a memory; an empty part holds always. Times are epoch ms, inclusive."""

    types: tuple[str, ...] = ()
    tags_all: tuple[str, ...] = ()
    tags_any: tuple[str, ...] = ()
    since_ms: int | None = None
    until_ms: int | None = None
    conditions: tuple[Condition, ...] = ()


EVERYTHING: Final = Filter()
"""The filter that lets every memory through."""


def parse_filter(raw: Mapping[str, object] | None) -> Filter:
    """Return the typed filter for the wire's object; None and {} let everything through.

    Raises ValueError, naming the part, what is allowed and what came.
    """
    if not raw:
        return EVERYTHING
    since_ms, until_ms = _time_range(raw)
    tags_all, tags_any = _tags(raw.get("tags"))
    conditions = _conditions(raw)
    if len(conditions) > MAX_CONDITIONS:
        raise ValueError(f"at most {MAX_CONDITIONS} conditions, got {len(conditions)}")
    return Filter(_types(raw.get("type")), tags_all, tags_any, since_ms, until_ms, conditions)


def _types(value: object) -> tuple[str, ...]:
    if isinstance(value, Mapping) and len(value) == 1 and set(value) <= {"in", "$in", "eq", "$eq"}:
        return _strings("type", next(iter(value.values())))
    return _strings("type", value)


def _strings(part: str, value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ValueError(f"{part} must be a string or a list of strings, got {_shown(value)}")
    if len(items) > MAX_CONDITIONS:
        raise ValueError(f"{part} takes at most {MAX_CONDITIONS} strings, got {len(items)}")
    return tuple(items)


def _tags(value: object) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if not isinstance(value, Mapping):
        return _strings("tags", value), ()
    words = {key: key.removeprefix("$") for key in value}
    said = {"any" if word == "in" else word: value[key] for key, word in words.items()}
    if len(said) < len(value) or not set(said) <= {"all", "any"}:
        raise ValueError(f'tags must be a list, {{"all": [...]}} or {{"any": [...]}}, got {_shown(value)}')
    return _strings("tags.all", said.get("all")), _strings("tags.any", said.get("any"))


def _time_range(raw: Mapping[str, object]) -> tuple[int | None, int | None]:
    bounds = [(name, name, raw.get(name)) for name in ("since", "until", "after", "before")]
    for part in _TIMES:
        bounds += [(name, f"{part}.{name}", value) for name, value in _bounds(part, raw.get(part)).items()]
    given = [(name, _instant(part, value)) for name, part, value in bounds if value is not None]
    lows = [instant + _LOW_BOUNDS[name] for name, instant in given if name in _LOW_BOUNDS]
    highs = [instant - _HIGH_BOUNDS[name] for name, instant in given if name in _HIGH_BOUNDS]
    return max(lows, default=None), min(highs, default=None)


def _bounds(part: str, value: object) -> Mapping[str, object]:
    if value is None:
        return {}
    if isinstance(value, list) and len(value) == 2:
        return dict(zip(("from", "to"), value, strict=True))
    if isinstance(value, Mapping):
        said = {name.removeprefix("$"): bound for name, bound in value.items()}
        if said.keys() <= _LOW_BOUNDS.keys() | _HIGH_BOUNDS.keys():
            return said
    raise ValueError(f"{part} takes an object of gt, gte, lt, lte, or of from, to, got {_shown(value)}")


def _instant(part: str, value: object) -> int:
    try:
        return instant_ms(value)
    except ValueError as error:
        raise ValueError(f"{part} {error}, got {_shown(value)}") from error


def _conditions(raw: Mapping[str, object]) -> tuple[Condition, ...]:
    nested = raw.get("metadata")
    if nested is not None and not isinstance(nested, Mapping):
        raise ValueError(f"metadata must be an object, got {_shown(nested)}")
    fields = [(key.removeprefix("metadata."), value) for key, value in raw.items() if key not in _RESERVED]
    fields += list(nested.items()) if nested else []
    return tuple(condition for key, value in fields for condition in _field(key, value))


def _field(key: str, value: object) -> list[Condition]:
    path = tuple(key.split("."))
    if '"' in key or "\0" in key or not all(path):
        raise ValueError(f"metadata field {key!r} has an empty part or a sign that no filter can name")
    if not isinstance(value, Mapping):
        return [_condition(key, path, "in" if isinstance(value, list) else "eq", value)]
    if not value:
        raise ValueError(f"{key} needs one of {', '.join(OPERATORS)}, got an empty object")
    return [condition for name, operand in value.items() for condition in _compared(key, path, name, operand)]


def _compared(key: str, path: tuple[str, ...], name: str, operand: object) -> list[Condition]:
    word = name.removeprefix("$")
    if word == "range":
        if not isinstance(operand, list) or len(operand) != 2:
            raise ValueError(f"{key}.range takes a list of the lowest and the highest, got {_shown(operand)}")
        ends = zip(_ENDS, operand, strict=True)
        return [_condition(key, path, end, bound) for end, bound in ends if bound is not None]
    operator = _OPERATOR_OF.get(word)
    if operator is None:
        raise ValueError(f"{key}.{name} is no operator; known are {', '.join(OPERATORS)} and range")
    return [_condition(key, path, operator, operand)]


def _condition(key: str, path: tuple[str, ...], operator: Operator, operand: object) -> Condition:
    if operator == "in":
        if not isinstance(operand, list) or len(operand) > MAX_CONDITIONS:
            raise ValueError(
                f"{key}.in takes a list of at most {MAX_CONDITIONS} values, got {_shown(operand)}"
            )
        return Condition(path, operator, _scalars(key, operand))
    values = _scalars(key, [operand])
    if operator in ("gt", "gte", "lt", "lte") and (operand is None or isinstance(operand, bool)):
        raise ValueError(f"{key}.{operator} takes a number or text, got {_shown(operand)}")
    return Condition(path, operator, values)


def _scalars(key: str, values: Sequence[object]) -> tuple[Scalar, ...]:
    found: list[Scalar] = []
    for value in values:
        if value is not None and not isinstance(value, str | bool | int | float):
            raise ValueError(
                f"{key} can be compared with text, numbers, true, false and null, got {_shown(value)}"
            )
        if isinstance(value, int | float) and not _is_storable(value):
            raise ValueError(f"{key} is compared with a number beyond what is stored: {_shown(value)}")
        found.append(value)
    return tuple(found)


def _is_storable(number: float) -> bool:
    if isinstance(number, int):
        return -(2**63) <= number < 2**63
    return math.isfinite(number)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
