"""The tools of the MCP door: what an assistant may do with the memories (protocol.md section 7).

It decides names, arguments, hints and texts of the tools, and turns failures into tool errors that say what
to do. It does not know HTTP; the commands behind it are those of the wire. Imported only when the door is
enabled, since the SDK costs a second and is an extra.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Final

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field

from servers.errors import InternalError, RequestError

Ask = Callable[[str, Mapping[str, Any]], Awaitable[dict[str, Any]]]
"""Answers a command with its data; raises RequestError."""

INSTRUCTIONS: Final = (
    "A durable memory on the user's own machine. Search it before you say that you do not know something "
    "about the user or earlier work; add what is worth remembering in one self-contained sentence."
)
MOST: Final = 1000
"""Memories in one answer, as in `retrieve`; less by default, since what a model reads costs it context."""

_READS: Final = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_ADDS: Final = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
)
_DELETES: Final = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
)

Limit = Annotated[int, Field(ge=1, le=MOST, description=f"how many at most, 1 to {MOST}")]
Share = Annotated[float, Field(ge=0, le=1)]


def build_mcp_server(ask: Ask, version: str) -> MCPServer:
    """Return the SDK's server with the five tools over `ask`."""
    server = MCPServer("lucid-memory", version=version, instructions=INSTRUCTIONS, subscriptions=False)
    tools = Tools(ask)
    server.add_tool(tools.add_memory, annotations=_ADDS)
    server.add_tool(tools.search_memory, annotations=_READS)
    server.add_tool(tools.list_memories, annotations=_READS)
    server.add_tool(tools.get_memory, annotations=_READS)
    server.add_tool(tools.delete_memory, annotations=_DELETES)
    return server


class Tools:
    """The tools; their docstrings are what the model is told about them."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    async def add_memory(
        self,
        text: Annotated[str, Field(description="one self-contained statement")],
        metadata: Annotated[
            dict[str, Any] | None, Field(description="any JSON; type and tags (a list) can be filtered by")
        ] = None,
    ) -> dict[str, Any]:
        """Store a memory. Answers its id, how significant and new it is, and what it repeats, if it does."""
        stored = await self._run("store", {"text": text, "metadata": metadata or {}})
        return {key: value for key, value in stored.items() if key not in ("stats", "memory_id")}

    async def search_memory(
        self,
        query: Annotated[str, Field(description="what to look for, in plain words")],
        limit: Limit = 10,
        min_significance: Annotated[Share, Field(description="leave out what matters less")] = 0.0,
    ) -> dict[str, Any]:
        """Find the memories that fit a query best, by meaning, significance and recency."""
        data = {"query": query, "count": limit, "min_significance": min_significance, "include": ["score"]}
        found = await self._run("retrieve", data)
        return {key: found[key] for key in ("memories", "count", "total")}

    async def list_memories(
        self,
        limit: Limit = 20,
        cursor: Annotated[str | None, Field(description="next_cursor of the page before")] = None,
    ) -> dict[str, Any]:
        """List all memories, newest first, page by page."""
        page = await self._run("list", {"limit": limit, "cursor": cursor})
        return {key: page[key] for key in ("memories", "count", "next_cursor")}

    async def get_memory(self, id: Annotated[str, Field(description="the id of a memory")]) -> dict[str, Any]:
        """Read one memory by its id."""
        found = await self._run("get", {"id": id})
        memory: dict[str, Any] = found["memory"]
        return memory

    async def delete_memory(
        self,
        ids: Annotated[list[str], Field(min_length=1, max_length=1000, description="ids of memories")],
    ) -> dict[str, Any]:
        """Delete memories by id. The user can bring them back for some days with `restore`."""
        gone = await self._run("delete", {"ids": ids})
        return {key: gone[key] for key in ("deleted", "ids", "missing")}

    async def _run(self, command: str, data: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return await self._ask(command, data)
        except InternalError:
            raise
        except RequestError as error:
            wait = "" if error.retry_after is None else f" Try again in {error.retry_after:.0f} s."
            raise ToolError(f"{error.text}{wait}") from error
