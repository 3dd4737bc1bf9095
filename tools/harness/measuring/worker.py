"""The device child: the only process that creates a GPU context. Times one problem's configs and baselines.

Two of these run per GPU: one launches candidates, one launches PyTorch's baselines, so that no candidate shares a
process with what it is compared to. The parent never lets both use the GPU at once; a baseline is prepared beside
other work where it takes turns (:mod:`tools.harness.process.gpu_lock`).
"""

from __future__ import annotations

import math
import os
import platform
import time
from dataclasses import asdict
from statistics import mean
from typing import Any

import torch
import triton

from kernels.hardware import Hardware, hardware_for, known_hardware
from kernels.hardware.asked_gpu import DriverSilent, ask
from kernels.hardware.gpu_facts import to_json
from kernels.launches.meta_tensors import import_no_compiler
from kernels.spec import Baseline
from tools.harness.checking.bits import compare_bits
from tools.harness.checking.census import started_kernels, take_census
from tools.harness.checking.float64.float64_errors import read_reference
from tools.harness.checking.own_kernel import own_kernel
from tools.harness.checking.stress import MOST_S, stressing
from tools.harness.checking.stressed_launch import Asking, Cases
from tools.harness.compiling.compiler import reason
from tools.harness.compiling.toolchain import add_to_triton_key, assembler, cache_key, describe_overrides
from tools.harness.measuring.arena import Arena, Refused, Wrong
from tools.harness.measuring.ceilings import ceilings, copying
from tools.harness.measuring.choices import expand
from tools.harness.measuring.telemetry import Nvml
from tools.harness.measuring.timing import Call, burst, sustained, synchronize
from tools.harness.process.gpu_lock import GpuLock, can_release_while_compiling
from tools.harness.process.identity import rebuild, rebuild_config
from tools.harness.process.machine_trouble import describe_trouble
from tools.harness.process.refusal import Refusal

Json = dict[str, Any]

COUNTER_S = 1.0
"""An energy counter that is alive moves at least every 0.1 s."""


def worker(init: Json) -> Any:
    """Serve timing jobs. `init`: ``kernel``, ``problem``, ``index`` of the device, and ``lock``, the GPU's lock file.
    The parent holds the lock while it waits for an answer, except to a job with ``shares_gpu``, which takes the lock
    itself. No GPU context is created before the first job."""
    return Worker(init).serve


class Worker:
    def __init__(self, init: Json) -> None:
        import_no_compiler()  # for shapes; who compiles imports it all the same
        self.spec, self.problem = rebuild(init)
        self.index = init["index"]
        self.hardware: Hardware | None = None
        self.device = f"cuda:{self.index}"
        self.arena: Arena | None = None
        self.prepared: dict[str, Call] = {}
        self.nvml: Nvml | None = None
        self.hits = 0
        self.keyed = False
        """Whether what is compiled here is cached under the key that the compilers use."""
        self.stressing: Asking[Json] | None = None
        """A stress test that waits for an answer."""
        self.cases: Cases = {}
        self.lock = GpuLock(init["lock"])
        triton.knobs.compilation.listener = self.compiled

    def serve(self, job: Json) -> Json:
        """One job. What a candidate does wrong is an answer with a status; an exception here is our own failure."""
        operation = job["op"]
        if operation == "prepare":
            if not job["shares_gpu"]:
                return self.prepare(job)
            if self.baseline(job["baseline"]).own_code:  # torch.compile, whose import takes seconds, has no part in it
                with self.lock:
                    return self.prepare(job)
            if job.get("ahead") and not can_release_while_compiling():
                return {"status": "infrastructure", "reason": "this torch's compiler would keep the GPU from others"}
            with self.lock.released_while_compiling(synchronize):
                return self.prepare(job)
        if operation == "info":
            return self.info()
        if operation == "ceilings":
            return self.ceilings(job.get("dtype"))
        if operation == "counter":
            return self.counter()
        if operation == "open":
            try:
                self.open()
            except Exception as e:  # noqa: BLE001 -- no candidate has run yet: the GPU or our own set-up is to blame
                return {"missing": f"the GPU cannot be used: {reason(e)}"}
            return {}
        try:
            started = time.perf_counter()
            call = self.subject(job)
            if job.get("census"):
                self.census(call)
            if operation == "stress":
                return {**self.stress(job), "seconds": time.perf_counter() - started}
            if operation == "bits":
                return {"status": "correct", **self.bits(job), "seconds": time.perf_counter() - started}
            answer = self.burst(job, call) if operation == "burst" else self.sustained(job, call)
            return {**answer, "seconds": time.perf_counter() - started, "cache_hits": self.take_hits()}
        except Refused as e:
            return {"status": "infrastructure", "reason": str(e)}
        except Wrong as e:
            return {"status": "correctness", "reason": str(e), "error": _finite(e.error), "bound": e.bound}
        except Refusal as e:
            return {"status": "infrastructure", "reason": str(e)}
        except Exception as e:  # noqa: BLE001 -- a launch may raise anything; what it was is the answer
            if trouble := describe_trouble(e):
                return {"trouble": trouble}
            return {"status": "runtime", "reason": reason(e), "broken": self.broken()}

    def prepare(self, job: Json) -> Json:
        """A baseline's one-time work, torch.compile say; ``ran`` names the GPU kernels that a call then starts."""
        try:
            self.open()
            call = self.subject(job)
            call()
            synchronize()
            known = own_kernel(self.spec) if self.baseline(job["baseline"]).own_code else None
            ran = [known] if known is not None else started_kernels(call)
        except Exception as e:  # noqa: BLE001 -- PyTorch may raise anything; what it was is the answer
            return {"status": "runtime", "reason": reason(e), "broken": self.broken()}
        return {"status": "correct", "ran": ran}

    def compiled(self, *, cache_hit: bool, **rest: Any) -> None:
        """Triton's compilation listener: counts launches that found their code compiled by the pool."""
        self.hits += cache_hit

    def take_hits(self) -> int:
        hits, self.hits = self.hits, 0
        return hits

    def open(self) -> Arena:
        if self.arena is None:
            torch.cuda.set_device(self.index)
            self.arena = Arena(self.spec, self.problem, self.device)
            self.nvml = Nvml.open(str(torch.cuda.get_device_properties(self.index).uuid))
        return self.arena

    def facts(self) -> Hardware:
        """The facts of this GPU; the parent has completed and kept those of one without published facts."""
        if self.hardware is None:
            self.hardware = hardware_for(torch.cuda.get_device_name(self.index)) or ask(self.index)
        return self.hardware

    def subject(self, job: Json) -> Call:
        """The call to be timed: a config's launch into the arena's output, or a baseline's own way."""
        arena = self.open()
        if "config" in job:
            config: Any = rebuild_config(self.spec, job["config"])
            self.share_cache()
            spec, problem, hardware = self.spec, self.problem, self.facts()

            arena.use(config)
            if job.get("move"):
                arena.move()

            def launch() -> Any:
                spec.launch(problem, config, arena.bound.inputs, arena.bound.out, hardware)
                return arena.bound.results

            return launch
        name = job["baseline"]
        if name not in self.prepared:
            baseline = self.baseline(name)
            if baseline.own_code:
                self.share_cache()
            self.prepared[name] = baseline.prepare(self.problem, arena.inputs)
        return self.prepared[name]

    def baseline(self, name: str) -> Baseline[Any]:
        own = [*expand(self.spec.baselines(self.problem), self.problem), copying(self.spec)]
        return next(b for b in own if b.name == name)

    def share_cache(self) -> None:
        """Cache what is compiled from now on under the key that the compilers use."""
        if not self.keyed:
            add_to_triton_key(cache_key(self.spec))
            self.keyed = True

    def burst(self, job: Json, call: Call) -> Json:
        samples, verified = burst(
            self.open(),
            call,
            job["samples"],
            job["looked_at"],
            job.get("repeatable", False) and self.spec.deterministic,
        )
        return {
            "status": "correct",
            "samples_ms": samples,
            "error": verified.error if job["looked_at"] else None,
            "bound": verified.bound if job["looked_at"] else None,
            "telemetry": self.telemetry(),
        }

    def stress(self, job: Json) -> Json:
        """A finalist on inputs and shapes that nobody chose, and its bits. Where float64 has to decide, this gives the
        ``question`` in their place, and goes on with the job that brings its ``answer``."""
        answer = None
        if "answer" in job:
            answer = read_reference(job["answer"])
        else:
            config = rebuild_config(self.spec, job["config"])
            # By the clock of this machine: the wait for the GPU comes off.
            most_s = min(job.get("most_s", MOST_S), job.get("ends_at", math.inf) - time.monotonic())
            self.stressing = stressing(
                self.spec, self.problem, config, self.device, self.facts(), synchronize, most_s, self.cases
            )
        if self.stressing is None:
            return {"status": "infrastructure", "reason": "the worker that has asked for this answer is gone"}
        try:
            # send(None) begins
            return {"status": "infrastructure", "question": asdict(self.stressing.send(answer))}  # type: ignore[arg-type]
        except StopIteration as ended:
            self.stressing = None
            found: Json = ended.value
        return {**found, **(self.bits(job) if found["status"] == "correct" else {})}

    def bits(self, job: Json) -> Json:
        """Whether a config's results are those of the owner's launch. If that one fails, nothing is known."""
        config = rebuild_config(self.spec, job["config"])
        try:
            bits, why = compare_bits(self.spec, self.problem, config, self.device, self.facts(), synchronize)
        except Exception as e:
            synchronize()  # raises if the GPU is beyond use
            if describe_trouble(e):
                raise
            return {"bits": None, "bits_why": f"a launch fails: {reason(e)}"}
        return {"bits": bits, "bits_why": why}

    def sustained(self, job: Json, call: Call) -> Json:
        arena = self.open()
        joules = self.nvml.joules if self.nvml else lambda: None
        windows = sustained(arena, call, job["window_s"], job["windows"], job["looked_at"], joules)
        return {
            "status": "correct",
            "samples_ms": windows.ms,
            "error": windows.verified.error if job["looked_at"] else None,
            "bound": windows.verified.bound if job["looked_at"] else None,
            "joules": None if windows.watts is None else windows.watts * mean(windows.ms) * 1e-3,
            "telemetry": self.telemetry(),
        }

    def census(self, call: Call) -> None:
        """Raises Wrong where a launch is not the candidate's own Triton code."""
        call()
        found = take_census(call)
        if found.foreign:
            names = ", ".join(found.foreign)[:200]
            raise Wrong(f"the launch runs GPU kernels that are not its own Triton code: {names}")
        if found.late:
            raise Wrong(
                f"the launch leaves work to another stream: {', '.join(found.late)[:200]} goes on when the launch is "
                "over on the stream that it was started on; join the stream before launch() returns"
            )

    def telemetry(self) -> Json | None:
        return self.nvml.read().model_dump() if self.nvml else None

    def broken(self) -> bool:
        """Whether the context is beyond use: after an illegal access every later call fails too."""
        try:
            torch.cuda.synchronize()
            torch.zeros(1, device=self.device).item()
            torch.cuda.empty_cache()
        except Exception:  # noqa: BLE001 -- any failure here means yes
            return True
        return False

    def info(self) -> Json:
        """What this device is. Creates the context; says in one sentence why it cannot."""
        if not torch.cuda.is_available():
            return {"missing": "torch finds no usable GPU (torch.cuda.is_available() is False)"}
        if self.index >= torch.cuda.device_count():
            there = ", ".join(f"cuda:{i}" for i in range(torch.cuda.device_count()))
            return {"missing": f"there is no cuda:{self.index} on this machine; there is {there}"}
        properties = torch.cuda.get_device_properties(self.index)
        hardware = known_hardware(properties.name)
        if hardware is None:
            try:
                hardware = ask(self.index)
            except DriverSilent as e:
                return {"missing": str(e)}
        nvml = Nvml.open(str(getattr(properties, "uuid", "")))
        return {
            "name": properties.name,
            "driver": nvml.driver() if nvml else None,
            "cuda": torch.version.cuda or torch.version.hip,
            "torch": torch.__version__,
            "triton": triton.__version__,
            "assembler": assembler_for(hardware),
            "overrides": describe_overrides(),
            "host": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
            "power_limit_w": nvml.power_limit_w() if nvml else None,
            "facts": None if known_hardware(properties.name) else to_json(hardware),
        }

    def counter(self) -> Json:
        """Whether the card's energy counter can be read and moves: even an idle card draws tens of watts."""
        self.open()
        before = self.nvml.joules() if self.nvml else None
        if self.nvml is None or before is None:
            return {"missing": "its driver offers no energy counter (NVML)"}
        deadline = time.monotonic() + COUNTER_S
        while self.nvml.joules() == before:
            if time.monotonic() > deadline:
                return {"missing": f"its energy counter did not move in {COUNTER_S:g} s"}
            time.sleep(0.005)
        return {}

    def ceilings(self, dtype: str | None) -> Json:
        """Of products in `dtype`, by default the problem's."""
        torch.cuda.set_device(self.index)
        return ceilings(self.device, getattr(torch, dtype) if dtype else self.problem.torch_dtype)


def assembler_for(hardware: Hardware) -> str | None:
    """The assembler that Triton uses for this card; ``None`` if it is missing: the first compilation reports that."""
    try:
        return assembler(hardware)
    except RuntimeError:
        return None


def _finite(x: float | None) -> float | None:
    return x if x is not None and math.isfinite(x) else None
