"""Command lines that are not understood: what is wrong, what was probably meant, whose help to read."""

import pytest

from tests.integration.stack import Stack
from tests.launcher.commands.error_catalogue.catalogue import provokes, said


@provokes("E_USAGE")
@pytest.mark.parametrize(
    ("words", "sentence", "help_of"),
    [
        (["statsu"], "there is no verb 'statsu'; did you mean 'status'?", "lucid-launch"),
        (["atach"], "there is no verb 'atach'; did you mean 'attach'?", "lucid-launch"),
        (["xyzzy"], "there is no verb 'xyzzy'", "lucid-launch"),
        (
            ["config", "shw"],
            "lucid-launch config has no verb 'shw'; did you mean 'show'?",
            "lucid-launch config",
        ),
        (
            ["status", "--jsno"],
            "lucid-launch status has no option '--jsno'; did you mean '--json'?",
            "lucid-launch status",
        ),
        (
            ["wait", "--for", "redy"],
            "Invalid value for '--for': 'redy' is not one of 'ready', 'stopped'; did you mean 'ready'?",
            "lucid-launch wait",
        ),
        (
            ["up", "--timeout", "5x"],
            "Invalid value for '--timeout': must be a duration such as 500ms, 10s, 5m or 1h30m, not '5x'",
            "lucid-launch up",
        ),
        (["restart"], "Missing argument 'SVC...'.", "lucid-launch restart"),
        (
            ["logs", "-g", "("],
            "Invalid value for '-g' / '--grep': not a regular expression: missing ), unterminated subpattern"
            " at position 0",
            "lucid-launch logs",
        ),
    ],
    ids=" ".join,
)
def test_a_command_line_that_is_not_understood(
    stack: Stack, words: list[str], sentence: str, help_of: str
) -> None:
    """What is wrong with it, what was probably meant, and whose help to read."""
    assert said(stack, *words, code=2) == [f"error[E_USAGE]: {sentence}", f"  hint: see  {help_of} --help"]


def test_the_dashboard_without_a_terminal(stack: Stack) -> None:
    """One sentence and what to use instead."""
    stack.run("up", "-d")
    assert said(stack, "dashboard", code=2) == [
        "error[E_USAGE]: the dashboard needs a terminal on stdin, stdout and stderr; try  lucid-launch status"
        " --watch",
        "  hint: see  lucid-launch dashboard --help",
    ]
