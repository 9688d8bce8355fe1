"""docs/reference/messages.md and asyncapi.json, from the very models that the servers validate requests
with.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from docs.generate.markdown import GENERATED, table
from launcher import __version__
from servers.errors import RequestError
from servers.inference.handlers import Handlers as InferenceHandlers
from servers.memory.handlers import Handlers as MemoryHandlers
from servers.memory.requests import StoreItem
from servers.memory.transfers import Transfers
from servers.memory.upkeep import Upkeep
from servers.service import Command

__all__ = ["commands", "render_asyncapi", "render_page"]

Schema = dict[str, Any]
STAGES = ("queue", "tokenize", "infer", "embed", "search", "commit", "total")
SERVERS = {"memory": "localhost:5000", "inference": "localhost:5005"}
_TEXT: Schema = {"type": "string", "minLength": 1}
# Fields that are read by hand-written validators, which tell pydantic nothing of what they accept.
READ_BY_HAND: Mapping[tuple[str, str], Schema] = {
    ("embeddings", "text"): {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]},
    ("process", "text"): _TEXT,
    ("process", "context"): {
        "type": "array",
        "items": {
            "anyOf": [
                {"type": "string"},
                {"type": "object", "description": "{role, content} or {text, timestamp}"},
            ]
        },
    },
    ("list", "cursor"): {"type": "string", "description": "next_cursor of the page before"},
}


def commands() -> dict[str, list[Command]]:
    """Every command of both servers; only their names, models and handlers are looked at."""
    # Without their makers' arguments: a table of commands needs neither a store nor a model.
    everyday, upkeep = MemoryHandlers.__new__(MemoryHandlers), Upkeep.__new__(Upkeep)
    transfers, inference = Transfers.__new__(Transfers), InferenceHandlers.__new__(InferenceHandlers)
    memory = [*everyday.commands(), *upkeep.commands(), *transfers.commands()]
    return {"memory": memory, "inference": [*inference.commands()]}


def render_page() -> str:
    """The page: a table of fields for every command."""
    parts = [
        "# Messages",
        GENERATED,
        "The `data` of every request, from the models that check it; a field in **bold** is required. `null` is the same as"
        " leaving a field out, unknown fields are ignored. The envelope, the replies and the error codes are in the"
        " [protocol reference](protocol.md); programs find all of this in [asyncapi.json](asyncapi.json).",
    ]
    for server, known in commands().items():
        parts.append(f"## {server.capitalize()} server")
        for command in known:
            parts += [f"### {command.name}", _what(command)]
            rows = list(_rows(data_schema(command)))
            parts.append(table(("field", "type", "default"), rows) if rows else "No data.")
    return "\n\n".join(parts) + "\n"


def _what(command: Command) -> str:
    return " ".join((command.handle.__doc__ or "").split("\n\n")[0].split())


def data_schema(command: Command) -> Schema:
    """The JSON Schema of a command's `data`, without references."""
    if command.name == "store":
        item = _inlined(StoreItem)
        many = {"type": "array", "minItems": 1, "items": item, "description": "many memories, all or nothing"}
        shared = {name: item["properties"][name] for name in ("namespace", "timestamp")}
        batch = {"type": "object", "properties": {"items": many, **shared}, "required": ["items"]}
        return {"anyOf": [item, batch]}
    schema = _inlined(command.request)
    for (name, field), known in READ_BY_HAND.items():
        if name == command.name and field in schema.get("properties", {}):
            about = {key: value for key, value in schema["properties"][field].items() if key == "default"}
            schema["properties"][field] = {**known, **about}
    return schema


def _inlined(model: type[BaseModel]) -> Schema:
    schema = model.model_json_schema()
    resolved = _resolve(schema, schema.get("$defs", {}))
    assert isinstance(resolved, dict)
    return resolved


def _resolve(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """Without references and titles."""
    if isinstance(schema, list):
        return [_resolve(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        return _resolve({**definitions[schema["$ref"].rpartition("/")[2]], **beside}, definitions)
    plain = {
        key: value
        for key, value in schema.items()
        if key not in ("$defs", "title") or isinstance(value, dict)
    }
    return {key: _resolve(value, definitions) for key, value in plain.items() if key != "$defs"}


def _rows(schema: Schema, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """A field a row; those of a nested object follow it with dots."""
    if "anyOf" in schema and "properties" not in schema:
        single, batch = schema["anyOf"]
        yield from _rows(single)
        yield from list(_rows({**batch, "required": []}))[:1]
        return
    required = schema.get("required", [])
    for name, field in schema.get("properties", {}).items():
        shown = f"`{prefix}{name}`"
        default = field.get("default")
        is_nested = bool(field.get("properties"))
        written = "" if default is None or is_nested else f"`{json.dumps(default)}`"
        yield f"**{shown}**" if name in required else shown, type_text(field), written
        if is_nested:
            yield from _rows(field, f"{prefix}{name}.")


def type_text(schema: Schema) -> str:
    """`number 0 to 1`, `list of text (at most 1000)`, …"""
    choices = [each for each in schema.get("anyOf", []) if each != {"type": "null"}]
    if choices:
        return " or ".join(dict.fromkeys(type_text(each) for each in choices))
    if "enum" in schema or "const" in schema:
        return " | ".join(f"`{each}`" for each in schema.get("enum", [schema.get("const")]))
    kind = schema.get("type")
    if kind == "array":
        most = f" (at most {schema['maxItems']:,})" if "maxItems" in schema else ""
        return f"list of {type_text(schema.get('items', {}))}{most}"
    words = {
        "string": "text",
        "object": "object",
        "integer": "integer",
        "number": "number",
        "boolean": "true or false",
    }
    return f"{words.get(str(kind), schema.get('description', 'any'))}{_range(schema)}"


def _range(schema: Schema) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        return f", {least:,} to {most:,}"
    return "" if least is None else f", at least {least:,}"


def render_asyncapi() -> str:
    """The AsyncAPI 3.0 document of both servers."""
    return json.dumps(_asyncapi(), indent=2) + "\n"


def _asyncapi() -> Schema:
    messages: Schema = {"success": {"payload": _SUCCESS}, "failure": {"payload": _failure()}}
    operations: Schema = {}
    channels: Schema = {}
    for server, known in commands().items():
        names = [f"{server}.{command.name}" for command in known]
        channels[server] = {
            "address": "/",
            "servers": [{"$ref": f"#/servers/{server}"}],
            "messages": {
                name: {"$ref": f"#/components/messages/{name}"} for name in [*names, "success", "failure"]
            },
        }
        for command, name in zip(known, names, strict=True):
            messages[name] = {"summary": _what(command), "payload": _request(command)}
            operations[name] = _operation(server, name)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "lucid",
            "version": __version__,
            "description": "JSON over WebSocket, one reply per request.",
        },
        "defaultContentType": "application/json",
        "servers": {name: {"host": host, "protocol": "ws"} for name, host in SERVERS.items()},
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages},
    }


def _operation(server: str, name: str) -> Schema:
    messages = f"#/channels/{server}/messages"
    replies = [{"$ref": f"{messages}/{each}"} for each in ("success", "failure")]
    channel = {"$ref": f"#/channels/{server}"}
    return {
        "action": "receive",
        "channel": channel,
        "messages": [{"$ref": f"{messages}/{name}"}],
        "reply": {"channel": channel, "messages": replies},
    }


def _request(command: Command) -> Schema:
    """The frame of a request; `id`, `timing` and `timeout_ms` are understood by every command."""
    return {
        "type": "object",
        "required": ["type"],
        "properties": {
            "type": {"const": command.name},
            "id": {"description": "echoed, as request_id, message_id and client_id are"},
            "timestamp": {"anyOf": [{"type": "string"}, {"type": "number"}]},
            "timing": {
                "type": "boolean",
                "default": False,
                "description": "whether the reply says where its time went",
            },
            "data": data_schema(command),
        },
    }


_SUCCESS: Schema = {
    "type": "object",
    "required": ["status", "type"],
    "properties": {
        "status": {"const": "success"},
        "type": {"type": "string"},
        "timing": {
            "type": "object",
            "description": "milliseconds by stage (<stage>_ms); only in the reply to a request with `timing: true`",
            "required": ["total_ms"],
            "properties": {f"{stage}_ms": {"type": "number", "minimum": 0} for stage in STAGES},
            "additionalProperties": {"type": "number", "minimum": 0},
        },
    },
    "description": "the payload stands at the top level, beside these",
}


def _failure() -> Schema:
    codes = sorted(
        {each.code for each in _family(RequestError) if each.__module__ == RequestError.__module__}
    )
    return {
        "type": "object",
        "required": ["status", "error", "message", "code"],
        "properties": {
            "status": {"const": "error"},
            "type": {"type": "string"},
            "error": {"type": "string"},
            "message": {"type": "string", "description": "the same text as error"},
            "code": {"enum": codes},
            "retry_after": {"type": "number", "description": "seconds"},
            "details": {"type": "object"},
        },
    }


def _family(base: type[RequestError]) -> Iterator[type[RequestError]]:
    yield base
    for each in base.__subclasses__():
        yield from _family(each)
