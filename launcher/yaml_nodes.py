"""The tree that YAML text becomes: mappings, lists and scalars, each with its place in the file.

Pure. Decides what an unquoted word means: the YAML 1.2 core schema, so `no` and `on` are words, `1:30` and
dates are text, `1e3` is a number; `010` stays text, since one reader's 8 is another's 10. Knows no syntax.
"""

import re
from dataclasses import dataclass

__all__ = [
    "MappingNode",
    "Mark",
    "Node",
    "Scalar",
    "ScalarNode",
    "SequenceNode",
    "depth_of",
    "resolve_plain",
    "size_of",
    "to_plain",
]

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_OCTAL_OR_HEX = re.compile(r"0o[0-7]{1,20}|0x[0-9a-fA-F]{1,15}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,3})?")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}

Scalar = str | int | float | bool | None


@dataclass(frozen=True, order=True)
class Mark:
    """A place in the text: line and column count from 1; `width` is the token's length on that line."""

    line: int
    column: int
    width: int = 1


@dataclass(frozen=True)
class ScalarNode:
    """A single value: `value` as resolved, `text` as written; `origin` names the variable it came from."""

    mark: Mark
    path: tuple[str, ...]
    value: Scalar
    text: str
    is_plain: bool
    origin: str | None = None


@dataclass(frozen=True)
class SequenceNode:
    """A list."""

    mark: Mark
    path: tuple[str, ...]
    items: tuple["Node", ...]


@dataclass(frozen=True)
class MappingNode:
    """A mapping in the order of the file; keys are text, `key_marks` tells where each stands."""

    mark: Mark
    path: tuple[str, ...]
    entries: dict[str, "Node"]
    key_marks: dict[str, Mark]


Node = ScalarNode | SequenceNode | MappingNode


def resolve_plain(text: str) -> Scalar:
    """The value of an unquoted word by the YAML 1.2 core schema, with leading zeros kept as text."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _OCTAL_OR_HEX.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        number = float(text)
        return number if abs(number) != float("inf") else text
    return text


def to_plain(node: Node) -> object:
    """The tree as dicts, lists and scalars."""
    match node:
        case ScalarNode():
            return node.value
        case SequenceNode():
            return [to_plain(item) for item in node.items]
        case MappingNode():
            return {key: to_plain(value) for key, value in node.entries.items()}


def size_of(node: Node) -> int:
    """How many values the tree holds, aliases counted as often as they are used."""
    match node:
        case ScalarNode():
            return 1
        case SequenceNode():
            return 1 + sum(size_of(item) for item in node.items)
        case MappingNode():
            return 1 + sum(size_of(item) for item in node.entries.values())


def depth_of(node: Node) -> int:
    """How many levels the tree has."""
    match node:
        case ScalarNode():
            return 1
        case SequenceNode():
            return 1 + max(map(depth_of, node.items), default=0)
        case MappingNode():
            return 1 + max(map(depth_of, node.entries.values()), default=0)
