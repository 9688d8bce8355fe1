"""The server's side of the preparing process: follow it, understand its end, never leave it behind."""

import json
import sys
from pathlib import Path

import pytest

from servers.embedding.preparing import PreparationFailed, run_preparation
from servers.embedding.selection import Wanted
from servers.embedding.variants import Choice, Variant
from servers.errors import BadSettings

CHOICE = Choice(Variant("onnx", "float32"), "cpu", "it is the only one")
PHASE = json.dumps({"phase": "export", "progress": 0.4})


@pytest.fixture
def wanted(tmp_path: Path) -> Wanted:
    """Some request."""
    return Wanted(tmp_path, "some-model", "auto", "high", "cpu", 1, tmp_path / "cache")


def script(*lines: str) -> tuple[str, ...]:
    """A command that reads the request and then runs `lines`."""
    return (sys.executable, "-c", "\n".join(["import sys", "request = sys.stdin.readline()", *lines]))


def test_phases_are_passed_on_and_the_choice_is_returned(wanted: Wanted) -> None:
    """What the process reports before its result reaches the listener in order."""
    phases: list[tuple[str, float | None]] = []
    command = script(f"print({PHASE!r})", f"print({json.dumps({'choice': CHOICE.to_json()})!r})")
    assert run_preparation(wanted, lambda *phase: phases.append(phase), command) == CHOICE
    assert phases == [("export", 0.4)]


def test_the_process_gets_the_whole_request(wanted: Wanted, tmp_path: Path) -> None:
    """It can do its work with nothing but the line that it reads."""
    seen = tmp_path / "seen"
    command = script(f"open({str(seen)!r}, 'w').write(request)", "sys.exit(1)")
    with pytest.raises(PreparationFailed):
        run_preparation(wanted, lambda *phase: None, command)
    assert Wanted.from_json(seen.read_text("utf-8")) == wanted


def test_a_refusal_is_raised_with_its_mend(wanted: Wanted) -> None:
    """Settings that cannot work here end the start with what to do about it."""
    failure = {"failure": {"what": "no engine serves it", "where": "options.backend", "mend": "do that"}}
    with pytest.raises(BadSettings) as refused:
        run_preparation(wanted, lambda *phase: None, script(f"print({json.dumps(failure)!r})"))
    assert (refused.value.what, refused.value.where, refused.value.mend) == (
        "no engine serves it",
        "options.backend",
        "do that",
    )


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["sys.exit('no space left on device')"], "no space left on device"),
        (["sys.exit(5)"], "exit code"),
        (["print('Segmentation fault', file=sys.stderr)"], "Segmentation fault"),
    ],
)
def test_an_end_without_a_choice_says_what_was_said_last(wanted: Wanted, lines: list[str], says: str) -> None:
    """However it ends, the log can name the cause."""
    with pytest.raises(PreparationFailed, match=says):
        run_preparation(wanted, lambda *phase: None, script(*lines))


def test_a_load_that_is_given_up_takes_the_process_with_it(wanted: Wanted, tmp_path: Path) -> None:
    """When the listener raises, as it does when the server stops, the process has ended before that shows."""

    class GivenUp(Exception):
        """The server is stopped."""

    def stop(phase: str, progress: float | None) -> None:
        raise GivenUp

    pid = tmp_path / "pid"
    command = script(
        f"import os; open({str(pid)!r}, 'w').write(str(os.getpid()))",
        f"print({PHASE!r}, flush=True)",
        "sys.stdin.read()",
    )
    with pytest.raises(GivenUp):
        run_preparation(wanted, stop, command)
    assert not Path(f"/proc/{pid.read_text('utf-8')}").exists()
