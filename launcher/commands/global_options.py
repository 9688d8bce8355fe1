"""The options of every verb: once on the group, and once more after each verb.

Decides what they are called, and that `status -C DIR` is what `-C DIR status` is. An option of the verb
itself wins: `logs -f` follows. Knows nothing of verbs.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from launcher.invocation import Invocation

__all__ = ["accept_after", "global_options"]

Callback = TypeVar("Callback", bound=Callable[..., Any])

_OPTIONS: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (
        ("-f", "--file"),
        {
            "type": click.Path(path_type=Path),
            "help": "The config file. Default: config.yaml here or in the nearest parent folder.",
        },
    ),
    (
        ("-C", "--directory"),
        {
            "type": click.Path(path_type=Path, exists=True, file_okay=False),
            "help": "Work as if started in this folder.",
        },
    ),
    (
        ("--color",),
        {
            "type": click.Choice(["auto", "always", "never"]),
            "help": "Colour: auto follows the terminal and NO_COLOR.",
        },
    ),
    (
        ("--ascii", "ascii_only"),
        {"is_flag": True, "help": "No glyphs beyond ASCII; automatic where the locale is not UTF-8."},
    ),
    (("-q", "--quiet"), {"is_flag": True, "help": "Only data, warnings and errors."}),
    (("-v", "--verbose"), {"count": True, "help": "Say more: the fields of an error as JSON."}),
)
_VARIABLES = {"ascii_only": "LUCID_ASCII"}


def global_options(callback: Callback) -> Callback:
    """Give the group its options, each with its environment variable; the callback takes them by name."""
    for words, facts in reversed(_OPTIONS):
        name = words[-1].lstrip("-")
        variable = _VARIABLES.get(name, f"LUCID_{name.upper()}")
        given: dict[str, Any] = {**facts, "envvar": variable, "show_envvar": True}
        if name == "color":
            given["default"] = "auto"
        callback = click.option(*words, **given)(callback)
    return callback


def accept_after(command: click.Command) -> click.Command:
    """Let the same options stand after this verb and its own verbs, where the letter is free; idempotent.

    They are not shown in its help.
    """
    taken = {word for parameter in command.params for word in parameter.opts}
    if not any(parameter.name == _name("directory") for parameter in command.params):
        for words, facts in _OPTIONS:
            free = [word for word in words if word.startswith("-") and word not in taken]
            name = words[-1].lstrip("-")
            option = click.Option(
                [*free, _name(name)], hidden=True, expose_value=False, callback=_SETTERS[name], **facts
            )
            command.params.append(option)
    for verb in command.commands.values() if isinstance(command, click.Group) else ():
        accept_after(verb)
    return command


def _name(name: str) -> str:
    return f"global_{name}"


def _setter(change: Callable[[Invocation, Any], Invocation]) -> Callable[..., Any]:
    def take(ctx: click.Context, parameter: click.Parameter, value: Any) -> Any:
        # Nothing is given, or a shell completes a line that nobody runs.
        if value and isinstance(ctx.obj, Invocation):
            ctx.obj = change(ctx.obj, value)
        return value

    return take


def _spoken(field: str) -> Callable[..., Any]:
    return _setter(lambda call, value: replace(call, output=replace(call.output, **{field: value})))


_SETTERS: dict[str, Callable[..., Any]] = {
    "file": _setter(lambda call, value: replace(call, file=value)),
    "directory": _setter(lambda call, value: replace(call, directory=value)),
    "color": _spoken("color"),
    "ascii_only": _spoken("ascii_only"),
    "quiet": _spoken("quiet"),
    "verbose": _spoken("verbose"),
}
