"""The JSON Schema for editors says what the models say."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from launcher.configuration.models import ServiceKeys
from launcher.configuration.schema import config_schema

SHIPPED = Path(__file__).parents[3] / "docs" / "reference" / "config.schema.json"


def every(schema: Any) -> Iterator[dict[str, Any]]:
    """`schema` and every schema inside it."""
    if isinstance(schema, dict):
        yield schema
        for value in schema.values():
            yield from every(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from every(value)


def test_the_shipped_schema_is_not_stale() -> None:
    """Run `lucid-launch config schema > docs/reference/config.schema.json` when this fails."""
    assert json.loads(SHIPPED.read_text(encoding="utf-8")) == config_schema()


def test_it_has_every_key_with_a_description() -> None:
    """Under the names of the file, none of ours, and no key besides."""
    service = config_schema()["definitions"]["service"]
    names = {info.alias or name for name, info in ServiceKeys.model_fields.items()}
    assert set(service["properties"]) == names
    assert service["additionalProperties"] is False
    assert all(schema.get("description") for schema in service["properties"].values())


def test_it_is_draft_07_as_editors_read_it() -> None:
    """No `$defs`, and nothing beside a `$ref`, which draft-07 ignores."""
    schema = config_schema()
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    for part in every(schema):
        assert "$defs" not in part
        assert "$ref" not in part or list(part) == ["$ref"]
        assert part.get("type") != "null"


def test_numbers_may_come_from_a_variable() -> None:
    """`replicas: ${N:-2}` is no mistake in the editor."""
    replicas = config_schema()["definitions"]["service"]["properties"]["replicas"]
    assert [choice["type"] for choice in replicas["anyOf"]] == ["integer", "string"]


def test_the_environment_takes_any_scalar() -> None:
    """`env: {DEBUG: true, N: 8}` is right: it becomes text."""
    env = config_schema()["definitions"]["service"]["properties"]["env"]
    assert env["additionalProperties"]["type"] == ["string", "number", "boolean"]


def test_restart_has_its_short_form() -> None:
    """A word, or a mapping."""
    restart = config_schema()["definitions"]["service"]["properties"]["restart"]
    words, mapping = restart["anyOf"]
    assert "never" in words["enum"]
    assert "backoff" in mapping["properties"]
