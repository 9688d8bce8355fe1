"""The tree of config.yaml made ready for the models: variables, short forms, defaults.

Pure. Decides what is text whatever it looks like (`env`, `command`), what a default may not bring in, and
which node a value came from. Knows nothing of which keys are allowed.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from launcher.configuration.interpolation import CHILD_VARIABLE, interpolate
from launcher.configuration.models import HEALTH_KINDS
from launcher.yaml_marks import YamlProblem
from launcher.yaml_nodes import MappingNode, Mark, Node, ScalarNode, SequenceNode, resolve_plain

__all__ = ["Located", "Origin", "locate", "merge_defaults", "origins_of", "prepare_tree"]

# Where the empty value (`null`) is a value of its own.
_MAY_BE_EMPTY = ("options", "canary")


@dataclass(frozen=True)
class Located:
    """A place found by its keys: the node, the mark of its key (None in a list), its path in the file."""

    node: Node
    key_mark: Mark | None
    path: tuple[str, ...]


def prepare_tree(root: Node, environ: Mapping[str, str]) -> tuple[Node, tuple[YamlProblem, ...]]:
    """`root` with variables replaced and short forms spelled out; empty values become problems."""
    preparation = _Preparation(environ)
    return preparation.visit(root, ()), tuple(preparation.problems)


def _inside(path: tuple[str, ...]) -> tuple[str, ...]:
    """The part of `path` below a service or below `defaults`."""
    if path[:1] == ("services",):
        return path[2:]
    return path[1:] if path[:1] == ("defaults",) else ("",)


@dataclass
class _Preparation:
    """One walk over the tree; `path` is where a node is used, which for an alias is not where it stands."""

    environ: Mapping[str, str]
    problems: list[YamlProblem] = field(default_factory=list)

    def visit(self, node: Node, path: tuple[str, ...]) -> Node:
        match node:
            case ScalarNode():
                return self._scalar(node, path)
            case SequenceNode():
                items = [self.visit(item, (*path, str(place))) for place, item in enumerate(node.items)]
                return replace(node, items=tuple(items))
            case MappingNode():
                return self._mapping(node, path)

    def _mapping(self, node: MappingNode, path: tuple[str, ...]) -> MappingNode:
        entries: dict[str, Node] = {}
        for key, value in node.entries.items():
            here = (*path, key)
            if _is_empty(value) and not set(_MAY_BE_EMPTY) & set(_inside(here)[:-1]):
                text = "has no value; give one, or remove the key"
                self.problems.append(YamlProblem(node.key_marks[key], text, here))
                continue
            entries[key] = self.visit(_spelled_out(value, _inside(here)), here)
        return replace(node, entries=entries)

    def _scalar(self, node: ScalarNode, path: tuple[str, ...]) -> ScalarNode:
        inside = _inside(path)
        is_argv = inside[:1] == ("command",) or inside[:2] == ("health", "exec")
        is_env = inside[:1] == ("env",) and len(inside) == 2
        if is_argv or is_env:
            node = replace(node, value=node.text, is_plain=False)
        if not isinstance(node.value, str) or "$" not in node.value:
            return node
        done = interpolate(node.value, self.environ, keep=CHILD_VARIABLE if is_argv or is_env else None)
        for offset, width, text in done.problems:
            self.problems.append(YamlProblem(_within(node, offset, width), text, path))
        return replace(
            node,
            value=resolve_plain(done.text) if node.is_plain else done.text,
            text=done.text,
            origin=", ".join(done.variables) or None,
        )


def _is_empty(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.value is None


def _within(node: ScalarNode, offset: int, width: int) -> Mark:
    """The mark of a part of a scalar; of all of it when the text does not stand in the file as it is."""
    for quotes in (0, 1):
        if node.mark.width == len(node.text) + 2 * quotes:
            return Mark(node.mark.line, node.mark.column + quotes + offset, width)
    return node.mark


def _spelled_out(node: Node, inside: tuple[str, ...]) -> Node:
    """`restart: never` as a mapping, `command: a b` as a list: they merge and read like the long form."""
    if not isinstance(node, ScalarNode):
        return node
    if inside == ("restart",) and isinstance(node.value, str):
        return MappingNode(node.mark, node.path, {"policy": node}, {"policy": node.mark})
    if len(inside) == 2 and inside[0] == "depends_on" and isinstance(node.value, str):
        return MappingNode(node.mark, node.path, {"condition": node}, {"condition": node.mark})
    if inside in (("command",), ("health", "exec")) and isinstance(node.value, str):
        try:
            words = shlex.split(node.value)
        except ValueError:
            return node  # the model says what is wrong with it
        items = tuple(replace(node, value=word, text=word, is_plain=False) for word in words)
        return SequenceNode(node.mark, node.path, items)
    return node


def merge_defaults(defaults: MappingNode | None, service: MappingNode) -> MappingNode:
    """`service` with what it does not say itself taken from `defaults`, key by key, however deep.

    A default never brings in the other one of `server` and `command`, a second kind of probe, or `options`
    for a service that is no built-in server.
    """
    if defaults is None:
        return service
    unwanted = {"server", "command"} if service.entries.keys() & {"server", "command"} else set[str]()
    if "command" in service.entries:
        unwanted.add("options")
    merged = _merge(_without(defaults, unwanted), service)
    own, shared = service.entries.get("health"), defaults.entries.get("health")
    if (
        isinstance(own, MappingNode)
        and isinstance(shared, MappingNode)
        and own.entries.keys() & set(HEALTH_KINDS)
    ):
        merged.entries["health"] = _merge(_without(shared, set(HEALTH_KINDS)), own)
    return merged


def _without(node: MappingNode, keys: set[str]) -> MappingNode:
    return replace(node, entries={key: value for key, value in node.entries.items() if key not in keys})


def _merge(below: MappingNode, above: MappingNode) -> MappingNode:
    entries = dict(below.entries)
    for key, value in above.entries.items():
        lower = entries.get(key)
        both = isinstance(value, MappingNode) and isinstance(lower, MappingNode)
        entries[key] = _merge(lower, value) if both else value  # type: ignore[arg-type]  # `both` proved it
    return replace(above, entries=entries, key_marks={**below.key_marks, **above.key_marks})


def locate(root: Node, location: Sequence[str | int], path: tuple[str, ...]) -> Located:
    """The deepest place under `root` that `location` leads to; `path` is the dotted path of `root` itself."""
    found = Located(root, None, path)
    for step in location:
        node = found.node
        if isinstance(node, MappingNode) and str(step) in node.entries:
            child = node.entries[str(step)]
            here = child.path if _is_from_elsewhere(child, found.path) else (*found.path, str(step))
            found = Located(child, node.key_marks[str(step)], here)
        elif isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.items):
            found = Located(node.items[step], None, (*found.path, str(step)))
        else:
            break
    return found


def _is_from_elsewhere(node: Node, parent: tuple[str, ...]) -> bool:
    """Whether a value was merged in from `defaults`, so that the complaint must name that place."""
    return node.path[:1] == ("defaults",) and parent[:1] != ("defaults",)


@dataclass(frozen=True)
class Origin:
    """Where the value of a dotted key stands, and where it came from: a place, or `environment NAME`."""

    key: str
    mark: Mark
    key_mark: Mark
    text: str


def origins_of(node: Node, path: tuple[str, ...], key_mark: Mark, file: str) -> Iterator[Origin]:
    """The origin of `node`, whose key stands at `key_mark`, and of everything below it."""
    variable = node.origin if isinstance(node, ScalarNode) else None
    place = f"{file}:{node.mark.line}:{node.mark.column}"
    yield Origin(
        ".".join(path), node.mark, key_mark, place if variable is None else f"environment {variable}"
    )
    if isinstance(node, MappingNode):
        for key, value in node.entries.items():
            yield from origins_of(value, (*path, key), node.key_marks[key], file)
    elif isinstance(node, SequenceNode):
        for index, item in enumerate(node.items):
            yield from origins_of(item, (*path, str(index)), item.mark, file)
