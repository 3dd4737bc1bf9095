"""The tools of a recorded run, as its trace's header has them."""

from __future__ import annotations

from typing import Any

from agent.models.base import ToolSchema
from tools.declaration import UNDECLARED, Declaration
from tools.registry import builtin_declarations

JSON = dict[str, Any]


def recorded(tool: ToolSchema) -> JSON:
    """A tool as a header keeps it."""
    shown = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {**shown, "declared": tool.declared.recorded()}


def schemas_in(header: JSON) -> list[ToolSchema]:
    """The tools of the run. Raises KeyError or TypeError if the header is not one that this program writes."""
    declared = declared_in(header)
    return [ToolSchema(**{**tool, "declared": declared[tool["name"]]}) for tool in header["tools"]]


def declared_in(header: JSON) -> dict[str, Declaration]:
    """Tool name to what the tool declares, for whatever of the header can be read. A header of before tools declared
    anything names built-in tools only."""
    tools = header.get("tools")
    rows = [tool for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    known = builtin_declarations()
    for row in rows:
        if isinstance(row.get("declared"), dict):
            known[str(row.get("name"))] = Declaration.of_recorded(row["declared"])
    return {str(row.get("name")): UNDECLARED for row in rows} | known
