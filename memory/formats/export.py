"""The formats of ``python -m memory export``: each writes what is known of one problem on one device as text."""

from __future__ import annotations

from collections.abc import Callable

from memory.formats import earlier_system, kernel_tuner, t4_export, triton_configs
from memory.subject import Subject

FORMATS: dict[str, Callable[[Subject], str]] = {
    "t4": t4_export.dump,
    "kernel-tuner": kernel_tuner.kernel_tuner,
    "triton": triton_configs.config_list,
    "autotune": triton_configs.autotune_line,
    "best-config": earlier_system.best_config,
    "history-csv": earlier_system.history_csv,
}
