"""The device of a launch and the process that makes it."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

Json = dict[str, Any]


def describe_device(tensors: list[tuple[str, Any]], function: Any) -> Json:
    triton = sys.modules["triton"]
    torch = sys.modules.get("torch")
    about = {"triton": triton.__version__, "torch": getattr(torch, "__version__", None)}
    if not hasattr(function, "params"):
        return {"kind": "interpreter", **about}
    target = triton.runtime.driver.active.get_current_target()
    card = next((t.device for _, t in tensors if t.is_cuda), None)
    name = torch.cuda.get_device_name(card) if torch is not None and card is not None else None
    return {"kind": target.backend, "arch": target.arch, "warp_size": target.warp_size, "name": name, **about}


def describe_process() -> Json:
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "argv": [a[:200] for a in sys.argv[:20]],
        "rank": os.environ.get("RANK"),
        "python": sys.version.split()[0],
        "at": time.time(),
    }
