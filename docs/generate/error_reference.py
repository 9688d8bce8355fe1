"""docs/reference/errors.md, from the errors of the launcher and of the servers: every code, where it
shows, what it means.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from docs.generate.markdown import GENERATED, table
from launcher.errors import LauncherError, RelayedError
from servers.embedding.worker import DeviceFailed
from servers.errors import RequestError, StartupError

__all__ = ["launcher_codes", "render"]

E = TypeVar("E", bound=Exception)
MEANINGS = {"E_USAGE": ("2", "The command line cannot be understood; the hint names the help of the verb.")}
SCRIPT = {
    "E_PYTHON": "No Python of a version that can be used was found; the message names what was tried.",
    "E_VENV": "The virtual environment cannot be made; on Debian the module is a package of its own.",
    "E_INSTALL": "Fetching or installing the dependencies did not finish; the same command again goes on from there.",
}
"""The codes of the shell script that prepares the environment."""
SOURCES = frozenset({"launcher.errors", "launcher.error_base", "servers.errors", DeviceFailed.__module__})
NOT_FOR_USERS = {"E_FAILED", "invalid_request"}


def render() -> str:
    """The page."""
    launcher = [
        (f"`{code}`", str(exit_code), meaning) for code, (exit_code, meaning) in launcher_codes().items()
    ]
    startup = [(f"`{each.code}`", str(each.exit_code), _sentence(each)) for each in _family(StartupError)]
    request = [
        (f"`{each.code}`", _sentence(each)) for each in _family(RequestError) if each is not RequestError
    ]
    parts = [
        "# Errors",
        GENERATED,
        "Every message says what failed, where, why, and what to do. The codes are stable; scripts may rely on them and on"
        " the exit codes. With `--json` an error is one document of schema `lucid.error/1` on stdout. What to do about each"
        " symptom is in [When something is wrong](../how-to/troubleshoot.md).",
        "## lucid-launch",
        table(("code", "exit", "meaning"), launcher),
        "## `./lucid`, before there is a lucid-launch",
        "Exit code 6.",
        table(("code", "meaning"), [(f"`{code}`", meaning) for code, meaning in SCRIPT.items()]),
        "## A built-in server that cannot start",
        "Printed to its log and shown by `status`. Exit code 78 is not retried.",
        table(("code", "exit", "meaning"), dict.fromkeys(startup)),
        "## Replies of the servers",
        'The `code` of a reply with `"status": "error"`; see the [protocol](protocol.md).',
        table(("code", "meaning"), dict.fromkeys(request)),
    ]
    return "\n\n".join(parts) + "\n"


def launcher_codes() -> dict[str, tuple[str, str]]:
    """Code → exit code and meaning, by exit code."""
    found = {
        each.code: (str(each.exit_code), _sentence(each))
        for each in _family(LauncherError)
        if each is not RelayedError and not each.__name__.startswith("_") and each.code not in NOT_FOR_USERS
    }
    return dict(sorted({**found, **MEANINGS}.items(), key=lambda item: (int(item[1][0]), item[0])))


def _family(base: type[E]) -> Iterator[type[E]]:
    """The class and what stands below it in the modules that are imported above, and nowhere else."""
    if base.__module__ in SOURCES:
        yield base
    for each in base.__subclasses__():
        yield from _family(each)


def _sentence(error: type[Exception]) -> str:
    return " ".join((error.__doc__ or "").split("\n\n")[0].split())
