"""Compiles the launches of a capture for a GPU model, on a machine that needs no GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from agent.errors import AgentError, UsageError
from agent.programs.improvement.wanted_launches import open_capture, select_launches
from agent.programs.programs_assembler import programs_assembler
from kernels.capture.reading.captured_launches import CapturedLaunch
from memory.formats.tables import table
from memory.terms import count_of, printable

COMPILES = "compiles"
"""The status of a config that is only compiled: whether its results are right is not known."""
COLUMNS = ("launch", "kernel", "config", "status", "registers", "spill_bytes", "shared_bytes", "occupancy", "reason")


def compile_captured(
    file: Path, only: str | None, target: str | None, configs: int, notify: Callable[[str], object]
) -> dict[str, Any]:
    """Compile up to `configs` configs of each launch, the owner's first. `only` names kernels as for ``improve``.
    `target`: a GPU model with known facts; None is the one that each launch was captured on.

    Raises UsageError for a file, kernel or GPU model that cannot be used, and AgentError if this machine cannot
    compile."""
    capture = open_capture(file)
    launches = select_launches(capture, only)
    for launch in launches:  # before PyTorch is loaded
        _model_of(launch.device, target)
    with programs_assembler(capture, notify):
        return _compile(file, launches, target, configs)


def _compile(file: Path, launches: Sequence[CapturedLaunch], target: str | None, configs: int) -> dict[str, Any]:
    from kernels.captured.captured_kernels import captured_kernel, reference_of
    from tools.harness.compiling.compile_pool import LocalCompilePool
    from tools.harness.device import DeviceError

    pools: dict[str, LocalCompilePool] = {}
    rows: list[dict[str, Any]] = []
    left_out: list[dict[str, str]] = []
    try:
        for launch in launches:
            hardware = _model_of(launch.device, target)
            try:
                kernel = captured_kernel(reference_of(str(file), launch.digest))
            except ValueError as e:
                left_out.append({"kernel": f"{launch.name} ({launch.digest[:8]})", "reason": str(e)})
                continue
            if hardware.name not in pools:
                pools[hardware.name] = LocalCompilePool(hardware)
            pool = pools[hardware.name]
            problem = kernel.default_problem()
            chosen = kernel.promising(problem, hardware)[:configs]
            for config, made in zip(chosen, pool.compile(kernel, problem, chosen), strict=True):
                values = config.model_dump(mode="json")
                text = " ".join(f"{n}={v}" for n, v in values.items() if v is not None)
                about = made.model_dump(mode="json", include=set(COLUMNS) - {"launch", "kernel", "config"})
                about["status"] = COMPILES if made.status == "correct" else made.status
                row = {"launch": launch.digest[:8], "kernel": launch.name, "config": text, "for": hardware.name}
                rows.append(row | about)
    except DeviceError as e:
        raise AgentError(f"{e}.") from e
    finally:
        for pool in pools.values():
            pool.close()
    return {"capture": str(file), "compiled": rows, "left_out": left_out}


def render_compiled(found: dict[str, Any]) -> str:
    """For people."""
    rows = found["compiled"]
    good = sum(r["status"] == COMPILES for r in rows)
    models = ", ".join(sorted({r["for"] for r in rows}))
    shown = [c for c in COLUMNS if any(r.get(c) not in (None, "") for r in rows)]
    lines = [table(rows, shown), ""] if rows else []
    lines += [printable(f"left out: {x['kernel']}: {x['reason']}") for x in found["left_out"]]
    lines.append(f"{good} of {count_of(len(rows), 'config')} compile{f' for {models}' if models else ''}")
    return "\n".join(lines)


def _model_of(device: dict[str, Any], target: str | None) -> Any:
    """The facts of the GPU model to compile for. Raises UsageError."""
    from kernels.hardware import hardware_for, hardware_named

    if target is not None:
        try:
            return hardware_named(target)
        except ValueError as e:
            raise UsageError(f"--for: {e}.") from e
    found = hardware_for(device["name"]) if device.get("name") else None
    if found is None:
        where = device.get("name") or "Triton's interpreter"
        raise UsageError(
            f"The launches were captured on {where}, to which nothing is compiled: name a GPU model by --for."
        )
    return found
