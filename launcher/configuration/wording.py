"""What the models refused, in words: pydantic's findings become problems with a place and a mend.

Pure. Decides the sentence for each kind of finding and guesses misspelt keys and words. Knows nothing of
files.
"""

from collections.abc import Iterator
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from launcher.configuration.models import ServiceKeys
from launcher.configuration.tree import locate
from launcher.problems import did_you_mean
from launcher.yaml_marks import YamlProblem
from launcher.yaml_nodes import MappingNode, Mark, Node, ScalarNode

__all__ = ["TOP_KEYS", "problems_of", "unknown_key"]

TOP_KEYS = ("project", "metrics_port", "defaults", "services")

# Words of other supervisors, and what they are called here.
_ELSEWHERE = {
    "args": "command",
    "autorestart": "restart",
    "cmd": "command",
    "cpu_affinity": "cpus",
    "device": "gpu",
    "devices": "gpu",
    "directory": "cwd",
    "environment": "env",
    "exec": "command",
    "gpus": "gpu",
    "healthcheck": "health",
    "instances": "replicas",
    "readiness": "health",
    "run": "command",
    "scale": "replicas",
    "working_dir": "cwd",
}


def problems_of(error: ValidationError, tree: MappingNode, path: tuple[str, ...]) -> Iterator[YamlProblem]:
    """Each finding about the service (or `defaults`) that `tree` holds and that stands at `path`."""
    for finding in error.errors(include_url=False):
        location = finding["loc"]
        if finding["type"] == "extra_forbidden":
            yield unknown_key(tree, location, path, _known_keys(location[:-1]))
            continue
        found = locate(tree, location, path)
        text = _without_variable(_sentence(finding), found.node)
        yield YamlProblem(_token(found.node, found.key_mark), text, found.path)


def _without_variable(text: str, node: Node) -> str:
    """`text` without a value that came from the environment: it may be a secret, and the name says more."""
    if not isinstance(node, ScalarNode) or node.origin is None:
        return text
    shown = text.replace(_shown(node.value), f"the value of {node.origin}")
    return shown.replace(str(node.value), "…") if len(str(node.value)) > 1 else shown


def unknown_key(
    tree: MappingNode, location: tuple[str | int, ...], path: tuple[str, ...], known: tuple[str, ...]
) -> YamlProblem:
    """The problem of a key that is not one of `known`, with the one that was most likely meant."""
    found = locate(tree, location, path)
    key = str(location[-1])
    elsewhere = _ELSEWHERE.get(key)
    guess = elsewhere if elsewhere in known else did_you_mean(key, known)
    mend = f"did you mean '{guess}'?" if guess else f"known here: {', '.join(known)}"
    return YamlProblem(found.key_mark or found.node.mark, f"unknown key; {mend}", found.path)


def _known_keys(location: tuple[str | int, ...]) -> tuple[str, ...]:
    """The keys that are allowed at `location` below a service."""
    model: type[BaseModel] = ServiceKeys
    for step in location:
        inner = next((f for name, f in model.model_fields.items() if step in (name, f.alias)), None)
        kinds = [] if inner is None else [inner.annotation, *get_args(inner.annotation)]
        models = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not models:
            return ()
        model = models[0]
    return tuple(f.alias or name for name, f in model.model_fields.items())


def _token(node: Node, key_mark: Mark | None) -> Mark:
    """Where the caret goes: under the value, or under the key of a value that spans lines."""
    if isinstance(node, MappingNode) and key_mark is not None and node.mark.line != key_mark.line:
        return key_mark
    return node.mark


# pydantic's kinds of finding, and how each is said; {came} is what stood there.
_SENTENCES = {
    "bool_type": "must be true or false, not {came}",
    "int_type": "must be a whole number, not {came}",
    "int_parsing": "must be a whole number, not {came}",
    "int_from_float": "must be a whole number, not {came}",
    "float_type": "must be a number, not {came}",
    "float_parsing": "must be a number, not {came}",
    "finite_number": "must be a finite number, not {came}",
    "string_type": "must be text, not {came}",
    "path_type": "must be a path, not {came}",
    "dict_type": "must be a mapping of keys to values, not {came}",
    "mapping_type": "must be a mapping of keys to values, not {came}",
    "model_type": "must be a mapping of keys to values, not {came}",
    "tuple_type": "must be a list, not {came}",
    "greater_than_equal": "must be at least {ge}, not {came}",
    "less_than_equal": "must be at most {le}, not {came}",
    "string_too_short": "must have at least {min_length} characters, not {came}",
    "string_too_long": "must have at most {max_length} characters, not {came}",
    "string_pattern_mismatch": "has characters that are not allowed here: {came}",
}


def _sentence(finding: ErrorDetails) -> str:
    """The finding in the words of this program."""
    context = finding.get("ctx", {})
    if finding["type"] == "lucid":
        return finding["msg"]
    if finding["type"] == "literal_error":
        return _choice(str(context["expected"]), finding["input"])
    said = _SENTENCES.get(finding["type"])
    if said is None:
        return f"is not allowed: {finding['msg']}"
    return said.format(came=_shown(finding["input"]), **context)


def _choice(expected: str, value: object) -> str:
    known = tuple(word.strip(" '") for word in expected.replace(" or ", ",").split(","))
    guess = did_you_mean(str(value), known)
    mend = f"; did you mean '{guess}'?" if guess else ""
    return f"must be {' or '.join(known)}, not {_shown(value)}{mend}"


def _shown(value: object) -> str:
    match value:
        case dict():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case bool():
            return "true" if value else "false"
        case None:
            return "nothing"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
