"""Each key that a service may have, from config.yaml to a real process; nothing is taken on trust."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.configuration.models import ServiceKeys
from tests.integration.stack import free_ports
from tests.integration.supervised_stack import SupervisedStack, hostile

SYSTEM_PYTHON = "/usr/bin/python3"
NOTIFY = "health: {notify: true}"

ELSEWHERE = {
    "command": "test_any_command: test_a_web_server_of_the_standard_library",
    "server": "test_up_and_down, and test_diagnosis: test_a_hung_server_tells_its_own_stacks",
    "gpu": "test_gpus",
    "replicas": "test_scaling: test_scaling_restarts_nobody",
    "port": "test_any_command: test_a_range_gives_the_next_port_and_says_so",
    "inherit_sockets": "test_supervisor_children: test_child_gets_its_contract",
    "port_mode": "test_shared_port: test_all_replicas_answer_on_one_port",
    "while_starting": "test_while_starting: test_clients_hear_when_to_come_back",
    "depends_on": "test_scaling: test_a_dependent_restarts_with_what_it_needs_where_asked",
}
"""Keys that other modules hold, by the test that does."""

HERE = {
    "host", "vram", "env", "env_file", "cwd", "user", "health", "restart", "stop", "logs", "limits", "cpus",
    "enabled", "options",
}  # fmt: skip
"""Keys that the tests below hold."""


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SupervisedStack]:
    """A stack in a folder of its own, ended after the test."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    stack = SupervisedStack(tmp_path)
    yield stack
    stack.close()


def test_every_key_is_held_by_a_test() -> None:
    """A key that is added to the models fails here until somebody shows that it works."""
    keys = {info.alias or name for name, info in ServiceKeys.model_fields.items()}
    assert keys == HERE | set(ELSEWHERE)


def environment(stack: SupervisedStack, keys: str) -> dict[str, str]:
    """What a child with these keys finds in its environment."""
    stack.write(f"  a: {{command: {hostile('--print-environment', '--ready')}, {NOTIFY}, {keys}}}\n")
    stack.start()
    stack.wait_state("a", "ready")
    texts = [line.split(" | ", 1)[1] for line in stack.log("a") if "stdout | env " in line]
    return dict(text[4:].split("=", 1) for text in texts)


def test_env_wins_over_env_file_and_both_over_what_is_inherited(
    stack: SupervisedStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Quotes and comments of the file are read as a shell would, without one."""
    monkeypatch.setenv("A", "inherited")
    monkeypatch.setenv("B", "inherited")
    monkeypatch.setenv("C", "inherited")
    (stack.folder / "a.env").write_text("# a comment\nexport B='from the file'\nC=from-the-file\nD=$C\n")
    found = environment(stack, "env_file: a.env, env: {C: from the key, E: 5}")
    assert {name: found[name] for name in "ABCDE"} == {
        "A": "inherited",
        "B": "from the file",
        "C": "from the key",
        "D": "$C",
        "E": "5",
    }


def test_options_budget_and_host_are_told(stack: SupervisedStack) -> None:
    """A child knows its host, its port and its budget; options are for built-in servers alone."""
    found = environment(stack, "host: 127.0.0.1, port: auto, vram: 2GB")
    assert (found["HOST"], found["LUCID_VRAM_BYTES"], found["LUCID_OPTIONS"]) == (
        "127.0.0.1",
        "2000000000",
        "{}",
    )


@pytest.mark.stack
def test_options_reach_a_built_in_server(stack: SupervisedStack) -> None:
    """What the server's own model takes, it gets; what it does not is refused with its place."""
    options = "options: {backend: debug, max_request_texts: 7}"
    stack.write(f"  i: {{server: inference, port: auto, gpu: none, {options}}}\n")
    stack.start()
    stats = stack.wait_state("i", "ready")["health"]["stats"]
    assert stats["service"] == "inference"
    stack.write("  i: {server: inference, port: auto, gpu: none, options: {bakend: debug}}\n")
    reply = stack.ask("up")
    assert (reply["code"], "options.bakend" in reply["message"]) == ("E_CONFIG", True)


def test_the_working_directory(stack: SupervisedStack) -> None:
    """Relative to the file."""
    (stack.folder / "below").mkdir()
    stack.write(f"  a: {{command: {hostile()}, cwd: below}}\n")
    stack.start()
    pid = stack.wait_state("a", "ready")["pid"]
    assert os.readlink(f"/proc/{pid}/cwd") == str(stack.folder / "below")


SAYS_READY = (
    "import os, signal, socket; sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM);"
    " address = os.environ['NOTIFY_SOCKET']; where = chr(0) + address[1:] if address[0] == '@' else address;"
    " sender.sendto(b'READY=1', where); signal.pause()"
)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
@pytest.mark.skipif(not os.access(SYSTEM_PYTHON, os.X_OK), reason="needs a Python that everybody may run")
@pytest.mark.parametrize("user", ["nobody", "65534"])
def test_another_user_may_run_it_and_still_says_when_it_is_ready(stack: SupervisedStack, user: str) -> None:
    """By name or number: its ids are that user's, and sd_notify reaches us from there."""
    command = json.dumps([SYSTEM_PYTHON, "-c", SAYS_READY])
    stack.write(f"  a: {{command: {command}, cwd: /, user: '{user}', {NOTIFY}}}\n")
    stack.start()
    pid = stack.wait_state("a", "ready")["pid"]
    status = Path(f"/proc/{pid}/status").read_text()
    assert re.search(r"^Uid:\s+65534\s+65534\s+65534\s+65534$", status, re.MULTILINE)
    assert re.search(r"^Groups:\s+65534 $", status, re.MULTILINE)


def test_processors_and_threads(stack: SupervisedStack) -> None:
    """A list pins the child, a number only tells how many threads are good."""
    wanted = min(os.sched_getaffinity(0))
    found = environment(stack, f"cpus: [{wanted}]")
    assert os.sched_getaffinity(stack.child("a")["pid"]) == {wanted}
    assert (found["OMP_NUM_THREADS"], found["MKL_NUM_THREADS"]) == ("1", "1")


def test_the_stop_signal_and_its_grace(stack: SupervisedStack) -> None:
    """The configured signal comes, and SIGKILL after the grace period for whoever ignores it."""
    trap = "trap 'echo caught INT; exit 0' INT; while :; do sleep 0.05; done"
    stack.write(
        f'  a: {{command: [sh, -c, "{trap}"], stop: {{signal: INT}}}}\n'
        f"  b: {{command: {hostile('--ignore-term', '--ready')}, {NOTIFY}, stop: {{grace: 200ms}}}}\n"
    )
    stack.start()
    stack.wait_state("a", "ready")
    stack.wait_state("b", "ready")
    stack.ask("stop", services=["a", "b"])
    assert stack.wait_state("a", "stopped")["last_exit"]["code"] == 0
    assert stack.wait_state("b", "stopped")["last_exit"]["signal"] == 9
    assert any(line.endswith("caught INT") for line in stack.log("a"))


def test_a_stopping_child_gets_the_time_it_asks_for(stack: SupervisedStack) -> None:
    """EXTEND_TIMEOUT_USEC while stopping: the grace period of 200 ms would not do, and is not held to."""
    slow = hostile("--ready", "--slow-stop")
    stack.write(f"  a: {{command: {slow}, {NOTIFY}, stop: {{grace: 200ms}}}}\n")
    stack.start()
    stack.wait_state("a", "ready")
    stack.ask("stop", services=["a"])
    assert stack.wait_state("a", "stopped")["last_exit"]["code"] == 0
    assert any(line.endswith("last words") for line in stack.log("a"))


@pytest.mark.parametrize(
    ("policy", "code", "state", "generation"),
    [
        ("never", 1, "failed", 1),
        ("on-failure", 0, "stopped", 1),
        ("on-failure", 1, "failed", 2),
        ("always", 78, "failed", 1),
    ],
)
def test_the_restart_policy(
    stack: SupervisedStack, policy: str, code: int, state: str, generation: int
) -> None:
    """What ends well is done, what fails is tried again as often as said, 78 never."""
    restart = f"restart: {{policy: {policy}, backoff: {{initial: 10ms}}, max_failures: 2}}"
    stack.write(f"  a: {{command: {hostile('--exit', str(code))}, {NOTIFY}, {restart}}}\n")
    stack.start()
    ended = stack.wait_for("a", lambda child: child["state"] in ("failed", "stopped") and child["last_exit"])
    assert (ended["state"], ended["generation"], ended["last_exit"]["code"]) == (state, generation, code)


@pytest.mark.stack
def test_a_built_in_server_that_ends_unasked_is_started_again(stack: SupervisedStack) -> None:
    """Who sends it SIGTERM past the launcher gets exit code 0, and another one; `stop` still means stop."""
    restart = "restart: {backoff: {initial: 10ms}}"
    stack.write(
        f"  i: {{server: inference, port: auto, gpu: none, options: {{backend: debug}}, {restart}}}\n"
    )
    stack.start()
    os.kill(stack.wait_state("i", "ready")["pid"], signal.SIGTERM)
    again = stack.wait_for("i", lambda child: child["generation"] == 2 and child["state"] == "ready")
    assert (again["last_exit"]["code"], again["restarts"], again["consecutive_failures"]) == (0, 1, 1)
    stack.ask("stop", services=["i"])
    assert stack.wait_state("i", "stopped")["generation"] == 2


def test_always_is_for_ever(stack: SupervisedStack) -> None:
    """What ends well and is always wanted starts again, and that is no failure."""
    restart = "restart: {policy: always, backoff: {initial: 10ms}, max_failures: 2}"
    stack.write(f"  a: {{command: {hostile('--exit', '0')}, {restart}}}\n")
    stack.start()
    again = stack.wait_for("a", lambda child: child["generation"] >= 4)
    assert again["consecutive_failures"] == 0


def test_logs_rotate_within_their_cap(stack: SupervisedStack) -> None:
    """No file is larger than said, and there are no more of them."""
    flood = hostile("--flood", "3000", "--ready")
    stack.write(f"  a: {{command: {flood}, {NOTIFY}, logs: {{max_size: 50KB, backups: 2}}}}\n")
    stack.start()
    stack.wait_state("a", "ready")
    stack.ask("stop", services=["a"])
    stack.wait_state("a", "stopped")
    files = sorted((stack.folder / "logs").glob("a.log*"))
    assert [path.name for path in files] == ["a.log", "a.log.1", "a.log.2"]
    assert all(path.stat().st_size <= 50_000 for path in files)
    assert any(line.endswith("last words") for line in stack.log("a"))


def test_the_limit_on_open_files(stack: SupervisedStack) -> None:
    """The kernel holds the child to it, and a child that has used it up is replaced."""
    limits = "limits: {open_files: 64}, restart: {policy: never}"
    stack.write(f"  a: {{command: {hostile('--ready')}, {NOTIFY}, {limits}}}\n")
    stack.start()
    pid = stack.wait_state("a", "ready")["pid"]
    assert re.search(r"Max open files\s+64\s+64 ", Path(f"/proc/{pid}/limits").read_text())
    stack.write(f"  a: {{command: {hostile('--ready', '--use-up-files')}, {NOTIFY}, {limits}}}\n")
    stack.ask("restart", services=["a"])
    failed = stack.wait_for("a", lambda child: child["generation"] == 2 and child["state"] == "failed")
    assert failed["last_exit"]["reason"] == "open_files_limit"
    assert "has 64 open files" in failed["reason"]


def test_what_is_not_enabled_starts_when_it_is_named(stack: SupervisedStack) -> None:
    """It is known and neither started nor checked, until somebody asks for it."""
    stack.write(f"  a: {{command: {hostile()}}}\n  b: {{command: [no-such-program], enabled: false}}\n")
    stack.start()
    stack.wait_state("a", "ready")
    resting = stack.ask("snapshot")["snapshot"]["services"]["b"]
    assert (resting["desired"], resting["state"], resting["children"][0]["pid"]) == ("down", "stopped", None)
    assert stack.ask("stop", services=["b"])["status"] == "success"
    assert stack.ask("start", services=["b"])["code"] == "E_COMMAND_NOT_FOUND"
    stack.write(f"  a: {{command: {hostile()}}}\n  b: {{command: {hostile()}, enabled: false}}\n")
    assert stack.ask("start", services=["b"])["status"] == "success"
    stack.wait_state("b", "ready")


def test_a_child_that_binds_by_itself_is_probed_where_it_listens(stack: SupervisedStack) -> None:
    """`host` is the address of the probe too; a port that a stranger takes meanwhile is not believed."""
    (port,) = free_ports(1)
    serve = f"command: {hostile('--serve')}, host: 127.0.0.1, port: {port}"
    stack.write(f"  a: {{{serve}, health: {{tcp: true, period: 50ms}}}}\n")
    stack.start()
    child = stack.wait_state("a", "ready")
    assert child["url"] == f"http://127.0.0.1:{port}"
    with socket.create_connection(("127.0.0.1", port)):
        pass
    os.kill(child["pid"], signal.SIGKILL)
    stack.wait_state("a", "ready", generation=2)
