"""The guardian process: `python -m launcher.guardian` and the arguments of `launcher.supervisor`.

The parent of the supervisor and of every child. It spawns, signals and reaps at the supervisor's word, keeps
what must outlive the supervisor (listening sockets, pipes, exit statuses, pids) and hands it to the next one.
What it does all its life is `guarding`; here is how it becomes a process. Standard library only.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress

from launcher.guarding import Guardian

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Guard one stack to its end; returns the supervisor's exit code.

    `--report-fd N` is passed on to the first supervisor, `--resume JSON` names the descriptors that a
    supervisor kept which has become this guardian; all else are the supervisor's arguments.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    report, resumed = _take(arguments, "--report-fd"), _take(arguments, "--resume")
    report_fd = None if report is None else int(report)
    kept: dict[str, list[int]] = {} if resumed is None else json.loads(resumed)
    ours = {fd for fds in kept.values() for fd in fds} | ({report_fd} if report_fd is not None else set())
    _close_all_but(ours)
    for fd in ours:
        os.set_inheritable(fd, False)
    if sys.flags.safe_path:
        # Modules are not searched here, so that the folder of the call may go while the stack runs.
        os.chdir("/")
    return Guardian(arguments, report_fd, kept).run()


def _take(arguments: list[str], name: str) -> str | None:
    """Remove an option and its value from the arguments."""
    if name not in arguments:
        return None
    place = arguments.index(name)
    value = arguments[place + 1]
    del arguments[place : place + 2]
    return value


def _close_all_but(ours: Collection[int]) -> None:
    """Whoever started us may have left descriptors open that are none of the children's business."""
    for name in os.listdir("/proc/self/fd"):
        # One of them was that of this listing.
        with suppress(OSError):
            if int(name) > 2 and int(name) not in ours:
                os.close(int(name))


if __name__ == "__main__":
    raise SystemExit(main())
