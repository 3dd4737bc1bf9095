"""The formats, and which of them a file has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.errors import UsageError
from agent.programs.foreign import (
    aiter_table,
    fla_cache,
    inductor_lookup,
    m_table,
    megatron_table,
    triton_cache,
)
from agent.programs.foreign.foreign_table import ForeignTable, NotReadable
from kernels.tuned.tuned_file import FORMAT as OWN_FORMAT
from memory.command_line.input_files import read_text_input


@dataclass(frozen=True)
class Format:
    """One format. `read(file name, text)` raises NotReadable; `write(table)` gives file name and text."""

    title: str
    read: Callable[[str, str], ForeignTable]
    write: Callable[[ForeignTable], tuple[str, str]]


FORMATS = {
    "moe": Format("a table of vLLM, SGLang or Hugging Face's kernels from M to a config", m_table.read, m_table.write),
    "aiter": Format("AITER's configs", aiter_table.read, aiter_table.write),
    "megatron": Format("Megatron-LM's tuning table", megatron_table.read, megatron_table.write),
    "fla": Format("flash-linear-attention's cache", fla_cache.read, fla_cache.write),
    "triton": Format("Triton's autotune cache", triton_cache.read, triton_cache.write),
    "inductor": Format("TorchInductor's lookup table", inductor_lookup.read, inductor_lookup.write),
}
MOST_BYTES = 64 << 20
HEAD = 200
"""Characters in which a table of our own says its format."""


def read_foreign(path: Path) -> tuple[str, ForeignTable]:
    """The format's name and the table. Raises UsageError with what each format misses."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UsageError(f"{path} has over {MOST_BYTES >> 20} MiB: no table of configs is so large")
        text = read_text_input(path)
    except OSError as e:
        raise UsageError(f"{path} cannot be read ({e.strerror}): check the path") from e
    except UnicodeDecodeError as e:
        raise UsageError(f"{path} is no table of configs: it is not text") from e
    if text.lstrip().startswith("{") and f'"{OWN_FORMAT}"' in text[:HEAD]:
        raise UsageError(
            f"{path} is a table of this project, not of another: use it by python -m agent apply {path} -- COMMAND, or "
            "write it in another format by python -m agent table export"
        )
    missing = []
    for name, format_ in FORMATS.items():
        try:
            return name, format_.read(path.name, text)
        except NotReadable as e:
            missing.append(f"{name}: {e}")
    raise UsageError(f"{path} has none of the known formats ({'; '.join(missing)})")
