"""`call` and `selftest` over real WebSockets: what is sent, what is shown, what counts as failure."""

import io
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.commands.selftest_checks import CHECKS
from launcher.commands.server_connection import ServerConnection
from tests.launcher.commands.conftest import Run
from tests.launcher.commands.server_double import ServerDouble, failure
from tests.launcher.control_double import ControlDouble, all_ready, child, service, status

TOKEN = "open-sesame-0123456789"


@pytest.fixture
def server(control: ControlDouble) -> Iterator[ServerDouble]:
    """Both services of the stack answered by one double."""
    double = ServerDouble()
    control.document = all_ready()
    for name in ("memory", "inference"):
        control.document["services"][name]["url"] = double.url
    yield double
    double.close()


@pytest.mark.parametrize(
    ("words", "data"),
    [
        ([], {}),
        (
            ["text=hello", "count=5", "exact=true", 'tags=["a"]'],
            {"text": "hello", "count": 5, "exact": True, "tags": ["a"]},
        ),
        (["text=a=b"], {"text": "a=b"}),
        (['text="5"'], {"text": "5"}),
        (['{"text": "hello", "count": 5}'], {"text": "hello", "count": 5}),
    ],
)
def test_words_become_data(server: ServerDouble, run: Run, words: list[str], data: object) -> None:
    """Values are JSON where they can be, text otherwise; a JSON object is taken whole."""
    assert run("call", "memory", "stats", *words).code == 0
    assert server.received == [{"type": "stats", "data": data, "timing": True}]


def test_data_from_stdin(server: ServerDouble, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` reads the object from stdin."""
    monkeypatch.setattr("sys.stdin", io.StringIO('{"text": "piped"}'))
    run("call", "inference", "embeddings", "-")
    assert [request["data"] for request in server.received] == [{"text": "piped"}]


@pytest.mark.parametrize("words", [["hello"], ["=5"], ["{broken"], ["a=1", "b"]])
def test_words_that_are_no_data(server: ServerDouble, run: Run, words: list[str]) -> None:
    """Anything else is a usage error and nothing is sent."""
    assert run("call", "memory", "stats", *words).code == 2
    assert server.received == []


def test_the_reply_is_data_and_the_times_are_not(server: ServerDouble, run: Run) -> None:
    """The whole reply is JSON on stdout; the time split stands on stderr."""
    done = run("call", "inference", "embeddings", "text=x")
    assert json.loads(done.out)["embeddings"] == [0.6, 0.8, 0, 0, 0, 0, 0, 0]
    assert "connect" in done.err
    assert "reply" in done.err


def test_the_reply_is_split_into_what_it_was_spent_on(server: ServerDouble, run: Run) -> None:
    """The server's stages, the rest of its work, the way there and back; the document holds what it said."""
    server.timing = {"queue_ms": 0.001, "infer_ms": 0.002, "total_ms": 0.004}
    done = run("call", "inference", "embeddings", "text=x", "--json")
    assert json.loads(done.out)["timing"] == server.timing
    assert re.search(
        r"connect \d+\.\d ms · reply \d+\.\d ms = queue 0\.0 \+ infer 0\.0 \+ server 0\.0 \+ transport",
        done.err,
    )


def test_a_server_that_tells_no_times_is_not_split(server: ServerDouble, run: Run) -> None:
    """Nothing is made up for one of another version."""
    done = run("call", "inference", "embeddings", "text=x")
    assert "=" not in done.err


def test_an_error_reply_exits_1(server: ServerDouble, run: Run) -> None:
    """A server's refusal is shown as it came."""
    done = run("call", "memory", "nonsense")
    assert done.code == 1
    assert json.loads(done.out)["code"] == "unknown_command"


def test_a_service_without_address(control: ControlDouble, run: Run) -> None:
    """A command without a port cannot be called."""
    control.document = status(job=service(child("job")))
    done = run("call", "job", "stats")
    assert done.code == 1
    assert "has no address" in done.err


@pytest.mark.parametrize(
    ("last", "reason"),
    [({"state": "stopped"}, "stopped"), ({"state": "failed", "reason": "gave up"}, "failed: gave up")],
)
def test_a_service_that_does_not_run_is_not_waited_for(
    server: ServerDouble, control: ControlDouble, run: Run, last: dict[str, str], reason: str
) -> None:
    """The launcher holds its socket, so that a connection would hang; reason and mend are told."""
    (memory,) = control.document["services"]["memory"]["children"]
    memory.update(last)
    done = run("call", "memory", "stats")
    assert done.code == 1
    assert f"memory does not run: {reason}" in done.err
    assert "lucid-launch start memory" in done.err
    assert server.received == []


def test_one_replica_that_serves_is_enough(server: ServerDouble, control: ControlDouble, run: Run) -> None:
    """The service is asked although another replica has failed; that one alone is refused."""
    shown = control.document["services"]["memory"]
    shown["children"] = [child("memory.0", url=server.url), child("memory.1", state="failed", url=server.url)]
    assert run("call", "memory", "stats").code == 0
    assert run("call", "memory.1", "stats").code == 1


@pytest.mark.parametrize("more", [[], ["--count", "2"]])
def test_a_reply_that_does_not_come_is_a_timeout(server: ServerDouble, run: Run, more: list[str]) -> None:
    """Exit code 124."""
    server.unanswered.add("stats")
    done = run("call", "memory", "stats", "--timeout", "50ms", *more)
    assert done.code == 124
    assert "no reply within 0.05 s" in done.err


def test_a_handshake_that_is_not_answered_is_a_timeout(control: ControlDouble, run: Run) -> None:
    """The limit holds for the connection too, as of a server that starts and does not accept yet."""
    with socket.create_server(("127.0.0.1", 0)) as waiting:
        control.document = all_ready()
        control.document["services"]["memory"]["url"] = f"ws://127.0.0.1:{waiting.getsockname()[1]}"
        done = run("call", "memory", "stats", "--timeout", "50ms")
    assert done.code == 124
    assert "did not answer the handshake" in done.err


def test_a_check_that_takes_too_long_fails(
    server: ServerDouble, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    """The others are still made."""
    monkeypatch.setattr(ServerConnection.ask_raw, "__defaults__", (0.05,))
    monkeypatch.setattr(ServerConnection.ask, "__defaults__", (0.05,))
    server.unanswered.add("store")
    done = run("selftest", "memory")
    assert done.code == 1
    assert "no reply within 0.05 s" in done.out
    assert re.search(r"✓ memory +bad JSON", done.out)


def test_a_closed_port_says_why(control: ControlDouble, server: ServerDouble, run: Run) -> None:
    """A refused connection is one sentence with the address."""
    server.close()
    done = run("call", "memory", "stats")
    assert done.code == 1
    assert server.url in done.err
    assert "Traceback" not in done.err


@pytest.fixture
def guarded(server: ServerDouble, control: ControlDouble, project: Path) -> ServerDouble:
    """The same server behind a token that stands in a file beside config.yaml."""
    server.token = TOKEN
    (project / "token").write_text(f"{TOKEN}\n")
    keys = "server: memory, options: {token_file: token}"
    other = f"server: inference, options: {{token: {TOKEN}}}"
    (project / "config.yaml").write_text(f"services:\n  memory: {{{keys}}}\n  inference: {{{other}}}\n")
    for name in ("memory", "inference"):
        control.document["services"][name]["has_token"] = True
    return server


def test_the_token_opens_the_door_and_is_not_shown(guarded: ServerDouble, run: Run) -> None:
    """`call` and `selftest` read it where the service's settings say, and tell nobody."""
    called = run("call", "memory", "stats")
    tested = run("selftest")
    assert (called.code, tested.code) == (0, 0), called.err + tested.out
    assert TOKEN not in called.out + called.err + tested.out + tested.err


def test_a_token_that_cannot_be_read_is_said(guarded: ServerDouble, run: Run, project: Path) -> None:
    """With the file's name, before anything is sent."""
    (project / "token").unlink()
    outcome = run("call", "memory", "stats")
    assert outcome.code == 1
    assert "the token of memory cannot be read" in outcome.err
    assert guarded.received == []


def test_selftest_passes_and_leaves_nothing(server: ServerDouble, run: Run) -> None:
    """Every check of both servers has a tick and a time, and what was stored is gone."""
    done = run("selftest")
    assert done.code == 0
    lines = done.out.splitlines()
    assert len(lines) == len(CHECKS["memory"]) + len(CHECKS["inference"])
    assert all(line.startswith("✓") and " ms" in line for line in lines)
    assert server.stored == {}


def test_selftest_of_one_service_as_json(server: ServerDouble, run: Run) -> None:
    """The document names every check with its outcome and time."""
    report = json.loads(run("selftest", "--json", "inference").out)
    assert report["schema"] == "lucid.selftest/1"
    assert report["ok"] is True
    assert {check["service"] for check in report["checks"]} == {"inference"}
    assert all(check["ms"] >= 0 for check in report["checks"])


@pytest.mark.parametrize(
    ("kind", "reply", "reason"),
    [
        ("stats", failure("model_loading"), "load-model"),
        ("embeddings", {"status": "success", "embeddings": [3.0], "dimensions": 1}, "length 3"),
        ("embeddings", {"status": "success", "embeddings": [0.6, 0.8], "dimensions": 3}, "dimensions is 3"),
        ("process", {"status": "success", "embeddings": [1.0], "predictions": []}, "predictions"),
        ("retrieve", {"status": "success", "memories": []}, "did not find it"),
        ("delete", failure("not_found"), "not_found"),
        ("selftest-nonsense", {"status": "success"}, "unknown_command"),
    ],
)
def test_selftest_names_what_is_broken(
    server: ServerDouble, run: Run, kind: str, reply: dict[str, object], reason: str
) -> None:
    """A wrong answer fails its check with the reason, and the command with 1."""
    server.broken[kind] = reply
    done = run("selftest")
    assert done.code == 1
    assert any(reason in line for line in done.out.splitlines() if line.startswith("✖"))


def test_selftest_notices_an_open_door(server: ServerDouble, run: Run) -> None:
    """A server that lets a foreign page in fails the check."""
    server.lets_everybody_in = True
    done = run("selftest", "memory")
    assert done.code == 1
    assert "was let in" in done.out


def test_selftest_of_a_service_that_is_not_ready(control: ControlDouble, run: Run) -> None:
    """It fails at once with the state as the reason, without waiting for the socket."""
    done = run("selftest", "memory")
    assert done.code == 1
    assert "starting open-store 62%" in done.out


def test_selftest_without_a_built_in_server(control: ControlDouble, run: Run) -> None:
    """A stack of plain commands has nothing to test, and that is said."""
    control.document = status(job=service(child("job")))
    assert run("selftest").code == 1


def test_one_replica_is_asked_alone(server: ServerDouble, control: ControlDouble, run: Run) -> None:
    """By the name of the child: at its own address, or at its port; who is unknown is answered with names."""
    port = server.url.rpartition(":")[2]
    own = child("inference.0", port=1, url="ws://localhost:1", health={"address": f"127.0.0.1:{port}"})
    other = child("inference.1", port=int(port), url=server.url, health={"address": f"127.0.0.1:{port}"})
    control.document = status(inference=service(own, other, port=1, url="ws://localhost:1"))
    for name in ("inference.0", "inference.1"):
        assert run("call", name, "stats").code == 0
    assert len(server.received) == 2
    done = run("call", "inference.2", "stats")
    assert (done.code, "inference.1" in done.err) == (4, True)
