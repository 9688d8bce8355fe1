"""`status`: the table, the reasons under it, JSON, and the exit codes of launcher.md section 3."""

import json

import pytest

from tests.launcher.commands.conftest import Run
from tests.launcher.control_double import (
    ControlDouble,
    Document,
    all_ready,
    child,
    crash_looping,
    service,
    status,
    two_services,
)

pytestmark = pytest.mark.usefixtures("control")


def test_the_table_shows_state_address_and_load(control: ControlDouble, run: Run) -> None:
    """Every figure of a ready service stands in its row; what is unknown is a dash."""
    done = run("status")
    lines = {line.split()[0]: line for line in done.out.splitlines()[:3]}
    for text in (
        "● ready",
        "3h11m",
        "localhost:5005",
        "83",
        "1.3G",
        "2.1G",
        "533",
        "1.8 / 6.2",
        "3/512",
        "0.4s",
    ):
        assert text in lines["inference"]
    assert "◐ starting open-store 62%" in lines["memory"]
    assert lines["memory"].split()[-1] == "-"


def test_a_crash_loop_shows_reason_and_last_words(control: ControlDouble, run: Run) -> None:
    """A service in backoff is never shown as running: countdown, exit code and stderr are there, exit 1."""
    control.document = crash_looping()
    done = run("status")
    assert done.code == 1
    assert "↻ backoff, 8 s" in done.out
    assert "exited 1 after 4s" in done.out
    assert "│ sqlite3.OperationalError: database is locked" in done.out
    assert "lucid-launch logs memory" in done.out


def test_escape_codes_of_a_child_never_reach_the_terminal(control: ControlDouble, run: Run) -> None:
    """Even with colour forced the child's own escape codes are gone."""
    control.document = crash_looping()
    assert "\x1b[31mlocked" not in run("--color", "always", "status").out


def test_json_is_the_exact_document(control: ControlDouble, run: Run) -> None:
    """`--json` prints what the supervisor said, nothing added or lost."""
    assert json.loads(run("status", "--json").out) == two_services()


def test_json_of_one_service(control: ControlDouble, run: Run) -> None:
    """With names the document holds only those services."""
    control.document = all_ready()
    done = run("status", "--json", "memory")
    assert list(json.loads(done.out)["services"]) == ["memory"]
    assert done.code == 0


def _with_state(state: str, desired: str = "up") -> Document:
    return status(one=service(child("one", state), desired=desired))


@pytest.mark.parametrize(
    ("document", "argv", "code"),
    [
        (all_ready(), [], 0),
        (two_services(), [], 1),
        (crash_looping(), [], 1),
        (_with_state("unhealthy"), [], 1),
        (_with_state("failed"), [], 1),
        (_with_state("failed", "down"), [], 1),
        (_with_state("stopped", "down"), [], 0),
        (_with_state("stopped", "down"), ["one"], 3),
        (two_services(), ["inference"], 0),
    ],
)
def test_exit_codes(control: ControlDouble, run: Run, document: Document, argv: list[str], code: int) -> None:
    """0 when every wanted service is ready, 1 when one is not, 3 for a named one that is stopped."""
    control.document = document
    assert run("status", *argv).code == code


def test_an_unknown_service_is_suggested(control: ControlDouble, run: Run) -> None:
    """A misspelt service exits 4 with the name that was meant."""
    done = run("status", "inferense")
    assert done.code == 4
    assert "did you mean 'inference'?" in done.err


def test_no_escape_codes_without_a_terminal(control: ControlDouble, run: Run) -> None:
    """Captured output holds no ESC byte, whatever the states are."""
    control.document = crash_looping()
    done = run("status")
    assert "\x1b" not in done.out + done.err


def test_a_fallback_port_and_the_cpu_are_loud(control: ControlDouble, run: Run) -> None:
    """A port that is not the first choice is marked in the row and told below the table."""
    document = all_ready()
    document["services"]["inference"].update(
        fallback_port=True, port=5006, url="ws://localhost:5006", notes=["no GPU found, running on CPU"]
    )
    control.document = document
    out = run("status").out
    assert "localhost:5006!" in out
    assert "● ready on CPU" in out
    assert "inference listens on 5006, not on the first port of its range" in out


def test_alias_ps(control: ControlDouble, run: Run) -> None:
    """`ps` prints what `status` prints."""
    assert run("ps").out == run("status").out


def test_watch_draws_every_snapshot_until_the_stack_ends(control: ControlDouble, run: Run) -> None:
    """`--watch` prints each published picture and returns with the exit code of the last one."""
    import threading

    def publish() -> None:
        control.wait_for_command("subscribe")
        control.publish(all_ready())
        control.drop_clients()

    publisher = threading.Thread(target=publish)
    publisher.start()
    done = run("status", "--watch", "--json")
    publisher.join()
    decoder = json.JSONDecoder()
    first, end = decoder.raw_decode(done.out)
    second, _ = decoder.raw_decode(done.out[end:].lstrip())
    assert (first, second) == (two_services(), all_ready())
    assert done.code == 0


def test_who_shares_a_port_is_told_apart(control: ControlDouble, run: Run) -> None:
    """Under the table: where each replica can be asked alone; nothing of services with a port each."""
    children = [
        child(f"inference.{n}", port=5005, health={"address": f"127.0.0.1:4000{n}"}) for n in range(2)
    ]
    alone = child("memory", port=5000, health={"address": "127.0.0.1:5000"})
    control.document = status(memory=service(alone, port=5000), inference=service(*children, port=5005))
    shown = run("status").out
    told = "port 5005 is shared; alone, inference.0 at 127.0.0.1:40000, inference.1 at 127.0.0.1:40001"
    assert f"inference: {told}" in " ".join(shown.split())
    assert "port 5000 is shared" not in shown
    assert "is shared" not in run("status", "memory").out
