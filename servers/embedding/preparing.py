"""The server's side of preparing a model: start the preparing process, pass its progress on, end it.

It decides that importing torch for the export happens in a process of its own, so that the server stays lean
from its very first start. Called on the model thread; it waits.
"""

import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import IO, Any, Final

from servers.embedding.engine import OnPhase
from servers.embedding.selection import Wanted
from servers.embedding.variants import Choice
from servers.errors import BadSettings

logger = logging.getLogger(__name__)

COMMAND: Final = (sys.executable, "-m", "servers.embedding.prepare", "--request")
_TAIL_CHARS: Final = 2000


class PreparationFailed(Exception):
    """The preparing process ended without a choice; the text says what it said last."""


def run_preparation(wanted: Wanted, on_phase: OnPhase, command: Sequence[str] = COMMAND) -> Choice:
    """Return what the preparing process chose for `wanted`; its phases are passed to `on_phase`.

    Raises `BadSettings` when nothing that was asked for works here, `PreparationFailed` for anything else,
    and what `on_phase` raises, after the process has ended.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, text=True
        )
        try:
            choice = _follow(process, wanted, on_phase)
        finally:
            process.kill()  # without effect when it has ended by itself
            process.communicate()
        if choice is None:
            raise PreparationFailed(_tail(complaints) or f"exit code {process.returncode}")
        return choice


def _follow(process: "subprocess.Popen[str]", wanted: Wanted, on_phase: OnPhase) -> Choice | None:
    assert process.stdin is not None, "stdin is a pipe"
    assert process.stdout is not None, "stdout is a pipe"
    try:
        process.stdin.write(wanted.to_json() + "\n")
        # Left open: its end tells the process that this server has gone.
        process.stdin.flush()
    except BrokenPipeError:
        return None
    for line in process.stdout:
        choice = _read(line, on_phase)
        if choice is not None:
            return choice
    return None


def _read(line: str, on_phase: OnPhase) -> Choice | None:
    report: dict[str, Any] = json.loads(line)
    if "failure" in report:
        failure = report["failure"]
        raise BadSettings(failure["what"], where=failure["where"], mend=failure["mend"])
    if "choice" in report:
        return Choice.from_json(report["choice"])
    on_phase(report["phase"], report["progress"])
    return None


def _tail(complaints: IO[str]) -> str:
    complaints.seek(0)
    return complaints.read()[-_TAIL_CHARS:].strip()
