"""The one kernel that a launch starts, where code of ours sees to it that there is one."""

from __future__ import annotations

import sys
from typing import Any


def own_kernel(spec: Any) -> str | None:
    """The name of the only GPU kernel that a launch of `spec` starts; None if a census has to look, for which PyTorch's
    profiler needs four seconds to start in each process.

    A captured launch without a hook starts one kernel, by code of ours. The spec is not asked: one that cheats would
    say so too."""
    captured = sys.modules.get("kernels.captured.spec")  # whoever holds such a spec has imported it
    editable = sys.modules.get("kernels.editing.editable")
    if captured is None:
        return None
    kind = type(spec)
    edited = editable is not None and kind.__bases__ == (editable.Editable, captured.CapturedKernel)
    plain = edited and not {"launch", "function", "has_hook"} & vars(kind).keys()
    if not (kind is captured.CapturedKernel or plain) or spec.has_hook:
        return None
    return str(spec.captured.name)
