"""launcher.diagnosis: what is read of real processes, and the file that it becomes."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

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
from launcher.logs.line_format import format_line, stamp
from launcher.placement import GpuFacts, GpuHolder
from launcher.procfs import ProcessStat, read_stat

HOSTILE = str(Path(__file__).parents[1] / "hostile_child.py")


def myself() -> ProcessStat:
    """This very process."""
    me = read_stat(os.getpid())
    assert me is not None
    return me


def test_each_thread_is_named_with_its_state() -> None:
    """The main thread of this process runs, and its command line is told."""
    text = "\n".join(describe_processes([myself()]))
    assert f"process {os.getpid()}" in text
    assert "pytest" in text
    assert f"thread {os.getpid()}" in text
    assert "state R" in text
    assert "VmRSS" in text


def test_a_process_that_is_gone_is_a_line_not_an_error() -> None:
    """What vanished while it was looked at is told as such."""
    gone = ProcessStat(2**22 + 1, "ghost", "S", 1, 1, 1, 0.0, 0, 0)
    assert "No such file" in "\n".join(describe_processes([gone]))
    assert "cannot be read" in describe_sockets([gone])[0]


def test_open_sockets_are_listed_with_both_ends() -> None:
    """A listening socket and its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        lines = describe_sockets([myself()])
    assert any(f"127.0.0.1:{port}" in line and "LISTEN" in line for line in lines)


def test_the_log_is_told_to_its_last_200_lines(tmp_path: Path) -> None:
    """Only this child's lines, the newest of them."""
    for child in ("a", "a.0"):
        lines = [format_line(stamp(1000.0 + n), "stdout", f"{child} says {n}".encode()) for n in range(300)]
        (tmp_path / f"{child}.log").write_bytes(b"".join(lines))
    told = describe_log(tmp_path, "a")
    assert len(told) == 200
    assert told[0].endswith("stdout | a says 100")
    assert told[-1].endswith("stdout | a says 299")


def test_gpus_are_told_with_their_holders() -> None:
    """The child's own processes are marked among those that hold memory."""
    gpu = GpuFacts("GPU-1", 0, "H200", 10**9, 10**8, (GpuHolder(7, 5_000), GpuHolder(8, None)))
    lines = describe_gpus(GpuReport((gpu,), problem="GPU 1 does not answer"), frozenset({7}))
    assert lines[0] == "GPU 1 does not answer"
    assert lines[2:] == ["  pid 7 holds 5,000 bytes (this child)", "  pid 8 holds an unknown amount"]
    assert describe_gpus(None, frozenset()) == ["no GPU was asked about"]


@pytest.mark.parametrize(("argv", "caught"), [([HOSTILE, "--say", "up"], signal.SIGTERM)])
def test_a_handler_is_seen_from_outside(argv: list[str], caught: signal.Signals) -> None:
    """Whether a signal would simply end a process can be known before it is sent."""
    with subprocess.Popen([sys.executable, *argv], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert catches_signal(process.pid, caught)
        assert not catches_signal(process.pid, signal.SIGUSR1)
        process.terminate()
    assert not catches_signal(process.pid, caught)


def test_a_bundle_is_private_without_secrets_and_the_oldest_fall_away(tmp_path: Path) -> None:
    """Five are kept for each child, and those of a service with a longer name are not counted with them."""
    other = bundle_path(tmp_path, "a-b", 1, 0.0)
    write_bundle(other, "a-b", ["x"], [], str)
    for generation in range(8):
        path = bundle_path(tmp_path, "a", generation, 1_000_000.0 + generation)
        sections = [Section("log", ["the hunter2 line"]), Section("GPUs", [])]
        write_bundle(path, "a", ["why: hung"], sections, lambda text: text.replace("hunter2", "***"))
    assert path.read_text() == "why: hung\n\n== log ==\nthe *** line\n\n== GPUs ==\n(nothing)\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(list(tmp_path.glob("a-1970*"))) == 5
    assert other.exists()
