"""Records a landscape: a whole space on the GPU at hand, twice over, failures included.

All configs are compiled first, on every core; then two passes, A and B, each in its own seeded random order, read every
config that compiled, with the eager baseline beside it. Every ``ROUND_EVERY`` configs all baselines are read, and at
the end once more, longer and in both regimes. Each reading goes to a journal, so a recording that was cut off goes on
where it stood.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from evals.record.card import render
from evals.record.journal import Journal, boot
from kernels.hardware import Hardware
from kernels.spec import Baseline, Config, KernelSpec, Problem
from memory.shared_models import DeviceInfo
from memory.terms import Regime
from tools.harness.landscapes.files import stem, write_landscape
from tools.harness.landscapes.readings import (
    BaselineReadings,
    Entry,
    Landscape,
    ReadingSet,
    Round,
    SetName,
    reading_set,
    significant,
)
from tools.harness.results import CompileResult, Measurement

ROUND_EVERY = 50
"""Configs between two rounds of all baselines: every ten seconds or so, faster than a card's temperature moves."""
ROUND_SAMPLES = 5
SPOILT_IN_A_ROW = 5
"""So many readings in a row that our machinery spoilt mean that there is no GPU to record any more."""
LAST_BURST_SAMPLES = 24
LAST_SUSTAINED_WINDOWS = 2


class RecordingGpu(Protocol):
    """What recording needs of a GPU; :class:`tools.harness.devices.live.LiveDevice`."""

    info: DeviceInfo

    def measure_beside(self, config: Config, reference: str, samples: int) -> tuple[Measurement, Measurement]: ...

    def measure_baselines(
        self, regime: Regime, samples: int
    ) -> Sequence[tuple[Baseline[Any], str | None, Measurement | None]]: ...

    def ceilings(self) -> dict[str, float]: ...


class Compiler(Protocol):
    """What recording needs of a compiler; :class:`tools.harness.compiling.compile_pool.LocalCompilePool`."""

    def compile_iter(
        self, spec: KernelSpec[Any, Any], problem: Problem, configs: Iterable[Config]
    ) -> Iterator[tuple[Config, CompileResult]]: ...


@dataclass(frozen=True)
class Plan:
    """What is recorded and how."""

    out: Path
    samples: int = 10
    """Readings of a config, and of the reference beside it, in each pass."""
    limit: int | None = None
    """Record so many configs, drawn at random, instead of the whole space."""
    seed: int = 0
    max_seconds: float = 3600.0
    compile_only: bool = False
    """Stop when the space is compiled: the GPU is free meanwhile, for the recording before this one, say."""

    @property
    def journal(self) -> Path:
        return self.out.with_name(self.out.name + ".partial.jsonl")


Progress = Callable[[str, int, int], None]
"""Called with what is going on, how much of it is done, and how much there is."""


class GpuLost(RuntimeError):
    """One reading after another was spoilt; one sentence for the user."""


class Recording:
    """One landscape in the making."""

    def __init__(
        self,
        spec: KernelSpec[Any, Any],
        problem: Problem,
        hardware: Hardware,
        gpu: RecordingGpu,
        compiler: Compiler,
        plan: Plan,
        progress: Progress,
    ) -> None:
        """Raises JournalError where the journal beside ``plan.out`` is another recording's."""
        self.spec, self.problem, self.hardware, self.gpu, self.compiler = spec, problem, hardware, gpu, compiler
        self.plan, self.progress = plan, progress
        self.deadline = time.monotonic() + plan.max_seconds
        space = spec.space(problem, hardware)
        self.space = len(space)
        if plan.limit is not None and plan.limit < len(space):
            kept = sorted(random.Random(f"{plan.seed} limit").sample(range(len(space)), plan.limit))
            space = [space[i] for i in kept]
        self.configs = {c.key(): c for c in space}
        self.reference = spec.baselines(problem)[0].name
        self.journal = Journal(plan.journal, self._head())
        self.started = float(self.journal.lines[0]["started"])
        self.readings: dict[tuple[str, str], dict[str, Any]] = {
            (r["set"], r["key"]): r for r in self.journal.of("reading")
        }
        self.rounds = len({r["number"] for r in self.journal.of("round")})

    def run(self) -> Landscape | None:
        """Record into ``plan.out`` and write its card beside it; ``None`` where the time was up first, or compiling was
        all that was wanted (the journal stays, and the same recording goes on from it). Raises GpuLost."""
        try:
            return self._run()
        finally:
            self.journal.close()

    def _run(self) -> Landscape | None:
        compiled = self._compile()
        if self.plan.compile_only:
            self.journal.sync()
            return None
        launchable = [k for k in self.configs if compiled[k].status == "correct"]
        done = self._pass("A", launchable) and self._pass("B", [k for k in launchable if self._sound("A", k)])
        # What our machinery spoilt is read once more; what fails again stays `infrastructure`, never a slow config.
        for which in ("A", "B"):
            spoilt = [k for k in launchable if self._status(which, k) == "infrastructure"]
            done = done and (not spoilt or self._pass(which, spoilt, again=True))
        if not done:
            self.journal.sync()
            return None
        self._last_rounds()
        landscape = self._landscape(compiled)
        write_landscape(landscape, self.plan.out)
        self.plan.out.with_name(f"{landscape.name}.md").write_text(render(landscape))
        self.journal.delete()
        return landscape

    def _head(self) -> dict[str, Any]:
        """What must be the same for a recording to go on: the machine may be another of its kind, the card may not."""
        info = self.gpu.info
        return {
            "kind": "recording",
            "kernel": self.spec.name,
            "source": self.spec.source_hash(),
            "problem": self.problem.model_dump(mode="json"),
            "device": info.model_dump(
                mode="json", include={"name", "driver", "cuda", "torch", "triton", "assembler", "power_limit_w"}
            )
            | ({"overrides": info.overrides} if info.overrides else {}),
            "configs": len(self.configs),
            "seed": self.plan.seed,
            "samples": self.plan.samples,
            "started": time.time(),
        }

    def _compile(self) -> dict[str, CompileResult]:
        """What compilation made of every config. Code that was compiled before this machine was started is in no cache
        here: it is compiled again, so that no reading waits for a compiler, and what was written down first stays."""
        known: dict[str, CompileResult] = {}
        elsewhere: set[str] = set()
        for line in self.journal.of("compile"):
            known[line["key"]] = CompileResult.model_validate(line["result"])
            if line.get("boot") != boot() and known[line["key"]].status == "correct" and not self._done(line["key"]):
                elsewhere.add(line["key"])
        missing = [c for k, c in self.configs.items() if k not in known or k in elsewhere]
        for done, (config, result) in enumerate(self.compiler.compile_iter(self.spec, self.problem, missing), 1):
            key = config.key()
            if key not in known:
                known[key] = result
                values = result.model_dump(mode="json")
                self.journal.append({"kind": "compile", "key": key, "boot": boot(), "result": values})
            self.progress("compile", done, len(missing))
        return known

    def _done(self, key: str) -> bool:
        return all((which, key) in self.readings for which in ("A", "B"))

    def _pass(self, which: SetName, keys: Sequence[str], again: bool = False) -> bool:
        """Read what is not read yet; whether it got through before the deadline. The order depends on the seed and the
        pass alone, so a recording that goes on keeps to it."""
        order = sorted(keys)
        random.Random(f"{self.plan.seed} {which}").shuffle(order)
        spoilt = 0
        for place, key in enumerate(order):
            if (which, key) in self.readings and not (again and not self.readings[which, key].get("again")):
                continue
            if time.monotonic() > self.deadline:
                return False
            if place % ROUND_EVERY == 0:
                self._round("burst", ROUND_SAMPLES)
            at = time.time() - self.started
            m, reference = self.gpu.measure_beside(self.configs[key], self.reference, self.plan.samples)
            self._keep(which, key, place, at, m, reference, again)
            spoilt = 0 if self._status(which, key) != "infrastructure" else spoilt + 1
            if spoilt == SPOILT_IN_A_ROW:
                raise GpuLost(
                    f"{spoilt} readings in a row were spoilt ({self.readings[which, key]['reason']}): see to the GPU, "
                    f"then the same command goes on from {self.plan.journal}"
                )
            self.progress(f"pass {which}", place + 1, len(order))
        return True

    def _keep(
        self, which: SetName, key: str, place: int, at: float, m: Measurement, reference: Measurement, again: bool
    ) -> None:
        line: dict[str, Any] = {"kind": "reading", "set": which, "key": key, "again": again, "status": m.status}
        if m.status == "correct" and reference.status != "correct":
            line |= {"status": "infrastructure", "reason": f"the reference failed beside it: {reference.reason}"}
        elif m.status == "correct":
            readings = reading_set(m, reference, place, at)
            line |= {"readings": readings.model_dump(mode="json", exclude_none=True)}
        else:
            line |= {"reason": m.reason}
        line |= {"error": m.error, "bound": m.bound, "seconds": m.seconds}
        self.readings[which, key] = line
        self.journal.append(line)

    def _status(self, which: SetName, key: str) -> str | None:
        line = self.readings.get((which, key))
        return line["status"] if line else None

    def _sound(self, which: SetName, key: str) -> bool:
        """Whether a second reading is worth its time: a config that crashed or hung once is known."""
        return self._status(which, key) in ("correct", "infrastructure")

    def _round(self, regime: Regime, samples: int) -> None:
        at = time.time() - self.started
        for b, missing, m in self.gpu.measure_baselines(regime, samples):
            line: dict[str, Any] = {"kind": "round", "number": self.rounds, "regime": regime, "at": round(at, 2)}
            line |= {"name": b.name, "title": b.title, "equivalent": b.equivalent}
            if m is not None and m.status == "correct":
                line |= {"samples_ms": [significant(t) for t in m.samples_ms], "joules": m.joules}
                line |= {"telemetry": m.telemetry.model_dump(mode="json") if m.telemetry else None}
            else:
                line |= {"missing": missing or (m.reason if m else "not read")}
            self.journal.append(line)
        self.rounds += 1
        self.journal.sync()

    def _last_rounds(self) -> None:
        self.progress("baselines", 0, 1)
        self._round("burst", LAST_BURST_SAMPLES)
        self._round("sustained", LAST_SUSTAINED_WINDOWS)
        self.journal.append({"kind": "ceilings", "rates": self.gpu.ceilings()})
        self.progress("baselines", 1, 1)

    def _landscape(self, compiled: dict[str, CompileResult]) -> Landscape:
        return Landscape(
            name=stem(self.plan.out),
            kernel=self.spec.name,
            source=self.spec.source_hash(),
            problem=self.problem.model_dump(mode="json"),
            label=self.problem.label(),
            device=self.gpu.info,
            regime="burst",
            reference=self.reference,
            recorded_at=datetime.fromtimestamp(self.started, UTC).isoformat(timespec="seconds"),
            seed=self.plan.seed,
            space=self.space,
            seconds=round(time.time() - self.started, 1),
            default=self._default(),
            baselines=self._baselines(),
            ceilings=self.journal.of("ceilings")[-1]["rates"],
            entries={k: self._entry(c, compiled[k]) for k, c in self.configs.items()},
        )

    def _default(self) -> dict[str, Any] | None:
        """The owner's config, if it is recorded."""
        default = self.spec.default_config(self.problem, self.hardware)
        return default.model_dump(mode="json") if default.key() in self.configs else None

    def _entry(self, config: Config, compiled: CompileResult) -> Entry:
        key = config.key()
        lines = [line for s in ("A", "B") if (line := self.readings.get((s, key)))]
        failed = next((line for line in lines if line["status"] != "correct"), None)
        errors = [line["error"] for line in lines if line["error"] is not None]
        verdict = failed or (lines[0] if lines else {"status": compiled.status, "reason": compiled.reason})
        return Entry(
            config=config.model_dump(mode="json"),
            status=verdict["status"],
            reason=verdict.get("reason", ""),
            sets={} if failed else {line["set"]: ReadingSet.model_validate(line["readings"]) for line in lines},
            compiled=compiled,
            error=max(errors, default=None),
            bound=lines[0]["bound"] if lines else None,
            compile_seconds=compiled.seconds,
            run_seconds=lines[0]["seconds"] if lines else 0.0,
        )

    def _baselines(self) -> list[BaselineReadings]:
        found: dict[str, BaselineReadings] = {}
        for line in self.journal.of("round"):
            about = {k: line[k] for k in ("name", "title", "equivalent")}
            b = found.setdefault(line["name"], BaselineReadings(**about))
            if "missing" in line:
                b.missing = line["missing"]
            else:
                b.rounds.append(Round(**{k: v for k, v in line.items() if k in Round.model_fields}))
        for b in found.values():
            b.missing = None if b.rounds else b.missing
        return list(found.values())
