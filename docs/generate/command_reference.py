"""docs/reference/cli.md, from the commands themselves: what `--help` says, as a page."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import click

from docs.generate.markdown import GENERATED, table
from launcher import cli

__all__ = ["render"]

EXITS = (
    ("0", "done; for `status`: every wanted service is ready"),
    ("1", "the action failed, or a service failed, is unhealthy or crash-loops"),
    ("2", "usage or configuration error; nothing was started or changed"),
    ("3", "not running"),
    ("4", "no such service"),
    ("5", "conflict: a port is taken, another supervisor owns this project, a file would be overwritten"),
    ("6", "the environment does not suffice: GPU, driver, model or program missing"),
    ("124", "timed out"),
    ("130", "interrupted"),
    ("141", "whoever read the output has closed it, as in `lucid-launch logs \\| head`"),
)


def render() -> str:
    """The page."""
    parts = [
        "# Command reference",
        GENERATED,
        "`lucid-launch VERB`, or `./lucid VERB` in a clone. Data goes to stdout; progress, hints and errors to stderr.",
        table(
            ("verb", "what it does"),
            [(f"[`{_names(verb)}`](#{verb})", text) for verb, text in cli.VERBS.items()],
        ),
        "## Options of every verb",
        "They stand before or after the verb; after `logs` and `events`, `-f` is their own and means follow.",
        _options(cli.group),
        "`NO_COLOR` switches colour off, `FORCE_COLOR` on; the flag wins over both. In JSON unknown is `null`, never 0;"
        " keys are only ever added. The schemas are in [schemas](schemas/README.md).",
        "## Exit codes",
        table(("code", "meaning"), [(code, meaning.replace("\\|", "|")) for code, meaning in EXITS]),
    ]
    for verb in cli.VERBS:
        command: click.Command = importlib.import_module(f"launcher.commands.{verb}").command
        parts += _verb(verb, command)
    return "\n\n".join(parts) + "\n"


def _names(verb: str) -> str:
    alias = next((alias for alias, target in cli.ALIASES.items() if target == verb), None)
    return verb if alias is None else f"{verb}, {alias}"


def _verb(verb: str, command: click.Command, level: str = "##") -> Iterator[str]:
    """One verb, and what stands under it."""
    yield f"{level} {verb}"
    context = click.Context(command, info_name=f"{cli.PROGRAM} {verb}")
    yield f"```\n{' '.join(command.get_usage(context).split()).removeprefix('Usage: ')}\n```"
    yield _prose(command.help or "")
    options = _options(command)
    if options:
        yield options
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from _verb(f"{verb} {name}", each, level="###")


def _prose(text: str) -> str:
    """A docstring as paragraphs."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n")).replace("<", "&lt;")


def _options(command: click.Command) -> str:
    """The options as a table; empty when there are none."""
    context = click.Context(command, info_name=cli.PROGRAM)
    records = [
        record
        for parameter in command.params
        if isinstance(parameter, click.Option) and (record := parameter.get_help_record(context)) is not None
    ]
    return table(("option", ""), [(f"`{names}`", text) for names, text in records]) if records else ""
