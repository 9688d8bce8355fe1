"""The last lines of a server's log, as its page gets them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import httpx
import pytest
from websockets.asyncio.client import connect

from servers.recent_lines import MOST_CHARACTERS, MOST_LINES, RecentLines
from tests.servers.conftest import Serve
from tests.servers.probe_server import build_service


@pytest.fixture
def heard() -> Iterator[tuple[logging.Logger, RecentLines]]:
    """A logger of its own and what is kept of it."""
    logger, lines = logging.getLogger("tests.recent_lines"), RecentLines()
    logger.addHandler(lines)
    logger.propagate = False
    yield logger, lines
    logger.removeHandler(lines)


def test_only_the_newest_lines_are_kept_and_have_numbers(heard: tuple[logging.Logger, RecentLines]) -> None:
    """Whoever knows the number of the last line it has gets the ones after it."""
    logger, lines = heard
    for number in range(1, MOST_LINES + 4):
        logger.warning("line %d", number)
    kept = lines.after(0)
    assert [kept[0]["number"], kept[-1]["number"], len(kept)] == [4, MOST_LINES + 3, MOST_LINES]
    assert [line["text"] for line in lines.after(MOST_LINES + 1)] == [
        f"line {MOST_LINES + 2}",
        f"line {MOST_LINES + 3}",
    ]


def test_a_line_has_level_logger_and_traceback_and_is_not_endless(
    heard: tuple[logging.Logger, RecentLines],
) -> None:
    """What a person needs to find the cause, within bounds."""
    logger, lines = heard
    try:
        raise ValueError("the cause")
    except ValueError:
        logger.exception("it failed")
    logger.warning("x" * (MOST_CHARACTERS + 1))
    failed, long = lines.after(0)
    assert (failed["level"], failed["logger"]) == ("ERROR", "tests.recent_lines")
    assert failed["text"].startswith("it failed\nTraceback")
    assert "ValueError: the cause" in failed["text"]
    assert long["text"] == "x" * MOST_CHARACTERS + "…"


def test_a_record_that_cannot_be_formatted_is_not_kept(capsys: pytest.CaptureFixture[str]) -> None:
    """It is reported as logging does, and breaks nothing."""
    lines = RecentLines()
    lines.handle(logging.LogRecord("tests", logging.WARNING, __file__, 1, "%d", ("no number",), None))
    assert lines.after(0) == []
    assert "Logging error" in capsys.readouterr().err


async def test_the_page_gets_the_lines_after_the_one_it_has(serve: Serve) -> None:
    """An incident is there with its traceback; a number that is none is refused."""
    service = build_service()
    lines = service.telemetry.lines
    root = logging.getLogger()
    root.addHandler(lines)
    try:
        running = await serve(service)
        async with (
            connect(running.ws, proxy=None) as socket,
            httpx.AsyncClient(base_url=running.http) as client,
        ):
            await socket.send(json.dumps({"type": "crash"}))
            reply = json.loads(await socket.recv())
            told = (await client.get("/console/lines")).json()
            last = told["lines"][-1]["number"]
            later = (await client.get("/console/lines", params={"after": str(last)})).json()
            refused = await client.get("/console/lines", params={"after": "-1"})
    finally:
        root.removeHandler(lines)
    incident = reply["details"]["incident"]
    assert any(incident in line["text"] and "ZeroDivisionError" in line["text"] for line in told["lines"])
    assert later["lines"] == []
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request")
