"""The resolved configuration as text that `config show` prints: valid config.yaml, secrets left out.

Pure but for being told the environment. Decides how values are written; what counts as a secret is
`configuration.secrets`.
"""

import json
import re
from collections.abc import Iterator, Mapping

from launcher.config import Config
from launcher.configuration.interpolation import CHILD_VARIABLE
from launcher.configuration.resolved import resolved_service
from launcher.configuration.secrets import HIDDEN, Redaction
from launcher.yaml_nodes import resolve_plain

__all__ = ["HIDDEN", "resolved_document", "yaml_lines"]

_PLAIN_TEXT = re.compile(r"[A-Za-z0-9_./-][A-Za-z0-9_./ +=@-]*")
_ALIGN = 52


def resolved_document(config: Config, environ: Mapping[str, str]) -> dict[str, object]:
    """The resolved file as JSON: schema `lucid.config/1`, with the origin of every value."""
    services = {name: resolved_service(service) for name, service in config.services.items()}
    hide = Redaction(services, environ)
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
        yield _commented(f"{indent}{_scalar(key)}: {_written(value, _is_filled_in(here))}", origin)


def _is_absent(value: object) -> bool:
    """Whether there is nothing to write: no value, or a mapping of nothing but such."""
    if isinstance(value, Mapping):
        return all(_is_absent(item) for item in value.values())
    return value is None or value == []


def _is_filled_in(path: tuple[str, ...]) -> bool:
    """Whether `${PORT}` and kin stand here for the child's own value."""
    return path[2:] in (("command",), ("health", "exec")) or (path[2:3] == ("env",) and len(path) == 4)


def _commented(line: str, origin: str) -> str:
    return f"{line:<{_ALIGN}}  # {origin}"


def _written(value: object, is_filled_in: bool) -> str:
    """A value in flow style on one line, dollar signs escaped, so that it reads back as it is."""
    if isinstance(value, list):
        return "[" + ", ".join(_written(item, is_filled_in) for item in value) + "]"
    if isinstance(value, Mapping):
        pairs = (f"{_scalar(str(key))}: {_written(item, is_filled_in)}" for key, item in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, str):
        return _scalar(_escaped(value, is_filled_in))
    return json.dumps(value)


def _escaped(text: str, is_filled_in: bool) -> str:
    def escape(match: re.Match[str]) -> str:
        is_child = is_filled_in and match[1] is not None and CHILD_VARIABLE.fullmatch(match[1])
        return match[0] if is_child else f"$${match[0][1:]}"

    return re.sub(r"\$(?:\{(\w+)\})?", escape, text)


def _scalar(text: str) -> str:
    """`text` unquoted where that is safe, else in double quotes."""
    is_safe = _PLAIN_TEXT.fullmatch(text) and not text.endswith(" ") and text not in ("-", "--", "---")
    if is_safe and isinstance(resolve_plain(text), str) and not text.startswith("- "):
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(char if char == " " or char.isprintable() else f"\\U{ord(char):08x}" for char in quoted)
