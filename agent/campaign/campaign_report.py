"""What a campaign is worth: time saved in a forward pass against PyTorch, from the runs' own proofs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from agent.campaign.plan import Campaign, fields_of
from agent.campaign.schedule import Standing
from agent.loop.outcome import Outcome


class Row(BaseModel):
    """One problem on one device."""

    model_config = ConfigDict(extra="forbid")

    name: str
    problem: str
    kernel: str
    fields: dict[str, Any]
    """The problem's fields; empty where no run was made."""
    count: int
    device: str
    device_kind: str
    status: str
    """``proven``, ``unproven``, ``not run`` or ``failed``."""
    why: str
    config: dict[str, Any] | None = None
    ms: float | None = None
    pytorch_ms: float | None = None
    """PyTorch's fastest way, in the same sitting."""
    against: str | None = None
    """That way's name; ``pytorch_ms``, ``speedup`` and ``saved_ms`` are over it."""
    speedup: float | None = None
    ci: tuple[float, float] | None = None
    share_of_roofline: float | None = None
    saved_ms: float = 0.0
    """Of a forward pass, all calls together, against PyTorch's fastest way; 0 where nothing is proven: PyTorch stays in
    use there."""
    saved_ci_ms: tuple[float, float] = (0.0, 0.0)
    evaluations: int = 0
    seconds: float = 0.0
    runs: list[str] = []


class Report(BaseModel):
    """What ``--json`` prints."""

    model_config = ConfigDict(extra="forbid")

    campaign: str
    regime: str
    complete: bool
    """Whether every problem has a run."""
    recorded: bool
    """Whether any time was looked up instead of measured."""
    rows: list[Row]
    pytorch_ms: dict[str, float]
    """Forward pass through these problems with PyTorch, by device."""
    saved_ms: dict[str, float]
    saved_ci_ms: dict[str, tuple[float, float]]
    """Sums of the problems' 95 % interval ends: wider than a 95 % interval of the sum."""
    evaluations: int
    seconds: float

    @property
    def proven(self) -> bool:
        return any(row.status == "proven" for row in self.rows)

    def describe_savings(self, device: str) -> str:
        """The sums of `device`."""
        before, saved, (low, high) = self.pytorch_ms[device], self.saved_ms[device], self.saved_ci_ms[device]
        return f"{saved:.3f} ms [{low:.3f}, {high:.3f}] of PyTorch's {before:.3f} ms saved ({saved / before:.1%})"


def report_of(campaign: Campaign, standings: Sequence[Standing]) -> Report:
    """From the outcomes of the runs."""
    rows = sorted((row_of(s) for s in standings), key=lambda r: -r.saved_ms)
    timed = [r for r in rows if r.pytorch_ms is not None]
    devices = list(dict.fromkeys(r.device for r in timed))

    def total(device: str, value: Any) -> float:
        return float(sum(value(r) for r in timed if r.device == device))

    return Report(
        campaign=campaign.name,
        regime=campaign.regime,
        complete=all(s.outcomes for s in standings),
        recorded=any(r.device_kind == "recorded" for r in rows),
        rows=rows,
        pytorch_ms={d: total(d, lambda r: r.count * r.pytorch_ms) for d in devices},
        saved_ms={d: total(d, lambda r: r.saved_ms) for d in devices},
        saved_ci_ms={d: (total(d, lambda r: r.saved_ci_ms[0]), total(d, lambda r: r.saved_ci_ms[1])) for d in devices},
        evaluations=sum(r.evaluations for r in rows),
        seconds=round(sum(r.seconds for r in rows), 1),
    )


def row_of(standing: Standing) -> Row:
    layer, outcomes, proof = standing.job.layer, standing.outcomes, standing.proof
    about: dict[str, Any] = {
        "name": layer.name,
        "problem": standing.job.label,
        "kernel": layer.kernel,
        "fields": {},
        "count": layer.count,
        "device": str(outcomes[-1].device.get("name")) if outcomes else standing.job.device,
        "device_kind": str(outcomes[-1].device.get("kind")) if outcomes else "",
        "evaluations": sum(o.evaluations for o in outcomes),
        "seconds": sum(o.seconds for o in outcomes),
        "runs": [o.run for o in outcomes],
    }
    if standing.failed and not outcomes:
        return Row(**about, status="failed", why=standing.failed)
    if not outcomes:
        return Row(**about, status="not run", why="the budget was spent on problems with more to gain")
    if proof is None or proof.best is None:
        return Row(**about, status="unproven", why=outcomes[-1].why)
    about["fields"] = fields_of(standing.job)
    judged = proof.judge_again()
    timed = [b for b in proof.baselines if b.equivalent and b.ms is not None]
    deciding = [b for b in timed if judged.against is not None and b.name == judged.against.name]
    rival = min(deciding or timed, key=lambda b: b.ms or 0.0, default=None)
    row = Row(
        **about,
        status="proven" if judged.proven else "unproven",
        why=describe_verdict(proof, outcomes[-1]),
        config=proof.best.config,
        ms=proof.best.ms,
        share_of_roofline=proof.best.share_of_roofline,
    )
    if rival is None or rival.ms is None or rival.speedup is None or rival.ci is None:
        return row
    update = {"pytorch_ms": rival.ms, "against": rival.name, "speedup": rival.speedup, "ci": rival.ci}
    row = row.model_copy(update=update)
    if not judged.proven:
        return row
    saved, low, high = (layer.count * rival.ms * (1 - 1 / s) for s in (rival.speedup, *rival.ci))
    return row.model_copy(update={"saved_ms": saved, "saved_ci_ms": (low, high)})


def describe_verdict(proof: Outcome, latest: Outcome) -> str:
    """The verdict that counts, the latest run's if that is another, and a better proof of an earlier run."""
    said = proof.why
    if latest is not proof:
        said += (
            f"; kept from run {proof.run}, the latest ended {'proven' if latest.proven else 'unproven'}: {latest.why}"
        )
    better = proof.earlier
    return said if better is None else f"{said}; better: {better.describe()}"


def render(report: Report) -> str:
    """For a terminal."""
    lines = [f"campaign   {report.campaign}, {report.regime} regime"]
    if not report.complete:
        lines.append("           not every problem has a run")
    if report.recorded:
        lines.append("           recorded: times were looked up, no GPU was used")
    lines.append("")
    reasons: list[str] = []
    lines.append(f"  {'saved ms':>9} {'calls':>6} {'PyTorch ms':>11} {'tuned ms':>9}  speed-up")
    for row in report.rows:
        title = f"{row.name}: {row.problem}" if row.name else row.problem
        if row.ms is None:
            lines.append(f"  {'-':>9} {row.count:>6} {'-':>11} {'-':>9}  {row.status:<20}  {title}")
            reasons.append(f"{row.name or row.problem}: {row.why}")
            continue
        there = "-" if row.pytorch_ms is None else f"{row.pytorch_ms:.4f}"
        speed = "not timed" if row.speedup is None or row.ci is None else _speed(row.speedup, row.ci)
        over = f" over {row.against}" if row.against else ""
        note = "" if row.status == "proven" else " not proven: PyTorch stays"
        lines.append(f"  {row.saved_ms:>9.3f} {row.count:>6} {there:>11} {row.ms:>9.4f}  {speed}{over}{note}  {title}")
        if row.status != "proven" or ";" in row.why:
            reasons.append(f"{row.name or row.problem}: {row.why}")
    lines += ["", *reasons] if reasons else []
    lines.append("")
    for device in report.pytorch_ms:
        lines.append(f"forward    {device}: {report.describe_savings(device)}, these problems alone")
    lines.append(f"search     {report.evaluations} evaluations, {report.seconds:.0f} s")
    return "\n".join(lines)


def tuned(report: Report) -> dict[str, Any]:
    """The fastest config of every problem, as ``kernels.ops.use`` reads it."""
    return {
        "campaign": report.campaign,
        "rows": [
            {
                "kernel": row.kernel,
                "problem": row.problem,
                "fields": row.fields,
                "device": row.device,
                "status": "correct",
                "proven": row.status == "proven",
                "verdict": row.why,
                "against": row.against,
                "speedup": row.speedup,
                "ci": row.ci,
                "config": row.config,
                "ms": row.ms,
            }
            for row in report.rows
            if row.config is not None
        ],
    }


def _speed(speedup: float, ci: tuple[float, float]) -> str:
    return f"{speedup:.3f}x [{ci[0]:.3f}, {ci[1]:.3f}]"
