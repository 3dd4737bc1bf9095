"""Tunes Triton GPU kernels by calling tools, and proves what it claims.

    from agent import optimise

    result = optimise("maximise fused TFLOPS")
    print(result)
    print(result.decorator())

Nothing heavy is imported until :func:`optimise` is called.
"""

from __future__ import annotations

TYPE_CHECKING = False
"""As in ``typing``, whose import would lie before the line from which Ctrl-C ends a command without a traceback."""

if TYPE_CHECKING:
    from typing import Any

    from agent.api import optimise
    from agent.errors import AgentError, UsageError
    from agent.loop.progress import Standing
    from agent.result import Result
    from agent.verdict.speedup import Speedup

__all__ = ["AgentError", "Result", "Speedup", "Standing", "UsageError", "optimise"]

_WHERE = {
    "optimise": "agent.api",
    "Result": "agent.result",
    "Speedup": "agent.verdict.speedup",
    "Standing": "agent.loop.progress",
    "AgentError": "agent.errors",
    "UsageError": "agent.errors",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    from agent.own_names import require_own_names

    require_own_names()
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE])
