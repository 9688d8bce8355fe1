"""Every error that a user can meet, provoked for real, and its text held: what, where, why, the mend.

The texts are whole, but for what differs from run to run. A code that the program has and nobody provokes
here, or that the error reference does not list, fails the last tests.
"""

import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from docs.generate.error_reference import launcher_codes
from launcher.runtime_dir import runtime_paths
from tests.integration.stack import Stack, free_ports
from tests.integration.supervised_stack import hostile
from tests.launcher.nvml_double import write_module, write_state

ROOT = Path(__file__).parents[3]
REFERENCE = ROOT / "docs" / "reference" / "errors.md"
CODE = re.compile(r"\bE_[A-Z_]+[A-Z]\b")
PROVOKED: set[str] = set()
SLEEPER = "services:\n  job: {command: [sleep, '1000']}\n"

Test = Callable[..., None]


def provokes(*codes: str) -> Callable[[Test], Test]:
    """Mark a test as the one that provokes these codes."""

    def mark(test: Test) -> Test:
        PROVOKED.update(codes)
        return test

    return mark


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack of one program that does nothing, stopped; the tests give it the file that they need."""
    made = Stack(tmp_path, config=SLEEPER)
    yield made
    made.config.write_text(SLEEPER)
    made.close()


def said(stack: Stack, *verb: str, code: int) -> list[str]:
    """The lines that a verb writes to stderr when it ends with `code`, with a stable name for the folder."""
    lines = stack.run(*verb, check=code).stderr.replace(str(stack.root), "<folder>").splitlines()
    assert not any("Traceback" in line for line in lines)
    return lines


def services(stack: Stack, *lines: str) -> None:
    """Write the file: the lines below `services:`."""
    stack.config.write_text("\n".join(["services:", *(f"  {line}" for line in lines), ""]))


@provokes("E_CONFIG_MISSING")
def test_no_config_file(stack: Stack) -> None:
    """Where it was looked for, and the two ways on."""
    stack.config.unlink()
    hint = "  hint: name one with  -f PATH , or write one for this machine with  lucid-launch init"
    for verb in (["up"], ["status"], ["logs"], ["plan"], ["config", "check"]):
        assert said(stack, *verb, code=2) == [
            "error[E_CONFIG_MISSING]: there is no config.yaml in <folder>, nor in a folder above it",
            hint,
        ]
    assert said(stack, "-f", "other.yaml", "up", code=2) == [
        "error[E_CONFIG_MISSING]: there is no configuration file; looked at <folder>/other.yaml",
        hint,
    ]


@provokes("E_CONFIG_EXISTS")
def test_init_overwrites_nothing(stack: Stack) -> None:
    """The file stays, byte by byte."""
    assert said(stack, "init", code=5) == [
        "error[E_CONFIG_EXISTS]: <folder>/config.yaml is there already, and was left as it is",
        "  hint: look at what would be written with  --print , replace the file with  --force",
    ]
    assert stack.config.read_text() == SLEEPER


@provokes("E_CONFIG")
def test_several_mistakes_at_once(stack: Stack) -> None:
    """Place, key, reason, guess, source line and caret for each, then how many."""
    services(stack, "job:", "  comand: [sleep, '1']", "  replicas: many", "  gpu: none", "  gpu: auto")
    assert said(stack, "up", "-d", code=2) == [
        "config.yaml:3:5: services.job.comand: unknown key; did you mean 'command'?",
        "   3 |     comand: [sleep, '1']",
        "     |     ^^^^^^",
        "config.yaml:4:15: services.job.replicas: must be a whole number, not 'many'",
        "   4 |     replicas: many",
        "     |               ^^^^",
        "config.yaml:6:5: services.job.gpu: the key is here twice; the first is on line 5",
        "   6 |     gpu: auto",
        "     |     ^^^",
        "3 errors; nothing was started or changed.",
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("services:\n\tjob: {}\n", "config.yaml:2:1: a tab; YAML is indented with spaces only"),
        ("services: {job: {command: [a]}\n", "not valid YAML: a ',' or '}' is missing in the mapping"),
        ("services: {job: {command: [a], port: 99999}}\n", "services.job.port: "),
        ("services: {a: {command: [a], depends_on: {a: ready}}}\n", "a service cannot depend on itself"),
        ("", "is empty"),
    ],
)
def test_other_bad_files(stack: Stack, text: str, sentence: str) -> None:
    """Tabs, an open bracket, a value out of range, a circle, nothing at all: one sentence each."""
    stack.config.write_text(text)
    lines = said(stack, "config", "check", code=2)
    assert sentence in lines[0]
    assert lines[-1] == "1 error; nothing was started or changed."


@provokes("E_PORT_IN_USE")
def test_every_taken_port_is_named(stack: Stack) -> None:
    """Who wants it, where the file says so, who has it, and the mend: for each, and nothing is started."""
    first, second = free_ports(2)
    services(stack, f"a: {{command: [sleep, '1'], port: {first}}}", f"b: {{command: [cat], port: {second}}}")
    with socket.create_server(("127.0.0.1", first)), socket.create_server(("127.0.0.1", second)):
        lines = said(stack, "up", "-d", code=5)
    holder = re.compile(rf"  held by pid {os.getpid()}  .*  \(user \S+, started \d{{4}}-.*, cwd .*\)")
    for name, port, line, block in (("a", first, 2, lines[:4]), ("b", second, 3, lines[4:])):
        column = stack.config.read_text().splitlines()[line - 1].index(str(port)) + 1
        place = f"config.yaml:{line}:{column}"
        assert block[0] == f"error[E_PORT_IN_USE]: {name} cannot listen on localhost:{port}"
        assert block[1].startswith(f"  {place} |   {name}: ")
        assert holder.fullmatch(block[2]), block[2]
        assert block[3] == f"  hint: stop it with  kill {os.getpid()} , or choose another port at {place}"
    assert stack.wait_gone(stack.processes(), 5) == []


@provokes("E_RUNNING")
def test_a_second_supervisor_of_one_file(stack: Stack) -> None:
    """What starts it beside the first is refused with the pid of the owner; the first is left alone."""
    from launcher.control_client import start_supervisor
    from launcher.errors import LauncherError

    stack.run("up", "-d")
    before = stack.status()["supervisor"]["pid"]
    os.environ["XDG_RUNTIME_DIR"], old = stack.environ["XDG_RUNTIME_DIR"], os.environ.get("XDG_RUNTIME_DIR")
    try:
        with pytest.raises(LauncherError) as refusal:
            start_supervisor(stack.config, (), False, 30)
    finally:
        os.environ.pop("XDG_RUNTIME_DIR") if old is None else os.environ.update(XDG_RUNTIME_DIR=old)
    first, hint = refusal.value.render().splitlines()
    assert re.fullmatch(r"error\[E_RUNNING\]: another supervisor \(pid \d+\) already runs \S+", first)
    assert hint == "  hint: see it with  lucid-launch status , stop it with  lucid-launch down"
    assert refusal.value.exit_code == 5
    assert stack.status()["supervisor"]["pid"] == before


@provokes("E_COMMAND_NOT_FOUND")
def test_a_program_that_is_not_there(stack: Stack) -> None:
    """The service, the program, the place in the file."""
    services(stack, "job: {command: [no-such-program]}")
    assert said(stack, "up", "-d", code=6) == [
        "error[E_COMMAND_NOT_FOUND]: job: the program 'no-such-program' is not on PATH",
        "  config.yaml:2:18 |   job: {command: [no-such-program]}",
        "  hint: install it, or write its full path",
    ]


@provokes("E_MODEL_NOT_FOUND", "E_ENVIRONMENT")
def test_a_model_that_is_not_there_beside_another_lack(stack: Stack) -> None:
    """Both are told at once, each in full; the document for programs has one code for the two."""
    port = free_ports(1)[0]
    options = "options: {model: no/such-model}"
    services(
        stack, f"server: {{server: inference, port: {port}, gpu: none, {options}}}", "job: {command: [nix0]}"
    )
    lines = said(stack, "up", "-d", code=6)
    assert lines[0].startswith(
        "error[E_MODEL_NOT_FOUND]: server: The model 'no/such-model' is not on this machine (looked in "
    )
    assert lines[1].startswith("  config.yaml:2:")
    assert lines[2].startswith("  hint: Set `model` to the folder of a downloaded model, or allow")
    assert lines[3] == "error[E_COMMAND_NOT_FOUND]: job: the program 'nix0' is not on PATH"
    assert '"code": "E_ENVIRONMENT"' in stack.run("up", "-d", "--json", check=6).stdout


@pytest.fixture
def cards(stack: Stack, tmp_path: Path) -> Path:
    """One GPU as a stand-in for the driver tells it: 80 GiB, of which 8 are free."""
    state = tmp_path / "nvml.json"
    write_state(state, {0: (80, 8)})
    write_module(tmp_path / "nvml", state)
    paths = [str(tmp_path / "nvml"), str(ROOT)]
    stack.environ = stack.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    return state


@provokes("E_GPU_MISSING")
def test_a_gpu_that_is_not_there(stack: Stack, cards: Path) -> None:
    """Which was wanted, which there are, where the file asks for it."""
    services(stack, "job: {command: [sleep, '1'], gpu: 3}")
    first, place, hint = said(stack, "up", "-d", code=6)
    assert first == "error[E_GPU_MISSING]: job: there is no GPU 3"
    assert place == "  config.yaml:2:37 |   job: {command: [sleep, '1'], gpu: 3}"
    assert hint == "  hint: there are: GPU 0 NVIDIA H200 (GPU-0, 8.6 GB free)"


@provokes("E_VRAM_SHORT")
def test_a_gpu_that_is_full(stack: Stack, cards: Path) -> None:
    """What is needed, what is free, and who has the rest."""
    services(stack, "job: {command: [sleep, '1'], gpu: 0, vram: 20GiB}")
    lines = said(stack, "up", "-d", code=6)
    assert lines[0].startswith("error[E_VRAM_SHORT]: job: ")
    assert "20" in lines[0]
    assert "8" in lines[0]
    assert lines[1].startswith("  config.yaml:2:")


@provokes("E_NOT_RUNNING")
def test_nothing_runs(stack: Stack) -> None:
    """Whatever asks a stack that is not there is told how to start it; `down` has nothing to complain of."""
    for verb in (["status"], ["dashboard"], ["logs", "-f"], ["events"], ["wait"], ["restart", "job"]):
        assert said(stack, *verb, code=3) == [
            "error[E_NOT_RUNNING]: nothing runs for <folder>/config.yaml",
            "  hint: start it with  lucid-launch up",
        ]
    assert said(stack, "down", code=0) == ["nothing runs for <folder>/config.yaml; nothing to stop"]


@provokes("E_NO_SUCH_SERVICE")
def test_a_misspelt_service(stack: Stack) -> None:
    """The nearest name, and all there are, whichever verb it is for."""
    stack.run("up", "-d")
    for verb in ("restart", "stop", "start", "status", "wait", "logs", "call", "selftest"):
        words = [verb, "jobb", "stats"][: 3 if verb == "call" else 2]
        assert said(stack, *words, code=4) == [
            "error[E_NO_SUCH_SERVICE]: there is no service 'jobb'; did you mean 'job'?",
            "  hint: services here: job",
        ]


@provokes("E_TIMEOUT")
def test_not_ready_in_time(stack: Stack) -> None:
    """Who is not there yet, and that it goes on."""
    port = free_ports(1)[0]
    services(
        stack, f"job: {{command: {hostile()}, port: {port}, inherit_sockets: true, health: {{http: /}}}}"
    )
    stack.run("up", "-d")
    assert said(stack, "wait", "--timeout", "200ms", code=124)[-2:] == [
        "error[E_TIMEOUT]: job did not get there within 0.2 s",
        "  hint: it goes on in the background; see  lucid-launch status",
    ]


@provokes("E_ACTION_FAILED")
def test_a_crash_loop(stack: Stack) -> None:
    """How often, the last words, the two commands that help; `status` says the same and exits 1."""
    crash = hostile("--complain", "opening the store", "--complain", "database is locked", "--exit", "1")
    policy = "{max_failures: 3, backoff: {initial: 10ms, max: 20ms, jitter: 0}}"
    # A probe, since only what has one can be told from what runs.
    services(stack, f"job: {{command: {crash}, health: {{notify: true}}, restart: {policy}}}")
    told = said(stack, "up", "--wait", code=1)
    reasons = told[next(at for at, line in enumerate(told) if line.startswith("error[")) :]
    assert reasons == [
        "error[E_ACTION_FAILED]: job  failed: gave up: it ended 3 times in a row (exit code 1)",
        "  │ opening the store",
        "  │ database is locked",
        "  hint: full log with  lucid-launch logs job ; try again with  lucid-launch restart job",
    ]
    status = stack.run("status", check=1).stdout.splitlines()
    assert "✖ failed" in status[1]
    assert status[-4:] == ["job  failed: gave up: it ended 3 times in a row (exit code 1)", *reasons[1:]]


@provokes("E_SUPERVISOR")
def test_something_else_answers_on_the_socket(stack: Stack) -> None:
    """A listener that is no supervisor is said to be none, without waiting for ever."""
    os.environ["XDG_RUNTIME_DIR"], old = stack.environ["XDG_RUNTIME_DIR"], os.environ.get("XDG_RUNTIME_DIR")
    try:
        path = runtime_paths(stack.config).control_socket
    finally:
        os.environ.pop("XDG_RUNTIME_DIR") if old is None else os.environ.update(XDG_RUNTIME_DIR=old)
    path.parent.mkdir(parents=True, mode=0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        pid = os.fork()
        if pid == 0:
            connection, _ = listener.accept()
            connection.recv(4096)
            connection.sendall(b"220 mail.example ready\r\n\r\n")
            connection.close()
            os._exit(0)
        try:
            lines = said(stack, "status", code=1)
        finally:
            os.waitpid(pid, 0)
    path.unlink()
    assert lines == ["error[E_SUPERVISOR]: the supervisor answered '220 mail.example ready'"]


def test_a_stale_socket_is_no_error(stack: Stack) -> None:
    """What a supervisor that was killed left behind is in nobody's way: `up` works and says what it did."""
    stack.run("up", "-d")
    supervisor = stack.status()["supervisor"]
    for pid in filter(None, (supervisor["guardian_pid"], supervisor["pid"])):
        stack.kill(pid, signal.SIGKILL)
    assert stack.wait_gone(stack.processes(), 10) == []
    stack.run("status", check=3)
    stack.run("up", "-d")
    assert stack.status()["services"]["job"]["state"] in ("starting", "ready")


@provokes("E_USAGE")
@pytest.mark.parametrize(
    ("words", "sentence", "help_of"),
    [
        (["statsu"], "there is no verb 'statsu'; did you mean 'status'?", "lucid-launch"),
        (["atach"], "there is no verb 'atach'; did you mean 'attach'?", "lucid-launch"),
        (["xyzzy"], "there is no verb 'xyzzy'", "lucid-launch"),
        (
            ["config", "shw"],
            "lucid-launch config has no verb 'shw'; did you mean 'show'?",
            "lucid-launch config",
        ),
        (
            ["status", "--jsno"],
            "lucid-launch status has no option '--jsno'; did you mean '--json'?",
            "lucid-launch status",
        ),
        (
            ["wait", "--for", "redy"],
            "Invalid value for '--for': 'redy' is not one of 'ready', 'stopped'; did you mean 'ready'?",
            "lucid-launch wait",
        ),
        (
            ["up", "--timeout", "5x"],
            "Invalid value for '--timeout': must be a duration such as 500ms, 10s, 5m or 1h30m, not '5x'",
            "lucid-launch up",
        ),
        (["restart"], "Missing argument 'SVC...'.", "lucid-launch restart"),
        (
            ["logs", "-g", "("],
            "Invalid value for '-g' / '--grep': not a regular expression: missing ), unterminated subpattern"
            " at position 0",
            "lucid-launch logs",
        ),
    ],
    ids=" ".join,
)
def test_a_command_line_that_is_not_understood(
    stack: Stack, words: list[str], sentence: str, help_of: str
) -> None:
    """What is wrong with it, what was probably meant, and whose help to read."""
    assert said(stack, *words, code=2) == [f"error[E_USAGE]: {sentence}", f"  hint: see  {help_of} --help"]


def test_the_dashboard_without_a_terminal(stack: Stack) -> None:
    """One sentence and what to use instead."""
    stack.run("up", "-d")
    assert said(stack, "dashboard", code=2) == [
        "error[E_USAGE]: the dashboard needs a terminal on stdin, stdout and stderr; try  lucid-launch status"
        " --watch",
        "  hint: see  lucid-launch dashboard --help",
    ]


def test_every_code_of_the_launcher_is_provoked() -> None:
    """A new error gets a test here, and a test names no error that is gone."""
    assert set(launcher_codes()) == PROVOKED


def test_the_reference_lists_exactly_the_codes_in_the_code() -> None:
    """Every `E_…` of launcher, servers and `./lucid` stands in the error reference, and nothing else does."""
    sources = [path for folder in ("launcher", "servers") for path in (ROOT / folder).rglob("*.py")]
    sources.append(ROOT / "lucid")
    in_code = {code for path in sources for code in CODE.findall(path.read_text("utf-8"))}
    in_reference = set(CODE.findall(REFERENCE.read_text("utf-8")))
    assert in_code - {"E_FAILED"} == in_reference  # the base class's, which nothing raises
