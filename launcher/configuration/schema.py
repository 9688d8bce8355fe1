"""The JSON Schema of config.yaml, for editors: draft-07, so that every YAML language server understands it.

Pure. Derived from the models, never written by hand. Cross-checks are not in it: `config check` makes
those.
"""

from typing import Any

from launcher.configuration.models import SERVICE_NAME, ServiceKeys

__all__ = ["config_schema"]

_VARIABLE = {"type": "string", "pattern": r"\$\{.+\}", "description": "${NAME} or ${NAME:-default}"}
_TITLE = "config.yaml of lucid-launch"


def config_schema() -> dict[str, Any]:
    """The schema as a JSON-ready dict; the same on every call."""
    raw = ServiceKeys.model_json_schema(by_alias=True)
    service = _service(_inlined(raw, raw.get("$defs", {})))
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": _TITLE,
        "type": "object",
        "additionalProperties": False,
        "required": ["services"],
        "properties": {
            "project": {"type": "string", "default": "lucid", "description": "The name of the stack."},
            "metrics_port": {
                "anyOf": [{"type": "integer", "minimum": 1, "maximum": 65535}, _VARIABLE],
                "description": "The supervisor's own metrics for Prometheus, on this loopback port.",
            },
            "defaults": {
                "allOf": [{"$ref": "#/definitions/service"}],
                "description": "Any service key may stand here; a service's own value wins.",
            },
            "services": {
                "type": "object",
                "minProperties": 1,
                "propertyNames": {"pattern": f"^{SERVICE_NAME.pattern}$"},
                "additionalProperties": {"$ref": "#/definitions/service"},
                "description": "What runs, by name.",
            },
        },
        "definitions": {"service": service},
    }


def _service(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a service, with the short forms and the rule of one of server and command."""
    restart = schema["properties"]["restart"]
    policy = restart["properties"]["policy"]
    schema["properties"]["restart"] = {
        "description": restart["description"],
        "anyOf": [{"enum": policy.get("enum", policy.get("anyOf", [{}])[0].get("enum"))}, restart],
    }
    needed = schema["properties"]["depends_on"]["additionalProperties"]
    schema["properties"]["depends_on"]["additionalProperties"] = {
        "anyOf": [needed["properties"]["condition"], needed]
    }
    schema["not"] = {"required": ["server", "command"]}
    schema["description"] = "One service: a built-in server, or any command."
    return schema


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """`schema` without references, since draft-07 ignores what stands beside one; titles are left out."""
    if isinstance(schema, list):
        return [_inlined(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        target = definitions[schema["$ref"].rpartition("/")[2]]
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        return _inlined({**target, **beside}, definitions)
    inlined = {
        key: _properties(value, definitions) if key == "properties" else _inlined(value, definitions)
        for key, value in schema.items()
        if key not in ("$defs", "title") and not (key == "default" and value is None)
    }
    return _or_variable(_never_null(inlined))


def _never_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Absent is written by leaving the key out; an empty value is refused."""
    choices = schema.get("anyOf")
    if not isinstance(choices, list) or {"type": "null"} not in choices:
        return schema
    real = [choice for choice in choices if choice != {"type": "null"}]
    beside = {key: value for key, value in schema.items() if key != "anyOf"}
    return {**real[0], **beside} if len(real) == 1 else {**beside, "anyOf": real}


def _properties(properties: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    return {name: _inlined(value, definitions) for name, value in properties.items()}


def _or_variable(schema: dict[str, Any]) -> dict[str, Any]:
    """A value that is no text may also come from a variable."""
    is_fixed = "enum" in schema or "const" in schema
    if schema.get("type") in ("integer", "number", "boolean") or is_fixed:
        about = ("description", "default")
        kept = {key: schema[key] for key in about if key in schema}
        value = {key: schema[key] for key in schema if key not in about}
        return {**kept, "anyOf": [value, _VARIABLE]}
    return schema
