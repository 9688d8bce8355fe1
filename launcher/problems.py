"""What errors are made of: a problem at a place in the file, who holds a port, text made safe to print.

Decides how each is written for a person. Knows nothing of exit codes or of which error carries it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["ConfigProblem", "Holder", "PortConflict", "did_you_mean", "place_line", "printable"]


def did_you_mean(word: str, known: Sequence[str]) -> str | None:
    """The one of `known` that `word` was most likely meant to be, or None when nothing is close."""
    from difflib import get_close_matches  # only once something is misspelt

    close = get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return close[0] if close else None


def printable(text: str) -> str:
    """`text` with control, bidi and zero-width characters escaped, so that no input can drive a terminal."""
    return "".join(
        char if char == " " or unicodedata.category(char)[0] not in "CZ" else _escaped(char) for char in text
    )


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


@dataclass(frozen=True, order=True)
class ConfigProblem:
    """One thing wrong in config.yaml: `line` and `column` count from 1, `width` is the token's length."""

    line: int
    column: int
    file: str
    key: str
    message: str
    source: str = field(default="", compare=False)
    width: int = field(default=1, compare=False)

    @property
    def where(self) -> str:
        """The place in the form editors jump to: `config.yaml:12:7`."""
        return f"{self.file}:{self.line}:{self.column}"

    def __str__(self) -> str:
        key = f"{printable(self.key)}: " if self.key else ""
        return f"{self.where}: {key}{printable(self.message)}"

    def render(self) -> str:
        """The sentence, the source line, and a caret under the token."""
        if not self.source:
            return str(self)
        number = f"{self.line:>4}"
        shown = _one_cell_each(self.source)
        start = min(self.column - 1, len(shown))
        pad = "".join(" " * _cells(char) for char in shown[:start])
        carets = "^" * max(1, sum(_cells(char) for char in shown[start : start + self.width]))
        return f"{self}\n{number} | {shown}\n{' ' * len(number)} | {pad}{carets}"

    def to_document(self) -> dict[str, object]:
        """The problem as a JSON object."""
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "key": self.key,
            "message": self.message,
            "source": self.source,
        }


def _one_cell_each(source: str) -> str:
    """`source` with each invisible character replaced by one visible character, so that columns stay true."""
    return "".join(
        " " if char == "\t" else char if char == " " or unicodedata.category(char)[0] not in "CZ" else "·"
        for char in source.rstrip("\r\n")
    )


def _cells(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def place_line(where: str, source: str) -> str:
    """The line that quotes the file: `  config.yaml:7:11 |     port: 5000`."""
    return f"  {where} | {_one_cell_each(source)}".rstrip(" |")


@dataclass(frozen=True)
class Holder:
    """The process that holds a port; None is what the system hides. `started_at` is ISO 8601, local time,
    `stack` the config file of the running stack that it is a part of.
    """

    pid: int | None
    command: str | None = None
    user: str | None = None
    started_at: str | None = None
    cwd: str | None = None
    stack: str | None = None

    def __str__(self) -> str:
        if self.pid is None:
            return "a process of another user, which the system hides from us"
        known = [
            f"user {self.user}" if self.user else None,
            f"started {self.started_at.replace('T', ' ')[:16]}" if self.started_at else None,
            f"cwd {self.cwd}" if self.cwd else None,
        ]
        extra = ", ".join(part for part in known if part)
        return f"pid {self.pid}  {printable(self.command or '?')}" + (
            f"  ({printable(extra)})" if extra else ""
        )

    def to_document(self) -> dict[str, object]:
        """The holder as a JSON object."""
        return {
            "pid": self.pid,
            "command": self.command,
            "user": self.user,
            "started_at": self.started_at,
            "cwd": self.cwd,
        }


@dataclass(frozen=True)
class PortConflict:
    """A port that a service could not have: who wants it, where the file says so, who has it, the mend."""

    service: str
    address: str
    where: str | None = None
    source: str = ""
    holders: tuple[tuple[int, Holder | None], ...] = ()
    reason: str | None = None
    hint: str | None = None

    def render(self) -> str:
        """The conflict as a block of lines."""
        lines = [
            f"{self.service} cannot listen on {self.address}" + (f": {self.reason}" if self.reason else "")
        ]
        if self.where:
            lines.append(place_line(self.where, self.source))
        for port, holder in self.holders:
            label = "" if self.address.endswith(f":{port}") else f"port {port} "
            lines.append(
                f"  {label}held by {holder if holder is not None else 'a process that could not be found'}"
            )
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)

    def to_document(self) -> dict[str, object]:
        """The conflict as a JSON object."""
        return {
            "service": self.service,
            "address": self.address,
            "where": self.where,
            "reason": self.reason,
            "holders": [
                {"port": port, **(holder or Holder(None)).to_document()} for port, holder in self.holders
            ],
            "hint": self.hint,
        }
