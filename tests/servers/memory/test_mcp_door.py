"""The MCP door with the SDK's own client, in both eras of the protocol, over a real socket."""

import asyncio
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from servers.memory.assembly import build_service
from servers.memory.settings import MemorySettings
from tests.servers.conftest import Running, Serve

mcp = pytest.importorskip("mcp", reason="the extra `mcp` is not installed")

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
TOOLS = "servers.memory.mcp_tools"
READING = {"search_memory", "list_memories", "get_memory"}
HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}


async def start(serve: Serve, folder: Path, option: bool | None = True, **options: Any) -> Running:
    """A memory server, ready; with the door unless the option says otherwise."""
    settings = MemorySettings(backend="debug", path=folder, mcp=option)
    running = await serve(build_service(settings), **options)
    await wait_until_ready(running)
    return running


async def wait_until_ready(running: Running) -> None:
    """Return as soon as the service says that it is ready."""

    readiness = running.service.readiness
    changed = asyncio.Event()
    loop = asyncio.get_running_loop()
    readiness.subscribe(lambda _: loop.call_soon_threadsafe(changed.set))
    while not readiness.is_ready:
        await changed.wait()
        changed.clear()


@pytest.fixture
async def running(serve: Serve, tmp_path: Path) -> Running:
    """A memory server with the door and nothing in it."""
    return await start(serve, tmp_path / "data")


@pytest.fixture(params=["legacy", "auto"])
def connect(request: pytest.FixtureRequest, running: Running) -> Callable[[], Any]:
    """Makes the SDK's client: with the handshake of the older versions, and without."""
    return lambda: mcp.Client(f"{running.http}/mcp", mode=request.param)


async def call(client: Any, tool: str, **arguments: Any) -> dict[str, Any]:
    """The object that a tool answers."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    found: dict[str, Any] = result.structured_content
    return found


async def test_the_tools_are_those_of_the_contract(connect: Callable[[], Any]) -> None:
    """Five tools, their hints true, every one answering an object."""
    async with connect() as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == {"add_memory", "search_memory", "list_memories", "get_memory", "delete_memory"}
        for name, tool in tools.items():
            assert tool.description
            assert tool.annotations.read_only_hint == (
                name in {"search_memory", "list_memories", "get_memory"}
            )
            assert bool(tool.annotations.destructive_hint) == (name == "delete_memory")
            assert tool.output_schema["type"] == "object"
        assert tools["search_memory"].input_schema["required"] == ["query"]


async def test_a_memory_goes_in_is_found_and_goes(connect: Callable[[], Any]) -> None:
    """Add, search, read, list, delete: what a WebSocket client sees too."""
    async with connect() as client:
        added = await call(client, "add_memory", text="Ana prefers tea", metadata={"type": "fact"})
        found = await call(client, "search_memory", query="Ana prefers tea", limit=1)
        (memory,) = found["memories"]
        assert (memory["id"], memory["text"], found["total"]) == (added["id"], "Ana prefers tea", 1)
        assert (await call(client, "get_memory", id=added["id"]))["type"] == "fact"
        await call(client, "add_memory", text="a second one")
        page = await call(client, "list_memories", limit=1)
        assert [item["text"] for item in page["memories"]] == ["a second one"]
        rest = await call(client, "list_memories", limit=1000, cursor=page["next_cursor"])
        assert [item["id"] for item in rest["memories"]] == [added["id"]]
        gone = await call(client, "delete_memory", ids=[added["id"], "zzz"])
        assert (gone["deleted"], gone["missing"]) == (1, ["zzz"])
        assert (await call(client, "search_memory", query="tea"))["total"] == 1


@pytest.mark.parametrize(
    ("tool", "arguments", "told"),
    [
        ("get_memory", {"id": "zzz"}, "There is no such memory"),
        ("add_memory", {"text": "   "}, "must not be empty"),
        ("add_memory", {"text": "a", "metadata": {"tags": 7}}, "tags must be a list"),
        ("list_memories", {"cursor": "nonsense"}, "next_cursor"),
        ("search_memory", {"query": "x", "limit": 0}, "limit"),
        ("list_memories", {"limit": 1001}, "limit"),
        ("add_memory", {}, "text"),
    ],
)
async def test_failures_are_tool_errors_with_the_hint(
    connect: Callable[[], Any], tool: str, arguments: dict[str, Any], told: str
) -> None:
    """The model reads what is wrong; the connection goes on."""
    async with connect() as client:
        result = await client.call_tool(tool, arguments)
        assert result.is_error
        assert told in result.content[0].text
        assert (await call(client, "list_memories"))["count"] == 0


async def test_a_restart_of_the_server_breaks_no_client(serve: Serve, tmp_path: Path) -> None:
    """There are no sessions to lose: the same client goes on with the next process."""
    first = await start(serve, tmp_path / "data")
    async with mcp.Client(f"{first.http}/mcp", mode="legacy") as client:
        await call(client, "add_memory", text="before")
        first.process.stop()
        assert await first.task == 0
        settings = MemorySettings(backend="debug", path=tmp_path / "data", mcp=True)
        second = await serve(build_service(settings), port=first.port)
        await wait_until_ready(second)
        assert second.port == first.port
        assert (await call(client, "search_memory", query="before"))["total"] == 1


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://localhost:3000"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"host": "evil.example"}, 421),
    ],
)
async def test_origin_and_host_are_judged_as_on_every_door(
    running: Running, headers: dict[str, str], status: int
) -> None:
    """A foreign page and a rebound name are refused before the SDK sees anything."""
    async with httpx.AsyncClient() as http:
        reply = await http.post(f"{running.http}/mcp", json=INITIALIZE, headers={**HEADERS, **headers})
    assert reply.status_code == status


async def test_a_token_is_required_where_one_is_set(serve: Serve, tmp_path: Path) -> None:
    """Without it 401, with it the answer."""
    running = await start(serve, tmp_path / "data", token="a-good-token")
    async with httpx.AsyncClient() as http:
        url = f"{running.http}/mcp"
        assert (await http.post(url, json=INITIALIZE, headers=HEADERS)).status_code == 401
        allowed = {**HEADERS, "authorization": "Bearer a-good-token"}
        assert (await http.post(url, json=INITIALIZE, headers=allowed)).status_code == 200


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_there_is_nothing_to_stream_or_to_end(running: Running, method: str) -> None:
    """Without sessions the protocol asks for 405 on both."""
    async with httpx.AsyncClient() as http:
        reply = await http.request(method, f"{running.http}/mcp", headers={"accept": "text/event-stream"})
    assert reply.status_code == 405


@pytest.mark.parametrize(("option", "has_sdk"), [(False, True), (None, False)])
async def test_there_is_no_door_where_it_is_shut_or_cannot_open(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: bool | None, has_sdk: bool
) -> None:
    """A link is shown to nothing that is not there."""
    monkeypatch.setattr("servers.memory.settings.find_spec", lambda name: object() if has_sdk else None)
    running = await start(serve, tmp_path / "data", option)
    async with httpx.AsyncClient() as http:
        assert (await http.post(f"{running.http}/mcp", json=INITIALIZE, headers=HEADERS)).status_code == 404
        assert "/mcp" not in (await http.get(running.http)).json()["links"]


async def test_without_the_option_the_door_opens_for_its_first_clients(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK costs a second: who does not ask for it does not pay, and it is paid once."""
    imported: list[str] = []
    load = importlib.import_module

    def noted(name: str) -> object:
        imported.append(name)
        return load(name)

    monkeypatch.setattr("servers.memory.mcp_door.importlib.import_module", noted)
    running = await start(serve, tmp_path / "data", None)
    async with httpx.AsyncClient() as http:
        assert (await http.get(running.http)).json()["links"]["/mcp"] == "/mcp"
        assert TOOLS not in imported
        asked = [http.post(f"{running.http}/mcp", json=INITIALIZE, headers=HEADERS) for _ in range(3)]
        assert [reply.status_code for reply in await asyncio.gather(*asked)] == [200, 200, 200]
    assert imported.count(TOOLS) == 1


async def test_an_sdk_that_cannot_be_imported_fails_its_own_requests_only(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one of another version: an incident each, and the server goes on and stops as ever."""

    load = importlib.import_module

    def refuse(name: str) -> object:
        if name == TOOLS:
            raise ImportError(name)
        return load(name)

    monkeypatch.setattr("servers.memory.mcp_door.importlib.import_module", refuse)
    running = await start(serve, tmp_path / "data", None)
    async with httpx.AsyncClient() as http:
        for _ in range(2):
            reply = await http.post(f"{running.http}/mcp", json=INITIALIZE, headers=HEADERS)
            assert (reply.status_code, reply.json()["code"]) == (500, "internal")
        assert (await http.get(f"{running.http}/readyz")).status_code == 200
    running.process.stop()
    assert await running.task == 0
