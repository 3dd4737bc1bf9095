"""Writes tools into a trace's header and reads them from it."""

from __future__ import annotations

from typing import Any

from agent.models.base import ToolSchema
from tools.declaration import UNDECLARED, Declaration
from tools.registry import builtin_declarations

JSON = dict[str, Any]


def recorded(tool: ToolSchema) -> JSON:
    """A tool in the header's format."""
    schema = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {**schema, "declared": tool.declared.recorded()}


def schemas_in(header: JSON) -> list[ToolSchema]:
    """The tools of the run. Raises KeyError or TypeError if the header is not in this program's format."""
    declared = declared_in(header)
    return [ToolSchema(**{**tool, "declared": declared[tool["name"]]}) for tool in header["tools"]]


def declared_in(header: JSON) -> dict[str, Declaration]:
    """Tool name → declaration, for the part of the header that can be read. In a header without declarations (written
    by an older version) the built-in tools take their current ones."""
    tools = header.get("tools")
    rows = [tool for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    known = builtin_declarations()
    for row in rows:
        if isinstance(row.get("declared"), dict):
            known[str(row.get("name"))] = Declaration.of_recorded(row["declared"])
    return {str(row.get("name")): UNDECLARED for row in rows} | known
