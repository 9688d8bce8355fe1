"""Where a verb writes: data on stdout; progress, hints and errors on stderr; colour only where it is wanted.

Decides colour and whether a full-screen program may run; knows nothing of what is written.
"""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO

import click

from launcher.errors import LauncherError
from launcher.terminal.plain_ascii import in_ascii

_ASCII_LOCALES = ("C", "POSIX")


@dataclass(frozen=True)
class Output:
    """The voice of one invocation.

    `color` is auto, always or never; the flag beats the environment, NO_COLOR beats FORCE_COLOR.
    `ascii_only` is what the user asked for; a stream that carries no UTF-8 gets ASCII anyway.
    """

    color: str
    quiet: bool
    verbose: int
    environ: Mapping[str, str]
    ascii_only: bool = False

    def data(self, text: str) -> None:
        """Write one line (or block) of data to stdout, without its colour codes where colour is off."""
        click.echo(text, color=self.wants_color(sys.stdout))

    def text(self, text: str) -> None:
        """Write data that is for reading to stdout: as `data`, but in ASCII where that is wanted."""
        self.data(in_ascii(text) if self.is_ascii(sys.stdout) else text)

    def note(self, text: str) -> None:
        """Write progress or a hint to stderr; silent under `-q`."""
        if not self.quiet:
            self._say(wrapped_note(text, self.width(sys.stderr)))

    def warn(self, text: str) -> None:
        """Write something that the user must see to stderr, `-q` or not."""
        shown = wrapped_note(f"warning: {text}", self.width(sys.stderr))
        self._say(click.style(shown, fg="yellow"))

    def error(self, error: LauncherError) -> None:
        """Write an error to stderr: code and sentence first, the mend last; under `-v` its fields as JSON."""
        if self.verbose and error.details():
            click.echo(json.dumps(error.details()), err=True)
        text = wrapped_error(error.render(), self.width(sys.stderr))
        self._say(paint_error(text))

    def _say(self, text: str) -> None:
        """Write to stderr, in ASCII where that is wanted."""
        shown = in_ascii(text) if self.is_ascii(sys.stderr) else text
        click.echo(shown, err=True, color=self.wants_color(sys.stderr))

    def wants_color(self, stream: TextIO) -> bool:
        """Whether colour codes may be written to `stream`."""
        if self.color != "auto":
            return self.color == "always"
        if self.environ.get("NO_COLOR"):
            return False
        if self.environ.get("FORCE_COLOR") or self.environ.get("CLICOLOR_FORCE"):
            return True
        return stream.isatty() and self.environ.get("TERM", "") not in ("", "dumb")

    def is_full_screen(self) -> bool:
        """Whether all three standard streams are a terminal that can move its cursor.

        All three, because the full-screen library draws on stderr: a redirected stderr would fill a file
        with escape codes.
        """
        streams = (sys.stdin, sys.stdout, sys.stderr)
        return all(stream.isatty() for stream in streams) and self.environ.get("TERM", "") not in ("", "dumb")

    def is_live(self, stream: TextIO) -> bool:
        """Whether lines on `stream` may be redrawn in place."""
        return stream.isatty() and self.environ.get("TERM", "") not in ("", "dumb")

    def is_ascii(self, stream: TextIO) -> bool:
        """Whether `stream`, or the terminal behind it, cannot carry the glyphs of the tables."""
        encoding = (getattr(stream, "encoding", None) or "ascii").lower()
        return self.ascii_only or not encoding.startswith("utf") or _is_ascii_locale(self.environ)

    def width(self, stream: TextIO) -> int | None:
        """The terminal's width in cells; None where lines may be as long as they like."""
        if not stream.isatty():
            return None
        # As shutil does it, whose import costs a tenth of `status`.
        told = self.environ.get("COLUMNS", "")
        return int(told) if told.isdigit() and int(told) > 0 else _columns(stream)


def _is_ascii_locale(environ: Mapping[str, str]) -> bool:
    """Whether the user asked for the C locale. Its name must be looked at: Python speaks UTF-8 in it (PEP
    540), and puts an LC_CTYPE of its own beside `LANG=C` (PEP 538). Where none is set Python's choice stands.
    """
    language, kinds = environ.get("LANG", ""), environ.get("LC_CTYPE", "")
    is_coerced = language in _ASCII_LOCALES and kinds == "C.UTF-8"
    return (environ.get("LC_ALL") or ("" if is_coerced else kinds) or language) in _ASCII_LOCALES


def _columns(stream: TextIO) -> int:
    """What the terminal itself says; 80 for one that does not."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def paint_error(text: str) -> str:
    """A rendered error with its code in red and its mend marked; Output strips the codes where colour is
    off.
    """
    return "\n".join(_paint_line(line) for line in text.splitlines())


def wrapped_note(text: str, width: int | None) -> str:
    """A note whose lines are broken between words where they are longer than the terminal is wide."""
    if width is None or all(len(line) <= width for line in text.splitlines()):
        return text
    from launcher.terminal.wrapping import hanging  # only a person at a narrow terminal pays for it

    return "\n".join(
        hanging("", line, len(line) - len(line.lstrip()) + 2, width)
        if len(click.unstyle(line)) > width
        else line
        for line in text.splitlines()
    )


def wrapped_error(text: str, width: int | None) -> str:
    """A rendered error with its sentences and mends broken between words.

    A line that is quoted from the file is cut, so that its caret stays below it; last words stay as they are.
    """
    if width is None:
        return text
    from launcher.terminal.wrapping import fitted_error_line  # only a person at a terminal pays for it

    return "\n".join(fitted_error_line(line, width) for line in text.splitlines())


def _paint_line(line: str) -> str:
    """One line of a rendered error, coloured by what it starts with."""
    if line.startswith("error["):
        label, _, rest = line.partition(": ")
        return f"{click.style(label + ':', fg='red', bold=True)} {click.style(rest, bold=True)}"
    indent, marker, rest = line.partition("hint:")
    return f"{indent}{click.style(marker, fg='cyan')}{rest}" if marker and not indent.strip() else line
