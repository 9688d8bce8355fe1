"""launcher.guardian: how the guardian becomes a process, and what it may cost."""

from __future__ import annotations

import json
import os
from pathlib import Path

from launcher.wire import close_fds
from tests.launcher.alone import alone
from tests.launcher.played_supervisor import QUICK, Theatre, is_closed


def test_the_report_goes_to_the_first_supervisor_only(theatre: Theatre) -> None:
    """Whoever started the stack waits for one report, and hears the end when nobody can give it."""
    reader, writer = os.pipe()
    theatre.open("--config", "x.yaml", "--report-fd", str(writer), pauses_s=QUICK, pass_fds=[writer])
    os.close(writer)
    first = theatre.next()
    assert first.argv[-4:] == ["--guardian-fd", "3", "--report-fd", "4"]
    os.write(first.report_fds[0], b"ready")
    assert os.read(reader, 100) == b"ready"
    close_fds(first.report_fds)
    first.report_fds.clear()
    assert is_closed(reader)
    first.come_up().exit(1)
    second = theatre.next()
    assert "--report-fd" not in second.argv
    assert second.report_fds == []
    os.close(reader)


def test_descriptors_of_whoever_started_it_are_closed(theatre: Theatre) -> None:
    """Neither the guardian nor a program may hold open what somebody waits for the end of."""
    reader, writer = os.pipe()
    theatre.open(pass_fds=[writer])
    os.close(writer)
    theatre.next()
    assert is_closed(reader)
    os.close(reader)


def test_a_supervisor_that_became_the_guardian_goes_on_with_what_it_kept(theatre: Theatre) -> None:
    """The descriptors are handed on under their names, and no program inherits them."""
    reader, writer = os.pipe()
    kept = {"listen a": [reader, writer], "notes": [writer]}
    theatre.open("--config", "x.yaml", "--resume", json.dumps(kept), pass_fds=[reader, writer])
    supervisor = theatre.next()
    assert "--resume" not in supervisor.argv
    reason, handed, _ = supervisor.take_over()
    assert (reason, {name: len(fds) for name, fds in handed.items()}) == (
        "guardian_lost",
        {"listen a": 2, "notes": 1},
    )
    os.write(handed["listen a"][1], b"the same")
    assert os.read(reader, 100) == b"the same"
    _, fds = supervisor.spawn("ls", "/proc/self/fd")
    with os.fdopen(fds[1], "rb") as output:
        # The fourth is that of the listing.
        assert output.read().split() == [b"0", b"1", b"2", b"3"]
    close_fds([reader, writer, fds[0], *fds[2:], *(fd for group in handed.values() for fd in group)])


def test_a_guardian_that_resumes_starts_again_when_its_first_supervisor_fails(theatre: Theatre) -> None:
    """A stack ran already, so a supervisor that cannot come up is a crash like any other."""
    reader, writer = os.pipe()
    theatre.open("--resume", json.dumps({"x": [reader]}), pauses_s=QUICK, pass_fds=[reader])
    theatre.next().exit(1)
    assert theatre.next().take_over()[0] == "died"
    close_fds([reader, writer])


def test_the_guardian_imports_little() -> None:
    """It is there for as long as the stack runs: nothing of the settings, the loop or a third party."""

    def imported() -> list[str]:
        import sys

        import launcher.guardian  # noqa: F401  # what it brings along is the result

        return sorted(sys.modules)

    modules = set(alone(imported))
    ours = {name for name in modules if name.startswith("launcher")}
    assert ours == {
        "launcher",
        "launcher.channel",
        "launcher.crashes",
        "launcher.fork_exec",
        "launcher.guardian",
        "launcher.guarding",
        "launcher.lifeline",
        "launcher.logs",
        "launcher.logs.line_format",
        "launcher.tenure",
        "launcher.waking",
        "launcher.wards",
        "launcher.wire",
    }
    assert not modules & {
        "asyncio",
        "dataclasses",
        "datetime",
        "inspect",
        "logging",
        "subprocess",
        "threading",
    }


def test_a_program_starts_in_the_folder_that_it_is_given(theatre: Theatre, tmp_path: Path) -> None:
    """Not in that of the guardian."""
    theatre.open()
    supervisor = theatre.next().come_up()
    order = {"argv": ["pwd"], "environ": {"PATH": os.environ["PATH"]}, "cwd": str(tmp_path)}
    _, fds = supervisor.spawn(order=order)
    with os.fdopen(fds[1], "rb") as output:
        assert output.read().decode().strip() == str(tmp_path)
    close_fds([fds[0], *fds[2:]])
