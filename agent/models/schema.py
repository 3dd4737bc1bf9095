"""A pydantic JSON schema as the OpenAI protocol's strict mode takes it.

Strict mode (platform.openai.com/docs/guides/structured-outputs, "Supported schemas") wants every object closed, every
property required, ``anyOf`` for unions, and knows no ``default``, ``const``, ``discriminator`` or length of a string
(which goes into the description). References are put in place of their names, because some servers do not follow them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

DROPPED = frozenset({"title", "default", "discriminator", "$defs", "examples", "minLength", "maxLength"})


def closed_schema(schema: dict[str, Any], strict: bool = True) -> dict[str, Any]:
    """`schema` without references, with every object closed. Every property is required, as strict mode wants it, or,
    unless `strict`, those without a default."""
    definitions = schema.get("$defs", {})

    def close(node: Any) -> Any:
        if isinstance(node, list):
            return [close(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            target = definitions[str(node["$ref"]).removeprefix("#/$defs/")]
            return close({**target, **{key: value for key, value in node.items() if key != "$ref"}})
        closed: dict[str, Any] = {}
        for key, value in node.items():
            if key == "properties":
                closed[key] = {name: close(item) for name, item in value.items()}
            elif key == "const":
                closed["enum"] = [value]
            elif key == "oneOf":
                closed["anyOf"] = close(value)
            elif key in ("enum", "required"):
                closed[key] = value
            elif key not in DROPPED:
                closed[key] = close(value)
        if "maxLength" in node:
            bounds = f"({node.get('minLength', 0)} to {node['maxLength']} characters)"
            closed["description"] = f"{node.get('description', '')} {bounds}".strip()
        if node.get("type") == "object" or "properties" in node:
            closed.setdefault("type", "object")
            closed.setdefault("properties", {})
            closed["required"] = list(closed["properties"] if strict else node.get("required", ()))
            closed["additionalProperties"] = False
        return closed

    result: dict[str, Any] = close(schema)
    return result


def restrict_values(schema: dict[str, Any], values: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """`schema`, in which every config (an object with all the fields of `values`) allows only these values of each
    field: those that occur in this problem's space."""

    def restrict(node: Any) -> Any:
        if isinstance(node, list):
            return [restrict(item) for item in node]
        if not isinstance(node, dict):
            return node
        properties = node.get("properties")
        if values and isinstance(properties, dict) and set(properties) == set(values):
            return {**node, "properties": {name: narrowed(properties[name], values[name]) for name in properties}}
        return {key: restrict(value) for key, value in node.items()}

    result: dict[str, Any] = restrict(schema)
    return result


def narrowed(field: dict[str, Any], values: Sequence[Any]) -> dict[str, Any]:
    """A config field's schema with only `values`; one that is no plain enumeration stays as it is."""
    if "enum" not in field and ("type" not in field or "maxLength" in field):  # a text that is not enumerated
        return field
    kept = {key: value for key, value in field.items() if key in ("type", "description")}
    return kept | {"enum": list(values)}
