"""Explains a config from its code alone: compiles it, reads what came out, and names what limits it.

1. The compile pool writes the config's code into a folder (``tools/harness/compiling/kept_code.py``).
2. PTX is walked for some blocks of the grid (:mod:`ptx_walk`): trip counts, addresses, bank conflicts.
3. SASS is disassembled, and the walk's counts are carried over to it (:mod:`loop_match`): issue slots, pipes, spills.
4. One warp is simulated alone (:mod:`warp_chain`): what it waits for.
5. Rates of the GPU turn counts into times, and :mod:`bottleneck` names the limit."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass

from kernels.hardware import Hardware
from tools.evidence.bottleneck import Name, Occupancy, Verdict, judge, model_of, moved
from tools.evidence.code.assembly import Code
from tools.evidence.code.sass_code import NoDisassembly, disassemble, read_sass
from tools.evidence.counts.amd_work import amd_work
from tools.evidence.counts.block_work import BlockWork, block_work
from tools.evidence.counts.kept_launch import KeptLaunch
from tools.evidence.counts.warp_chain import chain
from tools.evidence.measured import Measured, judge_measured
from tools.evidence.rates import LATENCY, matrix_rate, rates_of
from tools.harness.results import CompileResult


@dataclass(frozen=True)
class Explained:
    """One launch, explained."""

    launch: KeptLaunch
    compiled: CompileResult
    hardware: Hardware
    work: BlockWork
    chain: tuple[float, Counter[str]] | None
    verdict: Verdict
    notes: tuple[str, ...]
    """What could not be had, a sentence each."""
    code: Code | None = None
    """The machine code's instructions."""
    runs: tuple[float, ...] = ()
    """Warps that run each of them, how often, in one block."""


def explain_launch(
    launch: KeptLaunch,
    compiled: CompileResult,
    hardware: Hardware,
    nvdisasm: str | None,
    measured_ms: float | None = None,
    measured: Measured | None = None,
) -> Explained:
    """The evidence on one launch, by its code, by a time of the whole config that was measured before (`measured_ms`),
    or by what a card showed of it (`measured`). `nvdisasm` is the disassembler's path; without it, and where it fails,
    what PTX alone says is answered, and a note says what is missing. Raises ValueError for code that cannot be read at
    all."""
    notes: list[str] = []
    code: Code | None = None
    runs: list[float] = []
    if (ptx := launch.text("ptx")) is not None:
        try:
            code = _sass(launch, nvdisasm)
        except NoDisassembly as e:
            notes.append(f"{e}: issue slots, arithmetic pipes, spills and waits are not counted")
        work, runs = block_work(launch, ptx, code)
    elif (assembly := launch.text("amdgcn")) is not None:
        work, code, runs = amd_work(launch, assembly, hardware)
    else:
        raise ValueError(f"{launch.name} was kept without PTX or AMD assembly: there is nothing to read")
    rates = rates_of(hardware)
    if rates.unsourced:
        notes.append(rates.unsourced)
    if hardware.origins:
        origins = f"bandwidth {hardware.describe_origin('bandwidth')}, peaks {hardware.describe_origin('peak')}"
        notes.append(f"{hardware.name} has no data sheet here: {origins}")
    occupancy = Occupancy(compiled.blocks_per_sm or 1, compiled.occupancy or 0.0, compiled.limited_by or "")
    waited: tuple[float, Counter[str]] | None = None
    if code is not None and ptx is not None:
        waited = chain(code, runs, launch.num_warps, memory_latency(work, launch.blocks), 1 / _fastest(work, hardware))
    elif work.chain is not None:
        waited = work.chain
    threads = launch.num_warps * hardware.warp_size
    model = model_of(
        work,
        waited,
        launch.blocks,
        occupancy,
        hardware,
        rates,
        launch.shared_bytes,
        threads,
        compiled.stack_bytes or 0,
    )
    found = Explained(
        launch,
        compiled,
        hardware,
        work,
        waited,
        judge(model, lambda name: "", measured_ms),
        (*notes, *work.notes),
        code,
        tuple(runs),
    )

    def why(name: Name) -> str:
        return reason(found, name)

    if measured is None:
        verdict = judge(model, why, measured_ms)
    else:
        unknown: frozenset[Name] = frozenset() if work.atomic_words_known else frozenset({"atomics"})
        verdict = judge_measured(model, measured, launch.blocks, hardware.sms, rates.clock, why, unknown)
    return Explained(launch, compiled, hardware, work, waited, verdict, found.notes, code, tuple(runs))


def _sass(launch: KeptLaunch, nvdisasm: str | None) -> Code:
    """Disassemble once; the text is kept beside the machine code, under its hash."""
    cubin = launch.machine_code("cubin")
    if cubin is None:
        raise NoDisassembly(f"{launch.name} was kept without machine code")
    kept = launch.folder / f"{hashlib.sha256(cubin).hexdigest()[:16]}.sass"
    if not kept.exists():
        if nvdisasm is None:
            raise NoDisassembly("Triton's disassembler nvdisasm was not found")
        kept.write_text(disassemble(cubin, nvdisasm), encoding="utf-8")
    return read_sass(kept.read_text(encoding="utf-8"))


def _fastest(work: BlockWork, hardware: Hardware) -> float:
    """Multiply-adds per clock of the matrix instructions in use."""
    return max((matrix_rate(hardware, kind, dtype) for kind, dtype in work.matrix), default=1.0)


def memory_latency(work: BlockWork, blocks: int) -> float:
    """Clocks of a load: those of L2 for what is read again, of device memory for what is read first."""
    loaded = sum(work.loaded.values()) * blocks
    if not loaded:
        return float(LATENCY["memory"])
    fresh = sum(
        min(size * blocks, t.bytes) if (t := work.tensors.get(n)) else size * blocks for n, size in work.loaded.items()
    )
    share = fresh / loaded
    return share * LATENCY["memory"] + (1 - share) * LATENCY["l2"]


def reason(found: Explained, name: Name) -> str:
    """One line on what `name` means for this launch, with its numbers."""
    work, launch, sms = found.work, found.launch, found.hardware.sms
    blocks = launch.blocks
    resident = max(1, min(found.compiled.blocks_per_sm or 1, -(-blocks // sms)))
    clocks, waits = found.chain or (0.0, Counter[str]())
    if name == "DRAM":
        return f"{moved(work, blocks) / 1e6:.4g} MB through device memory at least"
    if name == "L2 port":
        wasted = work.l2_bytes / work.asked_bytes if work.asked_bytes else 1.0
        again = work.l2_bytes * blocks / max(1.0, moved(work, blocks))
        spread = f", {wasted:.1f} times what threads asked for" if wasted > 1.2 else ""
        return f"{work.l2_bytes * blocks / 1e6:.4g} MB through L2, {again:.1f} times the bytes of device memory{spread}"
    if name == "shared-memory port":
        return f"{work.operand_bytes / 128 + work.shared_passes:.0f} clocks of shared memory a block"
    if name == "bank conflicts":
        times = work.shared_passes / max(1.0, work.fewest_passes)
        return f"shared memory is passed over {times:.1f} times as often as needed"
    if name == "tensor cores":
        return ", ".join(
            f"{2 * n * blocks / 1e9:.4g} GFLOP by {kind} {dtype}" for (kind, dtype), n in work.matrix.items()
        )
    if name == "special functions":
        return f"{work.special_lanes * blocks / 1e6:.4g} million exponentials and the like"
    if name == "latency":
        what = max(waits, key=lambda k: waits[k], default="")
        waited = sum(waits.values()) / clocks if clocks else 0.0
        told = (
            f"; a warp waits {waited:.0%} of its {clocks:.0f} clocks, most for {WAITS.get(what, what)}" if what else ""
        )
        return f"{resident} resident blocks of {launch.num_warps} warps do not cover the waiting{told}"
    if name == "serialised matrix instructions":
        waited = waits["matrix"] / max(1.0, clocks)
        return f"a warp waits {waited:.0%} of its time for a matrix instruction before it issues the next"
    if name == "launch overhead":
        return f"{blocks} blocks are done before a launch is"
    if name == "tail wave":
        most = -(-blocks // sms)
        return f"{blocks} blocks on {sms} multiprocessors: the busiest has {most}, the mean {blocks / sms:.2f}"
    if name == "imbalance":
        mean = sum(work.costs) / max(1, len(work.costs))
        return f"the largest block does {max(work.costs, default=0) / max(1.0, mean):.1f} times the mean's work"
    if name == "spills":
        moved_mb = work.local_bytes * blocks / 1e6
        return f"{found.compiled.spill_bytes or 0} bytes a thread spilled; {moved_mb:.4g} MB of local memory"
    if name == "atomics":
        hot = f", {work.hottest:.0%} of them on one word" if work.hottest > 0.001 else ""
        unknown = "" if work.atomic_words_known else " (which words depends on data)"
        return f"{work.atomics * blocks / 1e6:.4g} million atomic operations{hot}{unknown}"
    unit = {"issue slots": work.issued, "fp32 pipe": work.by_unit["fp32"], "integer pipe": work.by_unit["integer"]}
    count = unit.get(name, work.by_unit[name.removesuffix(" pipe")])
    return f"{count:.0f} warp instructions a block"


WAITS = {
    "memory": "global loads",
    "matrix": "matrix instructions",
    "shared": "shared memory",
    "barrier": "barriers",
    "special": "special functions",
    "arithmetic": "the result before",
    "shuffle": "shuffles",
    "atomic": "atomics",
    "local": "spilled registers",
    "constant": "constants",
}
