"""Configs as lines of Python to paste into a program that uses ``triton.autotune``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from memory.terms import printable

if TYPE_CHECKING:
    from memory.subject import Subject

LAUNCH = ("num_warps", "num_stages", "num_ctas", "maxnreg")
"""Fields that ``triton.Config`` takes by name; all others are meta-parameters of the kernel."""
KEPT = "an autotuned kernel keeps its own key, pre_hook, reset_to_zero and restore_value"
"""What a line that is made without the kernel cannot hold."""
TOP = 16
"""Configs in a list: each one costs every user of ``triton.autotune`` a compilation."""


def split(config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Meta-parameters of the kernel, and what ``triton.Config`` takes by name."""
    meta = {name: value for name, value in config.items() if name not in LAUNCH}
    return meta, {name: config[name] for name in LAUNCH if config.get(name) is not None}


def triton_config(config: dict[str, Any]) -> str:
    """``triton.Config({'BLOCK_M': 128, …}, num_warps=8, num_stages=4)``."""
    meta, launch = split(config)
    return f"triton.Config({meta!r}{''.join(f', {name}={value!r}' for name, value in launch.items())})"


def decorator(configs: Sequence[dict[str, Any]], problem: dict[str, Any]) -> str:
    """``@triton.autotune(configs=[…], key=[…])``. The key is the problem's dimensions; a kernel whose arguments have
    other names needs them renamed."""
    key = [name for name, value in problem.items() if isinstance(value, int) and not isinstance(value, bool)]
    return f"@triton.autotune(configs=[{', '.join(map(triton_config, configs))}], key={key!r})"


def config_list(subject: Subject) -> str:
    """A Python file with ``configs``, the fastest first, for ``@triton.autotune(configs=configs, key=[…])``.

    Raises SubjectError if no config was measured."""
    lines = [
        f'"""Fastest configs of {_comment(subject.kernel)}, {_comment(subject.label)}, {subject.regime}, '
        f'{_comment(subject.environment["device"])}."""',
        "",
        "import triton",
        "",
        f"# Configs alone: {KEPT}.",
        "configs = [",
    ]
    lines += [f"    {triton_config(v['config'])},  # {v['ms']:.5g} ms" for v in subject.fastest(TOP)]
    return "\n".join([*lines, "]"])


def autotune_line(subject: Subject) -> str:
    """The fastest config as a decorator line. Raises SubjectError if no config was measured.

    The memory does not hold a kernel's decorator, so a comment says what must be kept of it."""
    line = decorator([subject.fastest(1)[0]["config"]], subject.problem)
    return f"{line}  # {_comment(subject.environment['device'])}, {subject.regime}; {KEPT}"


def _comment(text: str) -> str:
    """`text` without what could end the docstring around it."""
    return printable(text).replace("\\", "\\\\").replace('"', "'")
