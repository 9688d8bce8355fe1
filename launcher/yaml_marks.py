"""YAML text to a tree in which every node knows its line and column.

Decides what is refused, each at its place: duplicate keys, tags, merge keys, a second document, tabs as
indentation, and more than MAX_BYTES, MAX_DEPTH or MAX_NODES (aliases count as often as they are used).
PyYAML's parser yields the events; its constructors, which guess types, are not used. Knows nothing of what
keys mean.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from launcher.yaml_nodes import (
    MappingNode,
    Mark,
    Node,
    Scalar,
    ScalarNode,
    SequenceNode,
    depth_of,
    resolve_plain,
    size_of,
)

__all__ = ["Document", "YamlProblem", "load_yaml", "split_lines"]

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 32
MAX_NODES = 20_000

_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_STRING_TAGS = ("tag:yaml.org,2002:str", "!")


@dataclass(frozen=True)
class YamlProblem:
    """Something wrong with the text itself; `path` is the dotted key it stands under."""

    mark: Mark
    message: str
    path: tuple[str, ...] = ()


@dataclass(frozen=True)
class Document:
    """What was read: the tree (None when the text could not be parsed at all) and every problem met."""

    root: Node | None
    problems: tuple[YamlProblem, ...]


def split_lines(text: str) -> tuple[str, ...]:
    """The lines of `text` as YAML counts them (YAML 1.1, section 4.2), so that a mark finds its line."""
    return tuple(_LINE_BREAK.split(text))


def load_yaml(text: str) -> Document:
    """Parse `text`; problems are returned, never raised."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        return Document(None, (YamlProblem(Mark(1, 1), f"the file is larger than {MAX_BYTES} bytes"),))
    builder = _Builder(text)
    try:
        root = builder.document()
    except yaml.MarkedYAMLError as error:
        return Document(None, (*builder.problems, _syntax_problem(error, text)))
    except yaml.reader.ReaderError as error:
        return Document(None, (*builder.problems, _character_problem(error, text)))
    except _TooMuch as error:
        return Document(None, (*builder.problems, error.problem))
    return Document(root, tuple(builder.problems))


class _TooMuch(Exception):
    """A limit was passed; parsing stops here."""

    def __init__(self, mark: Mark, message: str) -> None:
        super().__init__(message)
        self.problem = YamlProblem(mark, message)


@dataclass
class _Builder:
    """Builds the tree from PyYAML's events; recursion is as deep as MAX_DEPTH at most."""

    text: str
    problems: list[YamlProblem] = field(default_factory=list)
    _anchors: dict[str, Node] = field(default_factory=dict)
    _nodes: int = 0

    def document(self) -> Node:
        events: Iterator[Event] = iter(yaml.parse(self.text, Loader=yaml.SafeLoader))
        root: Node | None = None
        for event in events:
            if isinstance(event, DocumentStartEvent):
                if root is not None:
                    self.problems.append(YamlProblem(_mark(event), "only one document per file"))
                    return root
                root = self._node(next(events), events, ())
            elif not isinstance(event, DocumentEndEvent):
                continue
        return root if root is not None else ScalarNode(Mark(1, 1), (), None, "", True)

    def _node(self, event: Event, events: Iterator[Event], path: tuple[str, ...]) -> Node:
        self._count(event, path)
        if isinstance(event, AliasEvent):
            return self._alias(event, path)
        self._refuse_tag(event, path)
        node: Node
        if isinstance(event, ScalarEvent):
            node = self._scalar(event, path)
        elif isinstance(event, SequenceStartEvent):
            node = self._sequence(event, events, path)
        else:
            node = self._mapping(event, events, path)
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _scalar(self, event: ScalarEvent, path: tuple[str, ...]) -> ScalarNode:
        text = event.value
        if not text.isascii():
            # JSON writes a character beyond U+FFFF as two escapes; YAML's escapes know it as one.
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        is_plain = event.style is None and event.tag is None
        value: Scalar = resolve_plain(text) if is_plain else text
        return ScalarNode(_mark(event), path, value, text, is_plain)

    def _count(self, event: Event, path: tuple[str, ...]) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _TooMuch(_mark(event), f"the file has more than {MAX_NODES} values, aliases counted")
        if len(path) > MAX_DEPTH:
            raise _TooMuch(_mark(event), f"nested deeper than {MAX_DEPTH} levels")

    def _alias(self, event: AliasEvent, path: tuple[str, ...]) -> Node:
        target = self._anchors.get(event.anchor or "")
        if target is None:
            self.problems.append(
                YamlProblem(_mark(event), f"the alias *{event.anchor} has no anchor before it", path)
            )
            return ScalarNode(_mark(event), path, None, "", True)
        self._nodes += size_of(target)
        if self._nodes > MAX_NODES or len(path) + depth_of(target) > MAX_DEPTH:
            raise _TooMuch(_mark(event), f"aliases make more than {MAX_NODES} values or {MAX_DEPTH} levels")
        return target

    def _refuse_tag(self, event: Event, path: tuple[str, ...]) -> None:
        tag = getattr(event, "tag", None)
        if tag is not None and tag not in _STRING_TAGS:
            shown = tag.replace("tag:yaml.org,2002:", "!!")
            self.problems.append(YamlProblem(_mark(event), f"the tag {shown} is not allowed here", path))

    def _sequence(self, start: Event, events: Iterator[Event], path: tuple[str, ...]) -> SequenceNode:
        items: list[Node] = []
        for event in events:
            if isinstance(event, SequenceEndEvent):
                break
            items.append(self._node(event, events, (*path, str(len(items)))))
        return SequenceNode(_mark(start), path, tuple(items))

    def _mapping(self, start: Event, events: Iterator[Event], path: tuple[str, ...]) -> MappingNode:
        node = MappingNode(_mark(start), path, {}, {})
        for event in events:
            if isinstance(event, MappingEndEvent):
                break
            key = self._key(event, events, path)
            value = self._node(next(events), events, (*path, key or "?"))
            if key is None:
                continue
            if key in node.entries:
                first = node.key_marks[key].line
                self.problems.append(
                    YamlProblem(
                        _mark(event), f"the key is here twice; the first is on line {first}", (*path, key)
                    )
                )
                continue
            node.entries[key] = value
            node.key_marks[key] = _mark(event)
        return node

    def _key(self, event: Event, events: Iterator[Event], path: tuple[str, ...]) -> str | None:
        """The key as written; None, with a problem, for one that is no plain word."""
        node = self._node(event, events, path)
        if not isinstance(node, ScalarNode):
            self.problems.append(YamlProblem(node.mark, "a key must be a single word", path))
            return None
        if node.text == "<<" and node.is_plain:
            text = "merge keys are not supported; put what services share under 'defaults'"
            self.problems.append(YamlProblem(node.mark, text, path))
            return None
        return node.text


def _mark(event: Event) -> Mark:
    start, end = event.start_mark, event.end_mark
    assert start is not None
    assert end is not None  # the pure Python parser marks every event
    is_token = isinstance(event, ScalarEvent | AliasEvent) and end.line == start.line
    return Mark(start.line + 1, start.column + 1, max(1, end.column - start.column) if is_token else 1)


# What PyYAML says, and what it means to somebody who has never read the YAML specification.
_PLAIN_WORDS = {
    "mapping values are not allowed here": "one ': ' too many; quote the value, or check the indentation",
    "could not find expected ':'": "a ':' is missing after the key",
    "expected <block end>": "the indentation does not match the lines above",
    "found unexpected end of stream": "a quote is opened and never closed",
    "expected ',' or ']'": "a ',' or ']' is missing in the list",
    "expected ',' or '}'": "a ',' or '}' is missing in the mapping",
    "expected the node content": "a value is missing here, or a bracket is not closed",
    "cannot start any token": "this character cannot start a value; put the value in quotes",
}


def _syntax_problem(error: yaml.MarkedYAMLError, text: str) -> YamlProblem:
    """PyYAML's complaint in plain words, at its place; a tab gets its own hint."""
    where = error.problem_mark or error.context_mark
    line, column = (1, 1) if where is None else (where.line + 1, where.column + 1)
    source = (*split_lines(text), *("",) * line)[line - 1]
    indent = source[: len(source) - len(source.lstrip())]
    complaint = error.problem or "cannot be read"
    if "\t" in indent or "'\\t'" in complaint:
        column = source.index("\t") + 1 if "\t" in source else column
        return YamlProblem(Mark(line, column), "a tab; YAML is indented with spaces only")
    for theirs, ours in _PLAIN_WORDS.items():
        if theirs in complaint:
            return YamlProblem(Mark(line, column), f"not valid YAML: {ours}")
    return YamlProblem(Mark(line, column), f"not valid YAML: {complaint}")


def _character_problem(error: yaml.reader.ReaderError, text: str) -> YamlProblem:
    before = split_lines(text[: error.position])
    line, column = len(before), len(before[-1]) + 1
    code = error.character if isinstance(error.character, int) else ord(error.character[:1])
    return YamlProblem(Mark(line, column), f"the character U+{code:04X} is not allowed in YAML")
