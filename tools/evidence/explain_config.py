"""Explains a config of a kernel: compiles it, keeps its code in a folder, and explains each of its launches."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tools.evidence.counts.kept_launch import read_launches
from tools.evidence.explanation import Explained, explain_launch
from tools.harness.results import CompileResult

if TYPE_CHECKING:
    from kernels.hardware import Hardware
    from kernels.spec import Config, KernelSpec, Problem
    from tools.evidence.bottleneck import Name
    from tools.evidence.live.profiled_card import Seen
    from tools.harness.compiling.compile_pool import LocalCompilePool

SUMMARY = "explained.json"
"""In a folder of kept code: the config and the GPU that it was compiled for."""


class CannotExplain(ValueError):
    """A config cannot be explained; the message is one sentence."""


@dataclass(frozen=True)
class ConfigExplained:
    """What is known of a config from its code."""

    kernel: str
    problem: str
    config: dict[str, Any]
    hardware: Hardware
    flops: int
    bytes: int
    """Operations and fewest bytes of the problem."""
    launches: tuple[Explained, ...]
    folder: Path
    card: Seen | None = None
    """What a card showed of it, where one was asked."""

    @property
    def main(self) -> Explained:
        """The launch that takes longest."""
        return max(self.launches, key=lambda e: e.verdict.ms)

    @property
    def ms(self) -> float:
        """Estimated time of all launches."""
        return sum(e.verdict.ms for e in self.launches)


def explain_config(
    spec: KernelSpec[Any, Any],
    problem: Problem,
    config: Config,
    hardware: Hardware,
    pool: LocalCompilePool,
    measured_ms: float | None = None,
    folder: Path | None = None,
) -> ConfigExplained:
    """Compile `config` by `pool` and explain it. Its code is kept in `folder`, by default in the pool's cache, where it
    is found again if neither source nor Triton has changed. Raises CannotExplain."""
    where = folder or pool.cache / "evidence" / _key(spec, problem, config, hardware)
    if folder is None and (where / SUMMARY).exists():
        return explain_kept(where, measured_ms)
    compiled = pool.keep(spec, problem, config, where)
    if compiled.status != "correct":
        shown = " ".join(f"{name}={value}" for name, value in config.model_dump(mode="json").items())
        why = f"{compiled.status}: {compiled.reason}"
        raise CannotExplain(f"the config {shown} does not compile for {hardware.name}: {why}")
    from kernels.hardware.gpu_facts import to_json

    about = {
        "kernel": spec.name,
        "problem": problem.label(),
        "config": config.model_dump(mode="json"),
        "hardware": hardware.name,
        "facts": to_json(hardware),
        "flops": spec.flops(problem),
        "bytes": spec.bytes(problem),
        "compiled": compiled.model_dump(mode="json"),
    }
    (where / SUMMARY).write_text(json.dumps(about, indent=1), encoding="utf-8")
    return explain_kept(where, measured_ms)


def explain_kept(
    folder: Path,
    measured_ms: float | None = None,
    card: Seen | None = None,
    counters: Mapping[str, Mapping[Name, float]] = MappingProxyType({}),
) -> ConfigExplained:
    """Explain code that was kept before; with what a `card` showed of it by that, and by the `counters` that ncu read
    of its kernels. Raises CannotExplain."""
    from kernels.hardware import hardware_named
    from kernels.hardware.gpu_facts import from_json

    try:
        about = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        hardware = from_json(about["facts"]) if "facts" in about else hardware_named(about["hardware"])
        compiled = CompileResult.model_validate(about["compiled"])
        launches = read_launches(folder)
        several = len(launches) > 1
        explained = tuple(
            explain_launch(
                one,
                compiled,
                hardware,
                disassembler(),
                None if several else measured_ms,
                None if card is None else card.measured(one.name, counters.get(one.name, {})),
            )
            for one in launches
        )
        return ConfigExplained(
            about["kernel"],
            about["problem"],
            about["config"],
            hardware,
            about["flops"],
            about["bytes"],
            explained,
            folder,
            card,
        )
    except (OSError, KeyError, TypeError, RecursionError) as e:
        raise CannotExplain(f"{folder} holds no kept code ({type(e).__name__}): write one with explain --keep") from e
    except ValueError as e:
        raise CannotExplain(str(e)) from e


def disassembler() -> str | None:
    """The path of nvdisasm inside Triton's wheel, or where TRITON_NVDISASM_PATH says; ``None`` if there is none."""
    if given := os.environ.get("TRITON_NVDISASM_PATH"):
        return given
    found = importlib.util.find_spec("triton")
    for place in (found.submodule_search_locations or []) if found else []:
        path = Path(place) / "backends" / "nvidia" / "bin" / "nvdisasm"
        if path.exists():
            return str(path)
    return None


def _key(spec: KernelSpec[Any, Any], problem: Problem, config: Config, hardware: Hardware) -> str:
    version = importlib.metadata.version("triton")
    about: list[Any] = [spec.name, spec.source_hash(), version, hardware.name]
    about += [problem.model_dump(mode="json"), config.model_dump(mode="json")]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:20]
