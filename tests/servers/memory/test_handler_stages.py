"""What the commands of the memory server spend their time on, and where they do it."""

import pytest

from servers.scoring_terms import information
from tests.servers.memory.desk import Desk


async def test_the_stages_of_every_kind_of_work_are_noted(desk: Desk) -> None:
    """What is embedded, searched and committed; a vector or a query that is not there takes no time."""
    assert await desk.stages("store", text="tea", id="a") == ["embed_ms", "commit_ms", "total_ms"]
    vector = [1.0] + [0.0] * 383
    assert await desk.stages("store", text="tea too", embedding=vector) == ["commit_ms", "total_ms"]
    assert await desk.stages("retrieve", query="tea") == ["embed_ms", "search_ms", "total_ms"]
    assert await desk.stages("retrieve") == ["search_ms", "total_ms"]
    assert await desk.stages("update", id="a", text="coffee") == ["embed_ms", "commit_ms", "total_ms"]
    for command, data in (
        ("delete", {"id": "a"}),
        ("restore", {"id": "a"}),
        ("forget", {"ids": ["a"]}),
        ("purge", {}),
        ("purge", {"ids": ["a"]}),
    ):
        assert await desk.stages(command, **data) == ["commit_ms", "total_ms"], command
    assert await desk.stages("stats") == ["total_ms"]


@pytest.mark.parametrize(
    "texts", [["short"], ["long " * 2000], [f"one of many {number}" for number in range(20)]]
)
async def test_large_requests_are_scored_as_small_ones_are(texts: list[str], desk: Desk) -> None:
    """Whether the loop or a thread drafts them, every memory gets the significance of its own text."""
    reply = await desk.ask("store", items=[{"text": text, "surprise": 0.5} for text in texts])
    assert [item["significance"] for item in reply["items"]] == [
        pytest.approx(0.3 + 0.4 * information(text)) for text in texts
    ]
