"""What the memory server tells Prometheus about its commits."""

from prometheus_client import CollectorRegistry

from servers.memory.metrics import CommitMetrics
from tests.servers.memory.desk import Desk


async def test_commits_are_measured(desk: Desk) -> None:
    """Every commit counts its rows, and nothing waits once all is answered."""
    await desk.ask("store", items=[{"text": "a"}, {"text": "b"}])
    await desk.ask("store", text="c")
    read = desk.telemetry.registry.get_sample_value
    assert read("lucid_store_commit_rows_sum") == 3
    assert read("lucid_store_commit_duration_seconds_count") == 2
    assert read("lucid_store_waiting_rows") == 0


def test_what_waits_is_read_when_asked() -> None:
    """The gauge follows the queue, not the last report."""
    registry = CollectorRegistry()
    waiting = [5]
    CommitMetrics(registry).watch(lambda: waiting[0])
    waiting[0] = 7
    assert registry.get_sample_value("lucid_store_waiting_rows") == 7
