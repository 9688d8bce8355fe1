"""Looking at a hung child before it is signalled: its own stacks, py-spy's, the kernel's view, the log.

Decides the order (the kernel's view first, as asking wakes a stopped process), how long each source may take,
and that a source that fails is a line in the bundle, never an error. What the parts look like is `diagnosis`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from launcher.children.parent import Parent
from launcher.children.programs import run_program
from launcher.configuration.secrets import Redaction
from launcher.diagnosis import (
    Section,
    bundle_path,
    catches_signal,
    describe_gpus,
    describe_log,
    describe_processes,
    describe_sockets,
    write_bundle,
)
from launcher.gpus import GpuReport
from launcher.logs.line_format import stamp
from launcher.output import OutputReader
from launcher.procfs import ProcessStat, read_stat
from launcher.spawning import SpawnError, SpawnRequest

__all__ = ["Diagnostician", "HungChild"]

_FIRST_WORD_S = 1.0
_QUIET_S = 0.1
_MOST_STACK_LINES = 4000
_PY_SPY_LIMIT_S = 2.5
_MOST_PY_SPY_PROCESSES = 4


@dataclass(frozen=True)
class HungChild:
    """Who is looked at: `leader` is the process that is asked for stacks, when `dumps_stacks`."""

    name: str
    generation: int
    why: str
    leader: ProcessStat
    members: Sequence[ProcessStat]
    dumps_stacks: bool
    output: OutputReader | None
    settings: Mapping[str, object]
    environ: Mapping[str, str]
    gpus: GpuReport | None


class Diagnostician:
    """Writes bundles into one folder; what blocks happens in its one thread."""

    def __init__(self, parent: Parent, logs: Path) -> None:
        """Read logs in `logs`, write below it, and run tools through `parent`."""
        self._parent = parent
        self._logs = logs
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="diagnosis")

    async def examine(self, hung: HungChild) -> Path:
        """Write the bundle and return its path; raises OSError when it cannot be written."""
        at = time.time()
        seen = await self._in_thread(lambda: _look_from_outside(hung))
        stacks = await _ask_for_stacks(hung)
        spied = await self._spy(hung)
        path = bundle_path(self._logs / "diagnosis", hung.name, hung.generation, at)
        heading = [f"{hung.name}, generation {hung.generation}, at {stamp(at)}", f"why: {hung.why}"]
        redaction = Redaction(hung.settings, hung.environ)

        def write() -> list[Section]:
            log = Section("last lines of the log", describe_log(self._logs, hung.name))
            sections = [seen[0], stacks, spied, *seen[1:], log]
            write_bundle(path, hung.name, heading, sections, redaction.text)
            return sections

        await self._in_thread(write)
        return path

    def close(self) -> None:
        """Let the thread go; a look that is under way is not waited for."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, work: Callable[[], list[Section]]) -> list[Section]:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)

    async def _spy(self, hung: HungChild) -> Section:
        """py-spy sees Python stacks from outside, where it is installed and allowed to."""
        program = find_py_spy(os.environ)
        if program is None:
            return Section("py-spy", ["not installed"])
        lines: list[str] = []
        try:
            async with asyncio.timeout(_PY_SPY_LIMIT_S):
                for member in [each for each in hung.members if _is_python(each.pid)][
                    :_MOST_PY_SPY_PROCESSES
                ]:
                    lines += await self._dump(program, member.pid)
        except TimeoutError:
            lines.append(f"took longer than {_PY_SPY_LIMIT_S:g} s")
        return Section("py-spy", lines)

    async def _dump(self, program: str, pid: int) -> list[str]:
        argv = (program, "dump", "--nonblocking", "--pid", str(pid))
        try:
            done = await run_program(self._parent, SpawnRequest(argv, os.environ, Path("/")))
        except SpawnError as error:
            return [str(error)]
        return done.lines


def find_py_spy(environ: Mapping[str, str]) -> str | None:
    """Return where py-spy is: beside our Python, or on PATH."""
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if os.access(beside, os.X_OK) else shutil.which("py-spy", path=environ.get("PATH"))


def _look_from_outside(hung: HungChild) -> list[Section]:
    pids = frozenset(member.pid for member in hung.members)
    return [
        Section("processes and threads", describe_processes(hung.members)),
        Section("open sockets", describe_sockets(hung.members)),
        Section("GPUs", describe_gpus(hung.gpus, pids)),
    ]


async def _ask_for_stacks(hung: HungChild) -> Section:
    """A built-in server writes the stacks of all its threads to stderr on SIGUSR1, whatever its loop does."""
    title = "Python stacks"
    if hung.output is None or not hung.dumps_stacks:
        return Section(title, ["not asked: only built-in servers answer"])
    if not catches_signal(hung.leader.pid, signal.SIGUSR1):
        return Section(title, ["not asked: it has not got so far as to install its handler"])
    lines: list[str] = []
    heard = asyncio.Event()

    def listen(text: str) -> None:
        if len(lines) < _MOST_STACK_LINES:
            lines.append(text)
        heard.set()

    hung.output.on_stderr = listen
    try:
        _signal_leader(hung.leader)
        await _hear_out(heard)
    finally:
        hung.output.on_stderr = None
    return Section(title, lines or [f"it wrote nothing within {_FIRST_WORD_S:g} s"])


async def _hear_out(heard: asyncio.Event) -> None:
    """Return once it has been quiet for a moment after its first word, or has not said one in time."""
    limit_s = _FIRST_WORD_S
    with suppress(TimeoutError):
        while True:
            async with asyncio.timeout(limit_s):
                await heard.wait()
            heard.clear()
            limit_s = _QUIET_S


def _signal_leader(leader: ProcessStat) -> None:
    """Signal exactly this process; a stopped one is woken, as it answers no signal otherwise."""
    with suppress(ProcessLookupError, PermissionError):
        pidfd = os.pidfd_open(leader.pid)
        try:
            now = read_stat(leader.pid)
            if now is not None and now.started_ticks == leader.started_ticks:
                signal.pidfd_send_signal(pidfd, signal.SIGUSR1)
                if now.state == "T":
                    signal.pidfd_send_signal(pidfd, signal.SIGCONT)
        finally:
            os.close(pidfd)


def _is_python(pid: int) -> bool:
    try:
        return "python" in os.path.basename(os.readlink(f"/proc/{pid}/exe"))
    except OSError:
        return False
