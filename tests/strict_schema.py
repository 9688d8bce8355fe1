"""Holds a document to the shipped schema of its name, and to nothing beyond it."""

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

SCHEMAS = Path(__file__).parents[1] / "docs" / "reference" / "schemas"


def problems(name: str, document: object) -> list[str]:
    """What is wrong with a document by docs/reference/schemas/<name>.1.json; unknown keys count as wrong.

    Readers must ignore unknown keys, but a key that we print and do not describe is a gap in the description.
    """
    schema = json.loads((SCHEMAS / f"{name}.1.json").read_text(encoding="utf-8"))
    validator = Draft202012Validator(_closed(schema))
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


def _closed(schema: Any) -> Any:
    """The schema without room for keys that it does not name."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    is_object = schema.get("type") == "object" and isinstance(schema.get("properties"), dict)
    return {**closed, "additionalProperties": False} if is_object else closed
