"""The tools that a model may call. Importing this module imports no torch: a tool's file is loaded when it is needed.

A tool is one module with three parts: ``arguments(spec)`` gives the pydantic model of its arguments for a kernel,
``run(session, arguments, call_id)`` its answer, a JSON object, and ``DECLARATION`` what others need to know about it.
A module may define ``offered(spec)``: whether the tool is there for a kernel.
The first paragraph of the module's docstring is its description.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from tools.calling.repair import repair
from tools.declaration import Declaration

if TYPE_CHECKING:
    from types import ModuleType

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
    "neighbours",
    "explain_kernel",
    "nominate_finalists",
)
"""The built-in tools, ``tools/NAME.py`` but for ELSEWHERE. Their order is part of the prompt: keep it, so that prompt
caches hold."""
ON_REQUEST = ("edit_kernel",)
"""Built-in tools that are there for some kernels alone: their module says for which by ``offered``."""
ELSEWHERE = {"nominate_finalists": "tools.session.nominate_finalists"}
"""Built-in tools whose module stands beside what it acts on."""
ENTRY_POINTS = "autokernel.tools"
"""The group in which an installed package may offer tools: ``my_tool = "my_package.my_tool"``, a module."""

MOST_LINES = 8
"""Problems, and repairs, that an answer lists."""

_registered: dict[str, str] = {}


class ToolError(ValueError):
    """A tool of another package cannot be used; the message is one sentence."""


@dataclass(frozen=True)
class Tool:
    """A tool bound to a session's kernel: its arguments are a closed model of that kernel's config."""

    name: str
    description: str
    arguments: type[BaseModel]
    function: Callable[[Session, Any, str], dict[str, Any]]
    declared: Declaration

    def call(self, session: Session, arguments: dict[str, Any], call_id: str) -> dict[str, Any]:
        """Repair and validate `arguments`, and run. The good configs of a batch run, and the answer quotes the others
        under ``not_run`` and what was repaired under ``repaired``. Wrong arguments are an answer with ``error``, not an
        exception."""
        found = repair(self.arguments, arguments)
        if found.parsed is None:
            return {"error": "arguments", "tool": self.name, "problems": brief(found.problems)}
        answer = self.function(session, found.parsed, call_id)
        if found.problems:
            answer = {**answer, "not_run": brief(found.problems)}
        return {**answer, "repaired": brief(found.notes)} if found.notes else answer


def register(name: str, module: str) -> None:
    """Offer the tool of `module` (a dotted name) in this process as `name`. Raises ToolError for a name that is taken
    by a built-in tool; another tool of that name is replaced."""
    if name in NAMES + ON_REQUEST:
        raise ToolError(f"{name} is a built-in tool: give yours another name")
    _registered[name] = module


def unregister(name: str) -> None:
    """Take back what :func:`register` did."""
    _registered.pop(name, None)


def modules() -> dict[str, str]:
    """Tool name to dotted module: the built-in ones, then those of installed packages and those registered here."""
    offered = {e.name: e.value for e in importlib.metadata.entry_points(group=ENTRY_POINTS)}
    others = {name: module for name, module in (offered | _registered).items() if name not in NAMES + ON_REQUEST}
    return {name: _module_of(name) for name in NAMES + ON_REQUEST} | dict(sorted(others.items()))


def builtin_declarations() -> dict[str, Declaration]:
    """What the built-in tools declare, by name: for traces of before tools declared anything."""
    return {name: _load(name, _module_of(name)).DECLARATION for name in NAMES + ON_REQUEST}


def tools_for(session: Session) -> dict[str, Tool]:
    """Every tool by name, for the session's kernel. Raises ToolError."""
    return tools_of(session.task.spec)


def tools_of(spec: KernelSpec[Any, Any]) -> dict[str, Tool]:
    """Every tool by name, for a kernel. Raises ToolError for a tool of another package that is not one."""
    found = {}
    for name, source in modules().items():
        module = _load(name, source)
        if not getattr(module, "offered", _always)(spec):
            continue
        summary = (module.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
        found[name] = Tool(name, summary, module.arguments(spec), module.run, module.DECLARATION)
    return found


def _module_of(name: str) -> str:
    """The dotted module of a built-in tool."""
    return ELSEWHERE.get(name, f"tools.{name}")


def _always(spec: KernelSpec[Any, Any]) -> bool:
    return True


def _load(name: str, source: str) -> ModuleType:
    try:
        module = importlib.import_module(source)
    except ImportError as e:
        raise ToolError(f"the tool {name} cannot be imported from {source} ({e}): repair or uninstall it") from e
    lacking = [part for part in ("arguments", "run") if not callable(getattr(module, part, None))]
    if not isinstance(getattr(module, "DECLARATION", None), Declaration):
        lacking.append("DECLARATION")
    if lacking:
        raise ToolError(f"the tool {name} is unfinished: define {', '.join(lacking)} in {source}")
    return module


def brief(lines: list[str], limit: int = MOST_LINES) -> list[str]:
    """At most `limit` of `lines`, and how many more there are."""
    return lines[:limit] + ([f"and {len(lines) - limit} more"] if len(lines) > limit else [])
