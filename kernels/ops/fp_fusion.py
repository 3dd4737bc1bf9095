"""Fuses multiplications with additions in the kernels of the public ops, whatever the process's default.

All configs were tuned, proven and recorded with fusion. A process of a user has the default of its Triton: fused up to
3.9, which warns, and not fused from 3.10 on, which would change bits and speed of every fp32 sum. The kernels' files
stay as they are, because a launch is hashed: the setting is made around the launch that compiles.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from triton import knobs

VARIABLE = "TRITON_DEFAULT_FP_FUSION"
_LOCK = threading.RLock()


@contextmanager
def fused_multiply_adds() -> Iterator[None]:
    """What is compiled inside fuses, unless ``TRITON_FORCE_DISABLE_FP_FUSION`` forbids it. A setting of the user holds
    again afterwards. One thread at a time: the setting is the process's."""
    with _LOCK:
        settings = vars(knobs.language)
        variable, own = os.environ.get(VARIABLE), settings.get("default_fp_fusion")
        settings["default_fp_fusion"] = True
        os.environ[VARIABLE] = "1"  # Triton 3.9 looks at the variable to decide whether to warn
        try:
            yield
        finally:
            if own is None:
                settings.pop("default_fp_fusion", None)
            else:
                settings["default_fp_fusion"] = own
            if variable is None:
                os.environ.pop(VARIABLE, None)
            else:
                os.environ[VARIABLE] = variable
