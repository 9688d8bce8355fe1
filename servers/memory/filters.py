"""What `filter` of a request means (protocol.md section 4): which memories it lets through.

Pure. It turns the wire's JSON into a typed `Filter`; it does not know how a store evaluates one.

A filter is an object whose parts must all hold::

    {"type": "fact", "tags": ["a", "b"], "since": "2026-01-01", "until": 1767312000000,
     "metadata": {"project": "x", "stage": {"in": [1, 2]}, "cost.total": {"gte": 1, "lt": 5}}}

`type` is one type or a list of which one must match. `tags` is one tag or a list that must all be there;
`{"any": [...]}` asks for one of them. `since` and `until` bound the timestamp, both inclusive. `timestamp`
takes the range operators. Any other key is a metadata field, as if written inside `metadata`; a dot goes
one object deeper.
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
    return Filter(_strings("type", raw.get("type")), tags_all, tags_any, since_ms, until_ms, conditions)


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
    unknown = set(value) - {"all", "any"}
    if unknown:
        raise ValueError(f'tags must be a list, {{"all": [...]}} or {{"any": [...]}}, got {_shown(value)}')
    return _strings("tags.all", value.get("all")), _strings("tags.any", value.get("any"))


def _time_range(raw: Mapping[str, object]) -> tuple[int | None, int | None]:
    lows = [_instant("since", raw["since"])] if raw.get("since") is not None else []
    highs = [_instant("until", raw["until"])] if raw.get("until") is not None else []
    bounds = raw.get("timestamp")
    if bounds is not None:
        if not isinstance(bounds, Mapping) or not set(bounds) <= {"gt", "gte", "lt", "lte"}:
            raise ValueError(f"timestamp takes an object of gt, gte, lt, lte, got {_shown(bounds)}")
        for operator, value in bounds.items():
            instant = _instant(f"timestamp.{operator}", value)
            if operator in ("gt", "gte"):
                lows.append(instant + (operator == "gt"))
            else:
                highs.append(instant - (operator == "lt"))
    return max(lows, default=None), min(highs, default=None)


def _instant(part: str, value: object) -> int:
    try:
        return instant_ms(value)
    except ValueError as error:
        raise ValueError(f"{part} {error}, got {_shown(value)}") from error


def _conditions(raw: Mapping[str, object]) -> tuple[Condition, ...]:
    nested = raw.get("metadata")
    if nested is not None and not isinstance(nested, Mapping):
        raise ValueError(f"metadata must be an object, got {_shown(nested)}")
    reserved = {"type", "tags", "since", "until", "timestamp", "metadata"}
    fields = [(key, value) for key, value in raw.items() if key not in reserved]
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
    found: list[Condition] = []
    for name, operand in value.items():
        operator = next((known for known in OPERATORS if known == name), None)
        if operator is None:
            raise ValueError(f"{key}.{name} is no operator; known are {', '.join(OPERATORS)}")
        found.append(_condition(key, path, operator, operand))
    return found


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
