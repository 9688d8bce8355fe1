"""docs/reference/config.md, from the models of config.yaml and of the two servers' options."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from docs.generate.markdown import GENERATED, table
from launcher.configuration.schema import config_schema
from servers.inference.settings import InferenceSettings
from servers.memory.settings import MemorySettings
from servers.settings import EmbeddingSettings, ServerSettings

__all__ = ["render"]

INTRODUCTION = """\
One file says what runs. `lucid-launch init` writes a first one, `config check` finds every mistake in it,
`config show`
prints it with every default filled in and where each value came from. Editors that know JSON Schema complete
and
check it while you type: the first line of the file names [the schema](config.schema.json).

```yaml
project: lucid
defaults: {restart: {max_failures: 5}}     # any service key may stand here; a service's own value wins
services:
  memory: {server: memory, port: 5000}     # a built-in server …
  docs: {command: [python3, -m, http.server, "${PORT}"], port: 8000}     # … or any command
```

Durations are written `500ms`, `10s`, `5m`, `1h30m`; sizes `10MB` (decimal) or `2GiB` (binary). `${NAME}` and
`${NAME:-default}` come from the environment, `$$` is a dollar sign. Paths are relative to the file. YAML is
read as 1.2:
only `true` and `false` are booleans (`no` and `on` are words), `12:30` is text, and a key that stands twice
is an error."""

GIVEN = """\
## What a child is given

| | |
|---|---|
| `PORT`, `HOST` | where to listen |
| `LISTEN_FDS`, `LISTEN_FDNAMES`, `LISTEN_PID` | listening sockets that the launcher holds, from descriptor 3
(with `inherit_sockets`), each under the service's name |
| `LUCID_PRIVATE_PORT` | with `port_mode: shared`: the port of one more socket, `NAME.private`, which no sibling has and
on which probes ask; none of the sockets blocks then ([Run several of one service](../how-to/replicas.md)) |
| `NOTIFY_SOCKET` | where `sd_notify` messages go: `READY=1`, `STATUS=…`, `STOPPING=1`, `WATCHDOG=1`,
`EXTEND_TIMEOUT_USEC=…`, `X_LUCID_PHASE=…`, `X_LUCID_PROGRESS=0.62`, `X_LUCID_DEVICE=cuda:0` |
| `CUDA_VISIBLE_DEVICES`, `CUDA_DEVICE_ORDER` | the GPUs by UUID, an empty text for the CPU; `PCI_BUS_ID` |
| `OMP_NUM_THREADS` and kin | from `cpus` |
| `LUCID_SERVICE`, `LUCID_CHILD`, `LUCID_GENERATION` | its names, and how often it has been started |
| `LUCID_OPTIONS`, `LUCID_PEERS`, `LUCID_DEVICE` | its `options` as JSON, the addresses of the other services
as JSON, the device that was planned |

Each child has its own session and process group. `SIGTERM` asks it to stop accepting, to finish what it
accepted within
the grace period, and to exit 0. Exit code 78 means that its configuration is wrong: it is not started again.
Its output goes
to `logs/<child>.log`, one line per line, with time and stream."""


def render() -> str:
    """The page."""
    schema = config_schema()
    service = schema["definitions"]["service"]["properties"]
    parts = [
        "# Configuration reference",
        GENERATED,
        INTRODUCTION,
        "## The file",
        table(("key", "", "default"), _rows(schema["properties"], depth=0)),
        "## A service",
        "The same keys may stand under `defaults`.",
        table(("key", "", "default"), _rows(service)),
        "## Options of both built-in servers",
        "They stand under `options`. A value that is wrong is found by `config check`, with its line.",
        table(("option", "", "default"), _options(ServerSettings, EmbeddingSettings)),
        "## Options of the memory server",
        table(("option", "", "default"), _own_options(MemorySettings)),
        "## Options of the inference server",
        table(("option", "", "default"), _own_options(InferenceSettings)),
        _unwrapped(GIVEN),
    ]
    return "\n\n".join(parts) + "\n"


def _unwrapped(text: str) -> str:
    """`text` with its rows and paragraphs on one line each: a row of a table ends with its line."""
    return re.sub(r"(?<!\n)\n(?![\n|#])", " ", text)


def _rows(properties: Mapping[str, Any], prefix: str = "", depth: int = 3) -> Iterator[tuple[str, str, str]]:
    """Every key with its meaning and default, nested keys with dots; `depth` levels below the first."""
    for name, schema in properties.items():
        default = schema.get("default")
        nested = _nested(schema) if depth else None
        shown = "" if default is None or nested else f"`{_plain(default)}`"
        yield f"`{prefix}{name}`", schema.get("description", ""), shown
        if nested:
            yield from _rows(nested, f"{prefix}{name}.", depth - 1)


def _nested(schema: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The properties of an object; of the long form of a key that has a short one."""
    candidates = [schema, *schema.get("anyOf", [])]
    return next((each["properties"] for each in candidates if each.get("properties")), None)


def _own_options(model: type[BaseModel]) -> Iterator[tuple[str, str, str]]:
    """The options that one server has beyond the shared ones."""
    shared = {*ServerSettings.model_fields, *EmbeddingSettings.model_fields}
    return (row for row in _options(model) if row[0].strip("`") not in shared)


def _options(*models: type[BaseModel]) -> Iterator[tuple[str, str, str]]:
    """Every option of these models with its meaning, limits and default."""
    for model in models:
        properties = model.model_json_schema()["properties"]
        for name, field in model.model_fields.items():
            default = field.get_default(call_default_factory=True, validated_data={})
            shown = "" if default is None else f"`{_plain(default)}`"
            meaning = "; ".join(part for part in (field.description or "", _limits(properties[name])) if part)
            yield f"`{name}`", meaning, shown


def _limits(schema: Mapping[str, Any]) -> str:
    """The range of a number, or the words that are allowed."""
    for each in (schema, *schema.get("anyOf", [])):
        if "enum" in each:
            return " | ".join(map(str, each["enum"]))
        least, most = each.get("minimum", each.get("exclusiveMinimum")), each.get("maximum")
        if least is not None or most is not None:
            return (
                f"{'' if least is None else f'{least:,} '}to {most:,}"
                if most is not None
                else f"at least {least:,}"
            )
    return ""


def _plain(value: Any) -> str:
    """A default as it would be written in the file."""
    if isinstance(value, str):
        return value
    if isinstance(value, tuple | list | dict | bool | int | float):
        return json.dumps(value)
    return str(value)
