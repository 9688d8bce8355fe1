"""The resolved configuration as text that `config show` prints: valid config.yaml, secrets left out.

Pure but for being told the environment. Decides how values are written and what counts as a secret: what a
key's or variable's name says, wherever else the same value shows up, and passwords inside URLs.
"""

import json
import re
from collections.abc import Iterator, Mapping

from launcher.config import Config
from launcher.configuration.interpolation import CHILD_VARIABLE
from launcher.configuration.resolved import resolved_service
from launcher.yaml_nodes import resolve_plain

__all__ = ["HIDDEN", "resolved_document", "yaml_lines"]

HIDDEN = "***"
_SECRET_NAME = re.compile(
    r"(?i)secret|passw(?:or)?d|passphrase|api_?key|credential"
    r"|(?:^|[_.-])(?:token|auth|authorization)(?:$|[_.-])|[_.-]key$"
)
_URL_PASSWORD = re.compile(r"(?<=://)([^/@\s:]*):([^/@\s]+)@")
_PLAIN_TEXT = re.compile(r"[A-Za-z0-9_./-][A-Za-z0-9_./ +=@-]*")
_SHORTEST_SECRET = 6
_ALIGN = 52


def resolved_document(config: Config, environ: Mapping[str, str]) -> dict[str, object]:
    """The resolved file as JSON: schema `lucid.config/1`, with the origin of every value."""
    services = {name: resolved_service(service) for name, service in config.services.items()}
    hide = _Hiding(services, environ)
    return {
        "schema": "lucid.config/1",
        "project": config.project,
        "path": str(config.path),
        "services": hide.value(services, ""),
        "origins": dict(sorted(config.origins.items())),
    }


def yaml_lines(config: Config, environ: Mapping[str, str]) -> Iterator[str]:
    """The resolved file as YAML, a comment with the origin behind each value; absent values are left out."""
    document = resolved_document(config, environ)
    yield _commented(f"project: {_scalar(config.project)}", config.origins["project"])
    yield "services:"
    assert isinstance(document["services"], dict)
    yield from _mapping_lines(document["services"], ("services",), config.origins, "  ")


def _mapping_lines(
    mapping: Mapping[str, object], path: tuple[str, ...], origins: Mapping[str, str], indent: str
) -> Iterator[str]:
    for key, value in mapping.items():
        here = (*path, key)
        if _is_absent(value):
            continue
        if isinstance(value, Mapping):
            yield f"{indent}{_scalar(key)}:"
            yield from _mapping_lines(value, here, origins, indent + "  ")
            continue
        origin = origins.get(".".join(here), "default")
        yield _commented(f"{indent}{_scalar(key)}: {_written(value, _is_argv(here))}", origin)


def _is_absent(value: object) -> bool:
    """Whether there is nothing to write: no value, or a mapping of nothing but such."""
    if isinstance(value, Mapping):
        return all(_is_absent(item) for item in value.values())
    return value is None or value == []


def _is_argv(path: tuple[str, ...]) -> bool:
    """Whether `${PORT}` and kin stand here for the child's own value."""
    return path[2:] in (("command",), ("health", "exec"))


def _commented(line: str, origin: str) -> str:
    return f"{line:<{_ALIGN}}  # {origin}"


def _written(value: object, is_argv: bool) -> str:
    """A value in flow style on one line, dollar signs escaped, so that it reads back as it is."""
    if isinstance(value, list):
        return "[" + ", ".join(_written(item, is_argv) for item in value) + "]"
    if isinstance(value, Mapping):
        pairs = (f"{_scalar(str(key))}: {_written(item, is_argv)}" for key, item in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, str):
        return _scalar(_escaped(value, is_argv))
    return json.dumps(value)


def _escaped(text: str, is_argv: bool) -> str:
    def escape(match: re.Match[str]) -> str:
        is_child = is_argv and match[1] is not None and CHILD_VARIABLE.fullmatch(match[1])
        return match[0] if is_child else f"$${match[0][1:]}"

    return re.sub(r"\$(?:\{(\w+)\})?", escape, text)


def _scalar(text: str) -> str:
    """`text` unquoted where that is safe, else in double quotes."""
    is_safe = _PLAIN_TEXT.fullmatch(text) and not text.endswith(" ") and text not in ("-", "--", "---")
    if is_safe and isinstance(resolve_plain(text), str) and not text.startswith("- "):
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(char if char == " " or char.isprintable() else f"\\U{ord(char):08x}" for char in quoted)


class _Hiding:
    """Replaces secrets wherever they show up; what is secret is gathered first, from keys and variables."""

    def __init__(self, services: Mapping[str, object], environ: Mapping[str, str]) -> None:
        named = (value for name, value in environ.items() if _SECRET_NAME.search(name))
        found = {*named, *_secrets_in(services)}
        usable = sorted((value for value in found if len(value) >= _SHORTEST_SECRET), key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, usable))) if usable else None

    def value(self, value: object, key: str) -> object:
        """`value` as it may be shown under `key`."""
        if isinstance(value, Mapping):
            return {name: self.value(item, str(name)) for name, item in value.items()}
        if isinstance(value, list):
            return [self.value(item, key) for item in value]
        if value is not None and _is_secret(key) and not isinstance(value, bool):
            return HIDDEN
        if not isinstance(value, str):
            return value
        shown = value if self._pattern is None else self._pattern.sub(HIDDEN, value)
        return _URL_PASSWORD.sub(rf"\1:{HIDDEN}@", shown)


def _is_secret(key: str) -> bool:
    """`token` is one; `token_file` only says where one is."""
    return _SECRET_NAME.search(key) is not None and not key.lower().endswith(("_file", "_path"))


def _secrets_in(value: object, key: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _secrets_in(item, str(name))
    elif isinstance(value, list):
        for item in value:
            yield from _secrets_in(item, key)
    elif isinstance(value, str) and _is_secret(key):
        yield value
