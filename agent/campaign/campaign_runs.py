"""A campaign from its first run to its last. What is finished is in the runs' traces: the campaign itself keeps no
state, and one that was killed goes through the same decisions again until it comes to a run that is not finished."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agent.campaign.plan import Campaign, Job, problem_of
from agent.campaign.schedule import Standing, next_job
from agent.errors import UsageError
from agent.goal.request import about_model
from agent.loop.outcome import Outcome
from agent.loop.progress import Watch
from agent.loop.run import begin, resume
from agent.trace.paths import trace_path
from agent.trace.trace import read_trace
from kernels.hardware import hardware_named
from tools.harness.device import DeviceError
from tools.harness.measuring.floor import floor_ms
from tools.harness.open_device import check_device

SHORTEST_S = 10.0
"""Seconds that a run is given at least."""


def conduct(
    campaign: Campaign, memory: Path | None, watch: Watch, after: Callable[[list[Standing]], None]
) -> list[Standing]:
    """Run until the budget is spent or nothing is to be gained; `after` sees the standings after every run.

    Raises AgentError where a run cannot go on; the same call continues it."""
    standings = [Standing(job, floor_of(job)) for job in campaign.jobs()]
    while True:
        evaluations = campaign.max_evals - sum(o.evaluations for s in standings for o in s.outcomes)
        seconds = campaign.max_seconds - sum(o.seconds for s in standings for o in s.outcomes)
        chosen = next_job(standings)
        if chosen is None or evaluations < 1 or seconds <= 0:
            return standings
        number = len(chosen.outcomes) + 1
        known = finished(chosen.job.run_id(number))
        if known is None:
            why = refusal(chosen.job.device)
            if why:
                leave_out(standings, chosen.job.device, why, watch)
                continue
            place = f"problem {standings.index(chosen) + 1} of {len(standings)}"
            watch.notify(
                f"{place}, {chosen.job.label}: run {number}, {chosen.gain_ms():.3f} ms a forward pass to be gained"
            )
        try:
            outcome = known or run(chosen.job, number, min(campaign.slice, evaluations), seconds, memory, watch)
        except UsageError as e:
            chosen.failed = str(e)
            watch.notify(f"{chosen.job.label}: left out: {e}")
            continue
        chosen.outcomes.append(outcome)
        after(standings)


def run(job: Job, number: int, evaluations: int, seconds: float, memory: Path | None, watch: Watch) -> Outcome:
    """The job's next run, begun or continued."""
    run_id = job.run_id(number)
    path = trace_path(run_id)
    if path.exists() and path.stat().st_size:
        return resume(run_id, watch).outcome
    objective = job.objective(evaluations, max(SHORTEST_S, seconds))
    notices = [f"note: {notice}" for notice in about_model(objective)]
    return begin(objective, memory, None, watch, notices=notices, run_id=run_id).outcome


def refusal(device: str) -> str:
    """Why no problem can be tuned on `device`; empty if one can."""
    try:
        check_device(device)
    except DeviceError as e:
        return str(e)
    return ""


def leave_out(standings: list[Standing], device: str, why: str, watch: Watch) -> None:
    """Mark every problem of a device that cannot be used, and print it once. If no problem is left, the error that ends
    the campaign gives the reason instead."""
    left_out = [s for s in standings if s.job.device == device]
    for standing in left_out:
        standing.failed = why
    if not all(s.failed and not s.outcomes for s in standings):
        more = f" and {len(left_out) - 1} more" if len(left_out) > 1 else ""
        watch.notify(f"{left_out[0].job.label}{more}: left out: {why}")


def finished(run_id: str) -> Outcome | None:
    """The outcome of a run that came to its end."""
    path = trace_path(run_id)
    if not path.exists() or not path.stat().st_size:
        return None
    end = read_trace(path).last("end")
    return None if end is None else Outcome.of_trace(end)


def floor_of(job: Job) -> float:
    """The roofline's least time on an H200, ms: before the device is known, only the order of the problems counts."""
    spec, problem = problem_of(job.layer)
    return floor_ms(spec, problem, hardware_named("H200"))[0]
