"""A wrong command line as one sentence, with the word that was most likely meant.

Pure. Click finds what is wrong; here it gets the words that every other error has.
"""

import re

import click

from launcher.problems import did_you_mean, printable

__all__ = ["usage_sentence"]

_NO_CHOICE = re.compile(r"'(?P<word>[^']*)' is not one of '")


def usage_sentence(error: click.ClickException) -> str:
    """`there is no verb 'statsu'; did you mean 'status'?`; click's own words for what is no misspelling."""
    if isinstance(error, click.exceptions.NoSuchCommand):
        place = _path(error)
        where = f"{place} has no verb" if " " in place else "there is no verb"
        return f"{where} '{printable(error.command_name)}'{_guess(error.possibilities)}"
    if isinstance(error, click.exceptions.NoSuchOption):
        return f"{_path(error)} has no option '{printable(error.option_name)}'{_guess(error.possibilities)}"
    said = error.format_message()
    param = getattr(error, "param", None)
    if isinstance(param, click.Parameter) and isinstance(param.type, click.Choice):
        missed = _NO_CHOICE.search(said)
        close = None if missed is None else did_you_mean(missed["word"], list(map(str, param.type.choices)))
        return said if close is None else f"{said.rstrip('.')}; did you mean '{close}'?"
    return said


def _path(error: click.UsageError) -> str:
    return "lucid-launch" if error.ctx is None else error.ctx.command_path


def _guess(possibilities: list[str] | None) -> str:
    """Click lists the nearest first."""
    return f"; did you mean '{possibilities[0]}'?" if possibilities else ""
