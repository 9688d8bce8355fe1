"""Misspelt words of a command line: the nearest one is named, and nothing else is invented."""

import click
import pytest

from launcher.terminal.usage_text import usage_sentence


@click.command(name="tool")
@click.option("--level", type=click.Choice(["debug", "info", "warning"]))
@click.option("--count", type=int)
def tool(level: str | None, count: int | None) -> None:
    """A command to be called wrongly."""


def sentence(*argv: str) -> str:
    """What is said of this command line."""
    with pytest.raises(click.ClickException) as raised:
        tool.main(args=list(argv), standalone_mode=False)
    return usage_sentence(raised.value)


@pytest.mark.parametrize(
    ("argv", "ending"),
    [
        (["--levle", "info"], "has no option '--levle'; did you mean '--level'?"),
        (["--zzz"], "has no option '--zzz'"),
        (["--level", "wrning"], "'wrning' is not one of 'debug', 'info', 'warning'; did you mean 'warning'?"),
        (["--level", "zzz"], "'zzz' is not one of 'debug', 'info', 'warning'."),
        (["--count", "many"], "Invalid value for '--count': 'many' is not a valid integer."),
        (["surplus"], "Got unexpected extra argument (surplus)"),
    ],
)
def test_the_nearest_word_is_named(argv: list[str], ending: str) -> None:
    """Only where one is near; all else keeps click's words."""
    assert sentence(*argv).endswith(ending)


def test_what_was_typed_cannot_drive_the_terminal() -> None:
    """Escapes in a misspelt verb are written out."""
    unknown = click.exceptions.NoSuchCommand("a\x1b[2Jb")
    assert usage_sentence(unknown) == "there is no verb 'a\\x1b[2Jb'"
