"""The tools a model may call: name, one-line description, argument model, function. One list, one order."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from kernels.spec import KernelSpec
from tools.session.session import Session

NAMES = (
    "query_history",
    "suggest_configs",
    "compile_kernel",
    "check_correctness",
    "run_benchmark",
    "roofline_report",
    "record_lesson",
)
"""Order is part of the prompt: keep it stable, so that prompt caches hold."""


@dataclass(frozen=True)
class Tool:
    """A tool bound to a session's kernel: its arguments are a closed model of that kernel's config."""

    name: str
    description: str
    arguments: type[BaseModel]
    function: Callable[[Session, Any, str], dict[str, Any]]

    def call(self, session: Session, arguments: dict[str, Any], call_id: str) -> dict[str, Any]:
        """Validate and run. Wrong arguments are an answer with ``error``, not an exception."""
        try:
            parsed = self.arguments.model_validate(arguments)
        except ValidationError as e:
            return {"error": "arguments", "tool": self.name, "problems": explain(e)}
        return self.function(session, parsed, call_id)


def tools_for(session: Session) -> dict[str, Tool]:
    """Every tool by name, for the session's kernel."""
    return tools_of(session.task.spec)


def tools_of(spec: KernelSpec[Any, Any]) -> dict[str, Tool]:
    """Every tool by name. Each module ``tools/NAME.py`` has ``arguments(spec) -> model`` and ``run(session, args,
    call_id) -> dict``, and its module docstring's first line is the description."""
    found = {}
    for name in NAMES:
        module = importlib.import_module(f"tools.{name}")
        summary = (module.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
        found[name] = Tool(name, summary, module.arguments(spec), module.run)
    return found


def explain(error: ValidationError, limit: int = 5) -> list[str]:
    """A validation error as short sentences: where, what is wrong."""
    lines = [f"{'.'.join(map(str, e['loc'])) or 'arguments'}: {e['msg']}" for e in error.errors()]
    return lines[:limit] + ([f"and {len(lines) - limit} more"] if len(lines) > limit else [])
