"""The supervisor process: `python -m launcher.supervisor --config PATH [--only SVC…] [--strict-ports]
--guardian-fd N [--report-fd N]`, started by `launcher.guardian`.

Takes over what the guardian kept, tells whoever started it how that went, and runs until it is told to end.
SIGTERM and SIGINT end the stack in order, a second one at once; SIGHUP reconciles with the file. Decides
nothing about children.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from launcher.children.handover import receive_handover
from launcher.errors import LauncherError, SupervisorFailed
from launcher.running.continuity import FORM
from launcher.running.inheritance import Inheritance
from launcher.running.journal import Journal, read_journal
from launcher.running.ownership import own
from launcher.running.voice import Report, keep_log_small, log_line
from launcher.runtime_dir import create_runtime_dir
from launcher.supervision import Supervisor

__all__ = ["main"]


async def _supervise(arguments: argparse.Namespace, inherited: Inheritance, report: Report) -> None:
    async with asyncio.TaskGroup() as tasks:
        await Supervisor(inherited, tasks).run(arguments.only, arguments.strict_ports, report)


def _run(arguments: argparse.Namespace, words: Sequence[str], report: Report) -> None:
    channel = socket.socket(fileno=arguments.guardian_fd)
    channel.set_inheritable(False)
    handover = receive_handover(channel)
    paths = create_runtime_dir(arguments.config)
    lock_fd, notes = own(paths, arguments.config, handover)
    journal, note = (Journal(), None) if handover.reason == "start" else read_journal(paths.journal)
    if journal.state is not None and journal.state.get("form") != FORM:
        journal = replace(journal, state=None)
        note = "the journal is of another version of the launcher: every service was started anew"
    notes += [] if note is None else [note]
    inherited = Inheritance(arguments.config, paths, words, channel, handover, lock_fd, journal, notes)
    try:
        with asyncio.Runner(debug=False) as runner:
            runner.run(_supervise(arguments, inherited, report))
    except* LauncherError as group:
        if handover.reason == "start":
            # Nothing was started, so nobody has to clean up.
            os.ftruncate(lock_fd, 0)
        raise _first(group) from None


def _first(group: BaseExceptionGroup[LauncherError]) -> LauncherError:
    """The error itself: a task group wraps what its body raises."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error if isinstance(error, LauncherError) else SupervisorFailed(str(error))


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m launcher.supervisor", description="Run one stack.")
    parser.add_argument("--config", type=lambda text: Path(text).resolve(), required=True)
    parser.add_argument("--only", nargs="*", default=[], metavar="SVC")
    parser.add_argument("--strict-ports", action="store_true")
    parser.add_argument("--guardian-fd", type=int, required=True)
    parser.add_argument("--report-fd", type=int, default=None)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the supervisor to its end; returns the exit code of launcher.md section 3."""
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = _parse(words)
    report = Report(arguments.report_fd)
    if arguments.report_fd is not None:
        os.set_inheritable(arguments.report_fd, False)
    keep_log_small(arguments.config.parent / "logs" / "supervisor.log")
    try:
        _run(arguments, words[: words.index("--guardian-fd")], report)
    except LauncherError as error:
        log_line(error.render())
        report.failed(error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
