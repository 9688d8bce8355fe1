"""`call --count`: many calls, how their times are spread, and what the server says of its own."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.commands.call_statistics import Measured, percentile, statistics_lines, statistics_report
from tests.launcher.commands.conftest import Run
from tests.launcher.commands.server_double import ServerDouble, failure
from tests.launcher.control_double import ControlDouble, all_ready

TOLD = {"p50": 1.5, "p99": 4.0}


@pytest.fixture
def server(control: ControlDouble) -> Iterator[ServerDouble]:
    """The inference server of the stack, which tells its own times."""
    double = ServerDouble()
    control.document = all_ready()
    control.document["services"]["inference"]["url"] = double.url
    stages = {"queue": TOLD, "tokenize": None, "infer": {"p50": 1.0, "p99": None}, "total": TOLD}
    double.broken["stats"] = {"status": "success", "stats": {"latency_ms": stages}}
    yield double
    double.close()


def test_many_calls_on_one_connection(server: ServerDouble, run: Run) -> None:
    """The request is sent so many times, then the server is asked once for its own times."""
    done = run("call", "inference", "embeddings", "text=x", "--count", "25")
    assert done.code == 0
    assert [request["type"] for request in server.received] == ["embeddings"] * 25 + ["stats"]
    head, names, reply, *stages, remark = done.out.splitlines()
    assert head.startswith("25 calls of inference embeddings one after another: ")
    assert names.split() == ["ms", "min", "mean", "p50", "p90", "p99", "max"]
    figures = list(map(float, reply.split()[1:]))
    assert figures[0] <= figures[2] <= figures[3] <= figures[4] <= figures[5]
    assert [line.split() for line in stages] == [
        ["queue", "-", "-", "1.50", "-", "4.00", "-"],
        ["infer", "-", "-", "1.00", "-", "-", "-"],
        ["total", "-", "-", "1.50", "-", "4.00", "-"],
    ]
    assert "last minute" in remark


def test_what_the_calls_were_spent_on(server: ServerDouble, run: Run) -> None:
    """A server that tells its stages has their spread over these calls in the place of its last minute."""
    server.timing = {"queue_ms": 0.002, "infer_ms": 0.004, "total_ms": 0.01}
    done = run("call", "inference", "embeddings", "text=x", "--count", "5")
    _, _, reply, *stages, remark = done.out.splitlines()
    assert [line.split()[0] for line in stages] == ["queue", "infer", "server", "transport"]
    assert {len(line) for line in stages} == {len(reply)}
    assert "these calls" in remark
    document = json.loads(run("call", "inference", "embeddings", "text=x", "--count", "5", "--json").out)
    assert document["timing_ms"]["infer"] == dict.fromkeys(("min", "mean", "p50", "p90", "p99", "max"), 0.004)
    assert document["timing_ms"]["server"]["max"] == 0.004
    parts = sum(part["mean"] for part in document["timing_ms"].values())
    assert parts == pytest.approx(document["reply_ms"]["mean"], abs=0.005)


def test_refusals_are_counted_by_code(server: ServerDouble, run: Run) -> None:
    """A refused call does not end the run; the exit code is 1."""
    server.broken["embeddings"] = failure("overloaded")
    done = run("call", "inference", "embeddings", "text=x", "--count", "4")
    assert done.code == 1
    assert "4 refused: overloaded" in done.out


def test_the_document(server: ServerDouble, run: Run) -> None:
    """`--json`: the same figures for programs; what the server does not tell is null."""
    document = json.loads(run("call", "inference", "embeddings", "text=x", "--count", "2", "--json").out)
    assert (document["schema"], document["count"], document["errors"]) == ("lucid.call/1", 2, {})
    assert document["server_ms"] == {
        "queue": TOLD,
        "tokenize": None,
        "infer": {"p50": 1.0},
        "total": TOLD,
    }
    assert document["timing_ms"] == {}
    assert document["per_second"] > 0


@pytest.mark.parametrize("stats", [{"status": "success"}, failure("unknown_command"), {"stats": []}])
def test_a_server_that_tells_no_times(server: ServerDouble, run: Run, stats: dict[str, object]) -> None:
    """Only what was measured here is shown."""
    server.broken["stats"] = stats
    done = run("call", "inference", "embeddings", "text=x", "--count", "1")
    assert done.code == 0
    assert len(done.out.splitlines()) == 3
    assert done.out.startswith("1 call of inference")


@pytest.mark.parametrize("count", ["0", "-1", "many"])
def test_a_count_that_is_none(server: ServerDouble, run: Run, count: str) -> None:
    """At least one; nothing is sent."""
    assert run("call", "inference", "stats", "--count", count).code == 2
    assert server.received == []


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 100))
def test_a_percentile_is_one_of_the_values(values: list[float], percent: float) -> None:
    """At least `percent` of the values are no larger, and it is the smallest such value."""
    values.sort()
    found = percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) >= percent / 100 * len(values) - 1e-9
    smaller = [value for value in values if value < found]
    assert not smaller or len(smaller) < percent / 100 * len(values) + 1e-9


def test_a_run_without_time_has_no_rate() -> None:
    """Unknown is null, never 0 or infinite."""
    measured = Measured("a", "stats", 1.0)
    measured.add({"status": "success"}, 2.0)
    assert statistics_report(measured)["per_second"] is None
    assert "/s" not in statistics_lines(measured)[0]
