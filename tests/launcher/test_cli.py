"""The command line as a whole: verbs, suggestions, exit codes, and what a light verb may import."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from launcher import cli
from tests.launcher.control_double import ControlDouble, all_ready

LIMIT_S = 0.150
QUIET = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)
HEAVY = ("pydantic", "textual", "torch", "uvicorn", "websockets", "asyncio", "rich", "yaml")
# What other verbs share with `status`, and no table needs.
COSTLY = ("click.shell_completion", "launcher.logs.reader", "launcher.configuration.units", "subprocess")


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """A folder with a config file and a private runtime folder."""
    (tmp_path / "run").mkdir(mode=0o700)
    (tmp_path / "config.yaml").write_text("project: lucid\n")
    return tmp_path


def environment(stack: Path) -> dict[str, str]:
    """The environment of a child process that uses the runtime folder of `stack`."""
    return {**os.environ, "XDG_RUNTIME_DIR": str(stack / "run"), "TERM": "dumb"}


@pytest.mark.parametrize("verb", sorted(cli.VERBS))
def test_every_verb_has_a_command(verb: str) -> None:
    """Each verb of the table is a module with a documented click command."""
    command = importlib.import_module(f"launcher.commands.{verb}").command
    assert isinstance(command, click.Command)
    assert command.help


@pytest.mark.parametrize("alias", sorted(cli.ALIASES))
def test_an_alias_is_its_verb(alias: str) -> None:
    """`ps` and `attach` are the very commands that they stand for."""
    context = click.Context(cli.group)
    assert cli.group.get_command(context, alias) is cli.group.get_command(context, cli.ALIASES[alias])


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` names all verbs and exits 0."""
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {verb}" in shown for verb in cli.VERBS)


def test_a_misspelt_verb_is_suggested(capsys: pytest.CaptureFixture[str]) -> None:
    """`statsu` is a usage error that names `status`, on stderr alone."""
    assert cli.main(["statsu"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "error[E_USAGE]" in err
    assert "'status'" in err


def test_an_unknown_option_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong option exits 2 and points at the help of its verb."""
    assert cli.main(["status", "--jsno"]) == 2
    err = capsys.readouterr().err
    assert "--json" in err
    assert "status --help" in err


def test_no_config_file_says_where_it_looked(stack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is not there exits 2 with the path that was tried."""
    assert cli.main(["-C", str(stack), "-f", "other.yaml", "status"]) == 2
    err = capsys.readouterr().err
    assert f"looked at {stack / 'other.yaml'}\n" in err
    assert "lucid-launch init" in err


def test_no_config_file_anywhere_names_every_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without `-f` the folder and those above it were looked at, in one line; `-v` lists each; `init` is the
    way out.
    """
    assert cli.main(["-v", "-C", str(tmp_path), "status"]) == 2
    listed, sentence, hint = capsys.readouterr().err.splitlines()
    places = json.loads(listed)["looked_at"]
    assert places[:2] == [str(tmp_path / "config.yaml"), str(tmp_path.parent / "config.yaml")]
    assert sentence.endswith(f"there is no config.yaml in {tmp_path}, nor in a folder above it")
    assert "lucid-launch init" in hint


def test_every_global_option_has_a_variable(capsys: pytest.CaptureFixture[str]) -> None:
    """`LUCID_<FLAG>` stands for each of them, and the help says so."""
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name in ("FILE", "DIRECTORY", "COLOR", "ASCII", "QUIET", "VERBOSE"):
        assert f"LUCID_{name}" in shown


def test_nothing_running_exits_3_with_the_start_command(stack: Path) -> None:
    """Without a supervisor `status` exits 3 and says how to start one."""
    done = subprocess.run(
        [sys.executable, "-m", "launcher", "-C", str(stack), "status"],
        env=environment(stack),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3
    assert "E_NOT_RUNNING" in done.stderr
    assert "lucid-launch up" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_standard_streams_that_are_closed_do_no_harm(stack: Path, closed: str) -> None:
    """As under a daemon: the exit code is the same, and what can still be said is said."""
    done = subprocess.run(
        [
            "sh",
            "-c",
            f'exec "$@" {closed}',
            "sh",
            sys.executable,
            "-m",
            "launcher",
            "-C",
            str(stack),
            "status",
        ],
        env=environment(stack),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3
    assert ("E_NOT_RUNNING" in done.stderr) is ("2>" not in closed)
    assert "Traceback" not in done.stderr


def test_a_folder_that_is_gone_is_looked_up_from_where_it_was(stack: Path) -> None:
    """The file above it counts; a shell that stands in it has its name."""
    (stack / "gone").mkdir()
    script = 'cd "$1/gone" && rmdir "$1/gone" && shift && exec "$@"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", str(stack), sys.executable, "-P", "-m", "launcher", "status"],
        env=environment(stack),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3
    assert str(stack / "config.yaml") in done.stderr


@pytest.mark.parametrize("argv", [["status"], ["status", "--json"], ["logs"]], ids=" ".join)
def test_light_verbs_stay_light(stack: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str]) -> None:
    """`status` and `logs` answer without importing any library that costs time."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(stack / "run"))
    (stack / "logs").mkdir()
    (stack / "logs" / "memory.log").write_text("2026-11-23T14:02:20.655123Z stdout | hello\n")
    double = ControlDouble(stack / "config.yaml", all_ready())
    unwanted = HEAVY + COSTLY if argv[0] == "status" else HEAVY
    script = (
        "import sys, json; from launcher.cli import main; code = main(sys.argv[1:]);"
        f"print(json.dumps([code, sorted(set(sys.modules) & set({unwanted!r}))]), file=sys.stderr)"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", script, "-C", str(stack), *argv],
            env=environment(stack),
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        double.close()
    assert json.loads(done.stderr) == [0, []]


def test_status_is_quick(stack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cheapest of ten `status` processes takes no more than 150 ms of processor time, start of Python
    included; the time on the clock would judge the machine's other work.
    """
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(stack / "run"))
    double = ControlDouble(stack / "config.yaml", all_ready())
    argv = [sys.executable, "-m", "launcher", "-C", str(stack), "-q", "status"]
    took_s = []
    try:
        for _ in range(10):
            pid = os.posix_spawn(argv[0], argv, environment(stack), file_actions=[QUIET])
            _, status, usage = os.wait4(pid, 0)
            assert os.waitstatus_to_exitcode(status) == 0
            took_s.append(usage.ru_utime + usage.ru_stime)
            if took_s[-1] < LIMIT_S:
                break
    finally:
        double.close()
    assert min(took_s) < LIMIT_S, took_s


def test_status_is_small(stack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`status` never needs more than 25 MB of memory, Python included."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(stack / "run"))
    double = ControlDouble(stack / "config.yaml", all_ready())
    script = (
        "import sys; from launcher.cli import main; assert main(sys.argv[1:]) == 0;"
        "print(open('/proc/self/status').read(), file=sys.stderr)"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", script, "-C", str(stack), "status"],
            env=environment(stack),
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        double.close()
    (peak_kib,) = (int(line.split()[1]) for line in done.stderr.splitlines() if line.startswith("VmHWM:"))
    assert peak_kib * 1024 < 25_000_000


def test_a_reader_that_leaves_is_no_error(stack: Path) -> None:
    """`logs | head -1` ends quietly, with the exit code of a closed pipe."""
    (stack / "logs").mkdir()
    line = "2026-11-23T14:02:20.655123Z stdout | " + "x" * 90 + "\n"
    (stack / "logs" / "memory.log").write_text(line * 20_000)
    process = subprocess.Popen(
        [sys.executable, "-m", "launcher", "-C", str(stack), "logs"],
        env=environment(stack),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        process.stdout.readline()
        process.stdout.close()
        complaint = process.stderr.read()
    assert complaint == ""
    assert process.returncode == 141
