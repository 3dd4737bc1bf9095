"""A run from beginning to end: open, loop, close. Starting and resuming are one path: the journal is the difference."""

from __future__ import annotations

import math
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from agent.errors import AgentError, StoppedError, UsageError
from agent.goal.early import start_processes
from agent.goal.objective import Objective, Setting
from agent.loop import progress, prompt
from agent.loop.actions import Actions, LiveActions, Verdict
from agent.loop.approval import Ask
from agent.loop.device_check import check_gpu, check_same
from agent.loop.outcome import Outcome
from agent.loop.progress import Watch
from agent.loop.safe_points import ending_at_once, stoppable
from agent.loop.state import Context
from agent.models import choose
from agent.models.apis import ApiChoice
from agent.models.base import CLIENT, EMBEDDED, ChatModel
from agent.models.embedded import MOST_BARREN
from agent.trace import provenance
from agent.trace.paths import checkpoint_path, trace_path
from agent.trace.recorded_tools import recorded
from agent.trace.trace import JSON, SCHEMA_VERSION, Journal, Record, Trace, opening_of, read_trace, says_of
from agent.verdict.judgement import EVERY_CODE, rule_of

if TYPE_CHECKING:
    from tools.harness.process.prestart import Prestart
    from tools.harness.results import CompileResult

OpenActions = Callable[[Objective, Path | None, str, Watch], Actions]
"""(objective, memory file, run id, watch) → the run's actions."""


@dataclass(frozen=True)
class Ended:
    """A finished run."""

    outcome: Outcome
    setting: Setting


def open_actions(
    objective: Objective,
    memory: Path | None,
    run_id: str,
    watch: Watch,
    warm: bool = True,
    started: Prestart | None = None,
    gpu_lock: Path | None = None,
    begun: Mapping[str, Future[CompileResult]] | None = None,
    ends_at: float = math.inf,
    alongside: Sequence[str] = (),
) -> Actions:
    """Open a session with the tools on the objective's device; unless `warm`, without what other runs know. `started`:
    processes for it that were started before. `gpu_lock`: the file by which others use the same GPU in turns.
    `begun`: compilations of its configs that others have begun, by their keys. `ends_at`: ``time.monotonic()`` when the
    run has to be over, its proofs included. `alongside`: earlier runs of the same command, which a cold run knows
    too."""
    with started or start_processes(objective.device, objective.kernel, objective.edit) as prestart:
        from tools.session.open_session import SetupError, importing, open_session

        # what the loop needs is imported meanwhile
        loading = importing("langgraph.graph") if prestart else nullcontext()
        try:
            with loading:
                session = open_session(
                    objective.kernel,
                    objective.shape,
                    dict(objective.options),
                    objective.metric,
                    objective.device,
                    regime=objective.regime,
                    memory_path=memory,
                    max_evals=objective.limits.max_evals,
                    max_seconds=objective.limits.max_seconds,
                    seed=objective.seed,
                    run_id=run_id,
                    progress=watch.notify,
                    warm=warm,
                    cold=objective.cold,
                    edit=objective.edit,
                    bitwise=objective.bitwise,
                    prestart=prestart,
                    gpu_lock=gpu_lock,
                    begun=begun,
                    ends_at=ends_at,
                    alongside=alongside,
                )
        except SetupError as e:
            raise UsageError(str(e)) from e
        except device_errors() as e:
            raise AgentError(str(e)) from e
    session.budget.reserve = prompt.reserve_for(objective)
    if gpu_lock is None:  # nobody else measures on this GPU
        session.expect_proof()
    try:
        session.memory.start_run(
            run_id,
            objective.goal,
            objective.model_dump(mode="json"),
            objective.model,
            session.ids.environment,
            session.ids.problem,
            objective.limits.model_dump(mode="json"),
            str(trace_path(run_id)),
        )
    except device_errors() as e:
        session.close()
        raise AgentError(str(e)) from e
    return LiveActions(session)


def nobody(question: JSON) -> JSON:
    """Refuse to answer: there is nobody to ask."""
    raise AgentError("The run waits for a person's approval and there is nobody to ask: resume it in a terminal.")


def load_model_of(objective: Objective, base_url: str | None, watch: Watch, api: ApiChoice | None = None) -> ChatModel:
    """The model that decides. `base_url` and `api` overrule the environment and the objective.
    `watch` is told what else is worth knowing."""
    return choose.load_model(
        objective.model,
        base_url,
        objective.endpoint,
        watch.notify,
        objective.effort,
        api or objective.api,
        objective.waiting,
    )


def begin(
    objective: Objective,
    memory: Path | None,
    base_url: str | None,
    watch: Watch,
    open_: OpenActions | None = None,
    notices: Sequence[str] = (),
    ask: Ask = nobody,
    model: ChatModel | None = None,
    run_id: str | None = None,
    started: Prestart | None = None,
) -> Ended:
    """Run an objective from its first turn. `notices` are shown after the first line, which names the device; `ask`
    answers for a person if the objective asks for approval of batches; `watch` receives the progress; `model` decides
    instead of the model that the objective names; a run id is made up if none is given. `started`: processes for
    ``open_actions``, which opens the run unless `open_` does."""
    began = time.monotonic()
    open_ = open_ or partial(open_actions, started=started)
    run_id = run_id or new_run_id()
    model = model or load_model_of(objective, base_url, watch)
    with closing(open_(objective, memory, run_id, watch)) as actions:
        check_gpu(objective, actions.setting)
        for line in (progress.describe_run(objective, actions.setting, run_id), *notices):
            watch.notify(line)
        with closing(Trace(trace_path(run_id), choose.secrets())) as trace:
            header = header_of(run_id, objective, actions, memory, base_url)
            trace.once("header", run_id, lambda: header)
            return loop(objective, actions, model, trace, run_id, watch, began, ask)


def new_run_id() -> str:
    """Such as ``20261128-170000-a1b2c3``, by the clock in UTC."""
    return datetime.now(UTC).strftime("%Y%m%d-%H%M%S-") + secrets.token_hex(3)


def resume(
    run: str,
    watch: Watch,
    open_: OpenActions = open_actions,
    base_url: str | None = None,
    ask: Ask = nobody,
    model: ChatModel | None = None,
    api: ApiChoice | None = None,
) -> Ended:
    """Continue a run that was stopped or killed, by its id or its trace: what it finished is not done again.
    `base_url`, `model` and `api` take the place of those it began with."""
    began = time.monotonic()
    path = Path(run) if run.endswith(".jsonl") else trace_path(run)
    if not path.exists():
        raise UsageError(f"There is no run {run}: its trace {path} does not exist.")
    with closing(Trace(path, choose.secrets())) as trace:
        record = read_trace(path)
        header = record.header
        objective, again, spent = objective_left(record, path)
        url = base_url or header["base_url"]
        model = model or load_model_of(objective, url, watch, api)
        memory = Path(header["memory"]) if header["memory"] else None
        with closing(open_(again, memory, header["run"], watch)) as actions:
            prepare_again(actions, trace, record, spent)
            watch.notify(f"resuming {progress.describe_run(objective, actions.setting, header['run'])}")
            return loop(objective, actions, model, trace, header["run"], watch, began - spent, ask)


def objective_left(record: Record, path: Path) -> tuple[Objective, Objective, float]:
    """The objective of a stopped run; the same with the time that is left, for the session; the seconds that it has
    spent. Raises UsageError for a run that cannot be continued."""
    header = record.header
    if record.last("end") is not None:
        raise UsageError(f"Run {header['run']} is finished: replay it with python -m agent replay {path}.")
    if record.broken is not None:
        raise UsageError(f"{path} was edited at event {record.broken}: a run goes on only from what it wrote.")
    if (header.get("parent") or {}).get("kind") == "replay":
        anew = f"python -m agent replay --live-tools {header['parent']['run']}"
        raise UsageError(f"Run {header['run']} makes another run's calls again: start it with {anew}.")
    objective = Objective.model_validate(header["objective"])
    spent = seconds_spent(record)
    left = max(1.0, objective.limits.max_seconds - (spent - seconds_of_model(record)))
    again = objective.model_copy(
        update={
            "shape": None,
            "options": header["setting"]["problem"],
            "metric": header["setting"].get("energy") or header["setting"]["metric"],
            "limits": objective.limits.model_copy(update={"max_seconds": left}),
        }
    )
    return objective, again, spent


def prepare_again(actions: Actions, trace: Trace, record: Record, spent: float) -> None:
    """Check that the session is the run's own, give it what the run inherited, and write that the run goes on."""
    check_same(Setting.model_validate(record.header["setting"]), actions.setting)
    if "parent" in record.header:
        actions.inherit(record.events)
    trace.once("resume", f"event {len(record.events)}", lambda: {"spent": round(spent, 3)})


def context_of(
    objective: Objective,
    actions: Actions,
    model: ChatModel,
    trace: Trace,
    journal: Journal,
    run_id: str,
    watch: Watch,
    began: float,
) -> Context:
    """What the loop works with. `began` is the time of ``time.monotonic()`` from which its seconds count."""
    return Context(
        objective=objective,
        model=model,
        actions=actions,
        journal=journal,
        run_id=run_id,
        trace_path=str(trace.path),
        elapsed=lambda: time.monotonic() - began,
        watch=watch,
        opening=opening_of(trace.find("model_request", "turn 0")),
        rule=rule_of(trace.header),
        says=says_of(trace.header),
    )


def loop(
    objective: Objective,
    actions: Actions,
    model: ChatModel,
    trace: Trace,
    run_id: str,
    watch: Watch,
    began: float,
    ask: Ask = nobody,
) -> Ended:
    """The graph, from its last checkpoint or its start."""
    try:
        with checkpoints(checkpoint_path(trace.path)) as connection, stoppable(trace, watch.notify) as journal:
            context = context_of(objective, actions, model, trace, journal, run_id, watch, began)
            outcome = invoke(context, connection, ask)
    except AgentError as e:
        record_interruption(actions, "error", str(e))
        raise type(e)(f"{str(e).rstrip('.')}; {describe_resume(run_id, objective, trace.header)}") from e
    except KeyboardInterrupt as e:
        record_interruption(actions, "stopped", "stopped by the user")
        raise StoppedError(f"Stopped; {describe_resume(run_id, objective, trace.header)}") from e
    checkpoint_path(trace.path).unlink(missing_ok=True)
    return Ended(Outcome.of_trace(outcome), actions.setting)


def record_interruption(actions: Actions, verdict: Verdict, why: str) -> None:
    """Record in memory how the run stopped, unless memory is what failed."""
    with suppress(*device_errors()):
        actions.finish(verdict, {"evaluations": actions.left().used, "why": why})


def describe_resume(run_id: str, objective: Objective, header: JSON) -> str:
    """How to continue the run, for the end of an error message; a run that cannot be continued is started again."""
    parent = header.get("parent") or {}
    if parent.get("kind") == "replay":
        return f"nothing of the first run is lost, to start again: python -m agent replay --live-tools {parent['run']}"
    if objective.alone:
        return "nothing that was measured is lost: the same command goes on"
    command = "tools serve --resume" if objective.model == CLIENT else "agent resume"
    return f"nothing is lost, to continue: python -m {command} {run_id}"


def invoke(context: Context, connection: sqlite3.Connection, ask: Ask = nobody) -> JSON:
    """Run the graph with a checkpoint after every node; a run that has one goes on from there. Where it is interrupted
    to have a batch approved, `ask` answers; that time is not the run's."""
    from langgraph.checkpoint.sqlite import SqliteSaver
    from langgraph.types import Command

    from agent.loop import graph

    compiled = graph.build(SqliteSaver(connection))
    config = {"configurable": {"thread_id": context.run_id}, "recursion_limit": recursion_limit(context.objective)}
    try:
        known = compiled.get_state(config).values  # makes the checkpoint's tables
        first = None if known else graph.start(context)
        final: JSON = compiled.invoke(first, config, context=context, durability="sync")
        while interrupts := final.get("__interrupt__"):
            asked = time.monotonic()
            with ending_at_once():  # nothing is under way while a person is asked
                answer = ask(interrupts[0].value)
            context.actions.excuse(time.monotonic() - asked)
            final = compiled.invoke(Command(resume=answer), config, context=context, durability="sync")
    except device_errors() as e:
        raise AgentError(f"{e}") from e
    except sqlite3.Error as e:
        if not is_checkpoint_error(e):
            raise
        where = checkpoint_path(Path(context.trace_path))
        raise AgentError(f"The checkpoint {where} cannot be written ({e}): free some space") from e
    outcome: JSON = final["outcome"]
    return outcome


def is_checkpoint_error(error: sqlite3.Error) -> bool:
    """Whether the checkpoint's file, and nothing of ours, raised it: SQLite's own errors about a file or a disk."""
    code = getattr(error, "sqlite_errorname", "") or ""
    return code.startswith(("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_BUSY"))


def device_errors() -> tuple[type[Exception], ...]:
    """Failures of what the rooms below stand on; their message is one sentence."""
    from memory.store import MemoryFileError
    from tools.harness.device import DeviceError

    return DeviceError, MemoryFileError


def recursion_limit(objective: Objective) -> int:
    """A net under the loop's own limits, which it never comes before: two nodes a turn; the turns of a language model,
    those that the planner may take for each evaluation and after the last one, and some to end."""
    limits = objective.limits
    to_measure = 2 * MOST_BARREN + 3  # propose and compile one config after another; then propose, compile, measure
    return 2 * (limits.max_model_calls + to_measure * (limits.max_evals + 1)) + 100


@contextmanager
def checkpoints(path: Path) -> Iterator[sqlite3.Connection]:
    """The run's own checkpoint file. LangGraph works from several threads, one at a time."""
    connection = sqlite3.connect(path, check_same_thread=False)
    try:
        yield connection
    finally:
        connection.close()


def header_of(run_id: str, objective: Objective, actions: Actions, memory: Path | None, base_url: str | None) -> JSON:
    """The first event: everything a reader needs to know what follows."""
    return {
        "schema_version": SCHEMA_VERSION,
        "rule": EVERY_CODE,
        "run": run_id,
        "objective": objective.model_dump(mode="json"),
        "setting": actions.setting.model_dump(mode="json"),
        "tools": [recorded(tool) for tool in actions.tools],
        "prompt": {"version": prompt.VERSION, "hash": prompt.prompt_hash()},
        "memory": str(memory.absolute()) if memory else None,
        "base_url": without_credentials(base_url),
        "versions": provenance.versions(),
        "git": provenance.git_state(),
    }


def without_credentials(url: str | None) -> str | None:
    """`url` without user, password and query, where keys are put."""
    if url is None:
        return None
    scheme, _, rest = url.partition("?")[0].partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def seconds_spent(record: Record) -> float:
    """Wall time in which the run was going; not the pauses that its ``resume`` events end."""
    times = [datetime.fromisoformat(event.at) for event in record.events]
    steps = zip(times, times[1:], record.events[1:], strict=False)
    return sum(
        (after - before).total_seconds() for before, after, event in steps if event.type not in ("resume", "fork")
    )


def seconds_of_model(record: Record) -> float:
    """Those of them in which a language model was waited for."""
    answers = [event.body for event in record.events if event.type == "model_response"]
    return sum(float(body.get("seconds", 0.0)) for body in answers if body.get("model") != EMBEDDED)
