"""The SDK's client, through `lucid-launch mcp` as a real process, to a real memory server."""

import sys
from pathlib import Path

import pytest

from servers.memory.assembly import build_service
from servers.memory.settings import MemorySettings
from tests.servers.conftest import Serve
from tests.servers.memory.test_mcp_door import call, wait_until_ready

mcp = pytest.importorskip("mcp", reason="the extra `mcp` is not installed")
ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_client_that_starts_commands_reaches_the_memories(
    serve: Serve, tmp_path: Path, mode: str
) -> None:
    """Both eras of the protocol pass the bridge: tools are listed, memories stored and found."""
    from mcp.client.stdio import StdioServerParameters, stdio_client

    running = await serve(build_service(MemorySettings(backend="debug", path=tmp_path / "data", mcp=True)))
    await wait_until_ready(running)
    bridge = StdioServerParameters(
        command=sys.executable, args=["-m", "launcher", "mcp", "--url", f"{running.http}/mcp"], cwd=ROOT
    )
    async with mcp.Client(stdio_client(bridge), mode=mode) as client:
        assert len((await client.list_tools()).tools) == 5
        await call(client, "add_memory", text="through the bridge")
        assert (await call(client, "search_memory", query="through the bridge"))["total"] == 1
        assert (await client.call_tool("get_memory", {"id": "zzz"})).is_error
