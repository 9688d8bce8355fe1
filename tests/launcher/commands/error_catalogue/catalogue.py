"""What the tests of the error catalogue share: which codes they provoke, and how a verb is made to say one.

Every module of this folder marks the codes that it provokes; `test_every_code` asks whether that is all.
"""

from collections.abc import Callable

from tests.integration.stack import Stack

__all__ = ["PROVOKED", "SLEEPER", "provokes", "said", "services"]

PROVOKED: set[str] = set()
"""The codes of all modules that have been imported."""

SLEEPER = "services:\n  job: {command: [sleep, '1000']}\n"

Test = Callable[..., None]


def provokes(*codes: str) -> Callable[[Test], Test]:
    """Mark a test as the one that provokes these codes."""

    def mark(test: Test) -> Test:
        PROVOKED.update(codes)
        return test

    return mark


def said(stack: Stack, *verb: str, code: int) -> list[str]:
    """The lines that a verb writes to stderr when it ends with `code`, with a stable name for the folder."""
    lines = stack.run(*verb, check=code).stderr.replace(str(stack.root), "<folder>").splitlines()
    assert not any("Traceback" in line for line in lines)
    return lines


def services(stack: Stack, *lines: str) -> None:
    """Write the file: the lines below `services:`."""
    stack.config.write_text("\n".join(["services:", *(f"  {line}" for line in lines), ""]))
