"""`logs`: merging, filters, forms, generations, following; all from real files."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher import cli
from tests.launcher.commands.conftest import Run
from tests.launcher.control_double import ControlDouble


def line(second: int, text: str, stream: str = "stdout") -> str:
    """A line as the supervisor writes it."""
    return f"2026-11-23T14:02:{second:02d}.655123Z {stream} | {text}\n"


@pytest.fixture
def logs(project: Path) -> Path:
    """Two services with rotated files, restarts and interleaved times."""
    folder = project / "logs"
    (folder / "memory.log.1").write_text(line(1, "oldest of memory") + line(3, "Error: disk"))
    (folder / "memory.log").write_text(
        line(5, "generation 1 started, pid 10", "lucid")
        + line(6, "first life", "stderr")
        + line(8, "generation 2 started, pid 11", "lucid")
        + line(9, "second life")
    )
    (folder / "inference.0.log").write_text(line(2, "zero"))
    (folder / "inference.1.log").write_text(line(4, "one \x1b[31mred\x1b[0m"))
    (folder / "supervisor.log").write_text(line(7, "a word of the supervisor"))
    return folder


def texts(out: str) -> list[str]:
    """What stands after the separator on each line, or the marker."""
    return [row.partition(" | ")[2] or row.partition("──")[2].strip(" ─") for row in out.splitlines()]


def test_all_services_are_merged_by_time(logs: Path, run: Run) -> None:
    """Rotated files come first, then everything in time order, without the supervisor's own log."""
    assert texts(run("logs").out) == [
        "oldest of memory",
        "zero",
        "Error: disk",
        "one red",
        "memory: generation 1 started, pid 10",
        "first life",
        "memory: generation 2 started, pid 11",
        "second life",
    ]


def test_a_service_name_means_all_its_replicas(logs: Path, run: Run) -> None:
    """`inference` shows inference.0 and inference.1; `inference.1` only itself."""
    assert texts(run("logs", "inference").out) == ["zero", "one red"]
    assert texts(run("logs", "inference.1").out) == ["one red"]


def test_the_supervisors_log_by_name(logs: Path, run: Run) -> None:
    """The launcher's own log is shown when it is named."""
    assert texts(run("logs", "supervisor").out) == ["a word of the supervisor"]


@pytest.mark.parametrize(("count", "shown"), [(0, []), (1, ["second life"]), (99, None)])
def test_the_last_lines(logs: Path, run: Run, count: int, shown: list[str] | None) -> None:
    """`-n` counts across services and files."""
    everything = texts(run("logs").out)
    assert texts(run("logs", "-n", str(count)).out) == (everything if shown is None else shown)


def test_since_and_until(logs: Path, run: Run) -> None:
    """Only lines within the times, given as ISO 8601."""
    done = run("logs", "--since", "2026-11-23T14:02:03Z", "--until", "2026-11-23T14:02:05Z")
    assert texts(done.out) == ["Error: disk", "one red"]


def test_a_wrong_time_is_a_usage_error(logs: Path, run: Run) -> None:
    """`--since yesterday` exits 2 and says what is understood."""
    done = run("logs", "--since", "yesterday")
    assert done.code == 2
    assert "10m" in done.err


@pytest.mark.parametrize(("pattern", "count"), [("error", 1), ("Error", 1), ("ERROR", 0), ("life$", 2)])
def test_grep_with_smart_case(logs: Path, run: Run, pattern: str, count: int) -> None:
    """A lower-case pattern matches any case, one with an upper-case letter only its own."""
    assert len(run("logs", "-g", pattern).out.splitlines()) == count


def test_a_level_and_its_traceback(logs: Path, run: Run) -> None:
    """`-p error` keeps errors with the lines that belong to them, and the markers between the processes."""
    with open(logs / "memory.log", "a") as file:
        file.write(line(10, "Traceback (most recent call last):", "stderr") + line(10, "  File x", "stderr"))
        file.write(line(11, "INFO well again"))
    wanted = [
        "Error: disk",
        "memory: generation 1 started, pid 10",
        "memory: generation 2 started, pid 11",
        "Traceback (most recent call last):",
        "  File x",
    ]
    assert texts(run("logs", "-p", "error").out) == wanted
    assert texts(run("logs", "-p", "error", "-n", "2").out) == wanted[-2:]


def test_an_inverted_pattern(logs: Path, run: Run) -> None:
    """`--invert` leaves out what `-g` would show, and needs a pattern."""
    assert "zero" not in texts(run("logs", "-g", "zero|one", "--invert").out)
    assert "second life" in texts(run("logs", "-g", "zero|one", "--invert").out)
    assert run("logs", "--invert").code == 2


def test_a_broken_pattern_is_a_usage_error(logs: Path, run: Run) -> None:
    """A bad regular expression exits 2 with its reason."""
    done = run("logs", "-g", "(")
    assert done.code == 2
    assert "regular expression" in done.err


def test_the_previous_generation(logs: Path, run: Run) -> None:
    """`--prev` shows what the process before the current one said."""
    assert texts(run("logs", "memory", "--prev").out) == [
        "memory: generation 1 started, pid 10",
        "first life",
    ]


def test_json_lines(logs: Path, run: Run) -> None:
    """`-o json` is one object a line with the text unchanged, safe on any terminal."""
    out = run("logs", "inference.1", "-o", "json").out
    assert json.loads(out) == {
        "at": "2026-11-23T14:02:04.655123Z",
        "child": "inference.1",
        "stream": "stdout",
        "level": "info",
        "text": "one \x1b[31mred\x1b[0m",
        "continued": False,
    }
    assert "\x1b" not in out
    assert run("logs", "inference.1", "--json").out == out


def test_raw_is_the_childs_own_words(logs: Path, run: Run) -> None:
    """`-o raw` into a pipe is what the child wrote, without markers and unchanged; `-n` counts just that."""
    assert run("logs", "inference.1", "-o", "raw").out == "one \x1b[31mred\x1b[0m\n"
    assert run("logs", "memory", "-n", "2", "-o", "raw").out == "first life\nsecond life\n"


def test_raw_is_the_launchers_own_words_in_its_own_log(logs: Path, run: Run) -> None:
    """There they are no markers."""
    (logs / "supervisor.log").write_text(line(7, "memory ready: pid 11", "lucid"))
    assert run("logs", "supervisor", "-o", "raw").out == "memory ready: pid 11\n"


def test_an_unknown_service(logs: Path, run: Run) -> None:
    """A name without a log exits 4 with a suggestion."""
    done = run("logs", "memroy")
    assert done.code == 4
    assert "did you mean 'memory'?" in done.err


def test_nothing_at_all_is_not_running(project: Path, run: Run) -> None:
    """Without logs and without a supervisor there is nothing to show: exit 3."""
    assert run("logs").code == 3


def test_following_without_a_stack(logs: Path, run: Run) -> None:
    """`-f` with nothing running prints what there is and exits 3."""
    done = run("logs", "-f")
    assert "second life" in done.out
    assert done.code == 3


def test_follow_excludes_the_past_only_options(logs: Path, run: Run) -> None:
    """`-f --prev` makes no sense and says so."""
    assert run("logs", "-f", "--prev").code == 2


@pytest.fixture
def following(
    logs: Path, control: ControlDouble, capfd: pytest.CaptureFixture[str]
) -> Iterator[threading.Thread]:
    """`logs -f` at work; the stack's end ends it."""
    thread = threading.Thread(target=cli.main, args=(["logs", "-f", "-n", "1"],))
    thread.start()
    control.wait_for_command("subscribe")
    yield thread
    control.drop_clients()
    thread.join(20)
    assert not thread.is_alive()


def test_following_across_restart_and_rotation(
    following: threading.Thread, logs: Path, control: ControlDouble, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every line comes once: after a restart, from a file rotated away meanwhile, and of a new child."""
    with open(logs / "memory.log", "a") as file:
        file.write(line(10, "generation 2 ended: exit code 1", "lucid") + line(11, "third life"))
    (logs / "memory.log.1").rename(logs / "memory.log.2")
    (logs / "memory.log").rename(logs / "memory.log.1")
    (logs / "memory.log").write_text(line(12, "after rotation"))
    (logs / "newcomer.log").write_text(line(13, "hello"))
    control.drop_clients()
    following.join(20)
    assert texts(capfd.readouterr().out) == [
        "second life",
        "memory: generation 2 ended: exit code 1",
        "third life",
        "after rotation",
        "hello",
    ]
