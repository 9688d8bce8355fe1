"""docs/reference/schemas: a JSON Schema for everything that `--json` prints, from the types of those
documents.
"""

from __future__ import annotations

import functools
import json
import operator
from collections.abc import Mapping
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints, is_typeddict

import typing_extensions
from pydantic import TypeAdapter

from docs.generate.markdown import GENERATED, table
from launcher import snapshot
from launcher.terminal import documents

__all__ = ["DOCUMENTS", "render_index", "render_schema", "schema"]

DOCUMENTS: Mapping[str, tuple[Any, str]] = {
    "lucid.status": (snapshot.StatusDocument, "`status --json`, `GET /status` of the control socket"),
    "lucid.up": (documents.UpReport, "`up -d --json`, `up --wait --json`"),
    "lucid.action": (documents.ActionReport, "`start`, `stop`, `restart`, `scale`, `wait`, `down`"),
    "lucid.reload": (documents.ReloadReport, "`reload --json`, `reload --self --json`"),
    "lucid.plan": (documents.PlanReport, "`plan --json`, `up --dry-run --json`"),
    "lucid.doctor": (documents.DoctorReport, "`doctor --json`"),
    "lucid.selftest": (documents.SelftestReport, "`selftest --json`"),
    "lucid.call": (documents.CallReport, "`call --count N --json`"),
    "lucid.config": (documents.ConfigReport, "`config show --json`"),
    "lucid.check": (documents.CheckReport, "`config check --json`"),
    "lucid.init": (documents.InitReport, "`init --json`"),
    "lucid.log": (documents.LogRecord, "`logs --json`, an object a line"),
    "lucid.event": (snapshot.EventDocument, "`events --json`, an object a line"),
    "lucid.error": (documents.ErrorReport, "any verb with `--json` that failed"),
}


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of one document."""
    shape, where = DOCUMENTS[name]
    made = TypeAdapter(_readable(shape)).json_schema()
    about = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"{name}.1.json"}
    return {**about, **made, "title": f"{name}/1", "$comment": where.replace("`", "")}


def _readable(shape: Any) -> Any:
    """The type with its TypedDicts as pydantic wants them before Python 3.12: those of typing_extensions."""
    if is_typeddict(shape):
        fields = {name: _readable(each) for name, each in get_type_hints(shape).items()}
        made = typing_extensions.TypedDict(shape.__name__, fields)  # type: ignore[misc]  # a type made of data
        made.__doc__ = shape.__doc__
        return made
    origin, arguments = get_origin(shape), get_args(shape)
    if origin is None or origin is Literal:
        return shape
    readable = tuple(_readable(each) for each in arguments)
    return functools.reduce(operator.or_, readable) if origin is UnionType else origin[readable]


def render_schema(name: str) -> str:
    """The file of one schema."""
    return json.dumps(schema(name), ensure_ascii=False, indent=2) + "\n"


def render_index() -> str:
    """The page that lists them."""
    rows = [(f"[`{name}/1`]({name}.1.json)", where) for name, (_, where) in DOCUMENTS.items()]
    parts = [
        "# JSON documents",
        GENERATED,
        "What `--json` prints, as JSON Schema (2020-12). Documents carry their schema's name; lines of streams do not. Keys"
        " are only ever added, so read what you know and ignore the rest. What is unknown is `null`, never 0.",
        table(("schema", "printed by"), rows),
        "The schema of the file is [config.schema.json](../config.schema.json).",
    ]
    return "\n\n".join(parts) + "\n"
