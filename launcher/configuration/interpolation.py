"""`${NAME}` and `${NAME:-default}` in values, and `$$` for a dollar sign.

Pure: the environment is an argument. Decides what is replaced and what is left for the spawn (`${PORT}` and
the other variables of a child). Knows nothing of YAML.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["CHILD_VARIABLE", "Interpolated", "interpolate"]

CHILD_VARIABLE = re.compile(r"PORT|HOST|LUCID_[A-Z_]+", re.ASCII)
"""The names that each child has its own value of (launcher.md section 6)."""

_REFERENCE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<body>[^}]*)(?P<end>\}?))")
_BODY = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.ASCII | re.DOTALL)


@dataclass(frozen=True)
class Interpolated:
    """The text after replacement, the variables that really supplied a part of it, and what went wrong.

    A problem is (offset of the `$` in the text as given, length of the reference, sentence).
    """

    text: str
    variables: tuple[str, ...] = ()
    problems: tuple[tuple[int, int, str], ...] = ()


def interpolate(
    text: str, environ: Mapping[str, str], *, keep: re.Pattern[str] | None = None
) -> Interpolated:
    """Replace every reference in `text` by its value; those whose name matches `keep` stay as written.

    The default of `${NAME:-default}` stands in when NAME is unset or empty, as in a shell. What was put in
    is not looked at again.
    """
    variables: list[str] = []
    problems: list[tuple[int, int, str]] = []

    def replace(match: re.Match[str]) -> str:
        if match["dollar"]:
            return "$"
        body = _BODY.fullmatch(match["body"]) if match["end"] else None
        if body is None:
            problems.append((match.start(), len(match[0]), _malformed(match)))
            return ""
        name, default = body["name"], body["default"]
        if keep is not None and default is None and keep.fullmatch(name):
            return match[0]
        value = environ.get(name)
        if value is None and default is None:
            mend = f"set it, or give a default: ${{{name}:-default}}"
            problems.append((match.start(), len(match[0]), f"the variable {name} is not set; {mend}"))
            return ""
        if value is None or (not value and default is not None):
            return str(default)
        variables.append(name)
        return value

    return Interpolated(_REFERENCE.sub(replace, text), tuple(variables), tuple(problems))


def _malformed(match: re.Match[str]) -> str:
    if not match["end"]:
        return "'${' without its '}'; write $$ for a dollar sign"
    return f"'{match[0]}' is not a variable; write ${{NAME}} or ${{NAME:-default}}, and $$ for a dollar sign"
