"""The result of a run as a Python object: what was found, against what, and how far it is proven."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from agent.goal.target_verdict import TargetResult
    from agent.loop.run import Ended
    from agent.verdict.earlier_proof import Earlier
    from agent.verdict.speedup import Speedup
    from memory.proofs.rule import Word


@dataclass(frozen=True)
class Result:
    """What :func:`agent.optimise` found. Times are those of the final sitting."""

    config: dict[str, Any] | None
    """The best config; ``None`` if none could be timed in the final sitting."""
    ms: float | None
    """Per launch."""
    ci_ms: tuple[float, float] | None
    """95 % interval of ``ms``."""
    tflops: float | None
    """TFLOP/s."""
    value: float | None
    """In ``unit``."""
    unit: str
    share_of_roofline: float | None
    joules: float | None
    """Per launch; ``None`` if the sitting read no energy."""
    speedups: tuple[Speedup, ...]
    """Over each baseline; a win is proven by those that are ``equivalent``."""
    status: Literal["proven", "unproven", "infrastructure"]
    """``infrastructure``: our own machinery failed in the final sitting, and nothing is said of the config."""
    verdict: Word | None
    """``proven``, ``level`` (with ``against``), ``slower`` (than ``against``) or ``unknown``."""
    against: str | None
    """The baseline that decided: the strongest one of a win, else the one that was not beaten."""
    why: str
    """What the verdict rests on, or what it lacks."""
    earlier: Earlier | None
    """The best proof of an earlier run, if this run's is worse."""
    kernel: str
    problem: dict[str, Any]
    device: str
    recorded: bool
    """Whether times were looked up in a landscape instead of measured here."""
    evaluations: int
    seconds: float
    targets: tuple[TargetResult, ...]
    """The goal's targets, judged by the final sitting; a win that misses them stays proven."""
    notices: tuple[str, ...]
    """What you should know of how the goal was read."""
    run: str
    trace: Path
    report: str
    """The lines that the command line prints."""
    outcome: str
    """All of it as the command line's ``--json`` prints it."""

    @classmethod
    def of(cls, ended: Ended) -> Result:
        """The result of a finished run."""
        from agent.loop.outcome import render, replay_command

        outcome, setting, best = ended.outcome, ended.setting, ended.outcome.best
        return cls(
            config=dict(best.config) if best else None,
            ms=best.ms if best else None,
            ci_ms=best.ci_ms if best else None,
            tflops=best.tflops if best else None,
            value=best.value if best else None,
            unit=setting.unit,
            share_of_roofline=best.share_of_roofline if best else None,
            joules=best.joules if best else None,
            speedups=tuple(outcome.baselines),
            status="infrastructure" if outcome.infrastructure else "proven" if outcome.proven else "unproven",
            verdict=outcome.verdict,
            against=outcome.against,
            why=outcome.why,
            earlier=outcome.earlier,
            kernel=setting.kernel,
            problem=dict(setting.problem),
            device=str(setting.device.get("name")),
            recorded=setting.recorded,
            evaluations=outcome.evaluations,
            seconds=outcome.seconds,
            targets=tuple(outcome.targets),
            notices=tuple(outcome.notices),
            run=outcome.run,
            trace=Path(outcome.trace),
            report=render(outcome, setting, replay_command(outcome.trace)),
            outcome=outcome.model_dump_json(),
        )

    @property
    def proven(self) -> bool:
        """Whether the config is faster (saves joules, where the goal is energy) than every equivalent baseline that
        counts, by the whole interval of each ratio."""
        return self.status == "proven"

    def as_triton_config(self) -> Any:
        """The config as a ``triton.Config``, with the owner's ``pre_hook`` if the kernel was autotuned with one. Raises
        ValueError if there is none."""
        import triton

        from kernels.launches.owner_decorator import owner_hook
        from kernels.registry import get
        from memory.formats.triton_configs import split

        meta, launch = split(self._found())
        owner = getattr(get(self._kernel()), "kernel", None)
        return triton.Config(meta, **launch, pre_hook=None if owner is None else owner_hook(owner, self._found()))

    def triton_config(self) -> str:
        """``triton.Config({…}, num_warps=8, …)`` as a line of Python."""
        from agent.export.owner_line import config_line

        return config_line(self._kernel(), self._found())

    def decorator(self) -> str:
        """``@triton.autotune(configs=[…], key=[…])`` as a line of Python, with the owner's key and hooks if the kernel
        was autotuned."""
        from agent.export.owner_line import decorator_line

        return decorator_line(self._kernel(), self._found(), self.problem)

    def to_json(self) -> str:
        """One JSON object, as ``python -m agent --json`` prints it."""
        return self.outcome

    def _kernel(self) -> str:
        name: str = json.loads(self.outcome)["objective"]["kernel"]  # `path.py:NAME` of a kernel that is not registered
        return name

    def _found(self) -> dict[str, Any]:
        if self.config is None:
            raise ValueError(f"The run found no config ({self.why}).")
        return self.config

    def __str__(self) -> str:
        return self.report

    def _repr_html_(self) -> str:
        """For notebooks: verdict, config, times."""
        colour = "#1a7f37" if self.proven else "#9a6700"
        rows = [("problem", self.report_line("problem")), ("device", self.report_line("device"))]
        if self.config is not None and self.ms is not None:
            rows += [("config", self.triton_config()), ("time", self.report_line("time"))]
            rows += [("ceiling" if not s.equivalent else "speed-up", f"{s} ({s.title})") for s in self.speedups]
            if self.share_of_roofline is not None:
                rows.append(("roofline", f"{self.share_of_roofline:.1%}"))
        rows += [("target", target.describe()) for target in self.targets]
        rows += [("note", notice) for notice in self.notices]
        rows += [("search", self.report_line("search")), ("trace", str(self.trace))]
        cells = "".join(
            f"<tr><th style='text-align:left'>{name}</th><td style='text-align:left'>{html.escape(text)}</td></tr>"
            for name, text in rows
        )
        verdict = f"<b style='color:{colour}'>{self.status.upper()}</b> {html.escape(self.why)}"
        return f"<div>{verdict}<table>{cells}</table></div>"

    def report_line(self, name: str) -> str:
        """The text of the report's line `name`, such as ``time``; empty if the report has no such line."""
        found = (line for line in self.report.splitlines() if line.startswith(f"{name} "))
        return next(found, name).removeprefix(name).strip()
