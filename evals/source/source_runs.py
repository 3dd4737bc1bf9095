"""One run of a player on a source task, on a GPU, and what the referee finds of what it claims.

The run is the agent's own, with edits, judged over the owner's code tuned alone. If it claims something (a variant that
is proven faster), the harness proves the variant once more, in a new session, on a shape that the run has not seen: the
variant must be right there, and not slower than the owner's code.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from agent.errors import AgentError
from agent.goal.objective import Limits, Objective
from agent.loop.actions import Actions, LiveActions
from agent.loop.outcome import Outcome
from agent.loop.progress import Watch
from agent.loop.run import begin
from agent.models.base import EMBEDDED, ChatModel
from agent.models.choose import api_name
from agent.models.effort import read_effort
from agent.models.waiting import waiting_of
from agent.trace.paths import trace_folder
from evals.agents.loop import spent
from evals.source.source_tasks import ALL, slow_kernel
from evals.variables import variables
from memory.shared_models import Closed
from tools.harness.process.prestart import Prestart

if TYPE_CHECKING:
    from tools.session.session import Session

KNOWN = "known"
"""The player that sends the known form of each task, and what each trap tempts to."""
OWNER = "owner"
"""The baseline: the owner's code at the best of its configs."""
EVALUATIONS = 60
SLOWER = 0.95
"""A claim is wrong if the whole interval of its speed-up on the other shape lies below this."""


class SourceRun(Closed):
    """What came of it. Times are those of the final sitting, in ms."""

    task: str
    player: str
    owner_ms: float | None = None
    """The owner's code, tuned."""
    ms: float | None = None
    speedup: float | None = None
    """Over the owner's code tuned, of the best config, whether it is a variant or not."""
    ci: tuple[float, float] | None = None
    floor_ms: float | None = None
    """The roofline's least time."""
    claimed: bool = False
    """Whether a variant was proven faster."""
    config: dict[str, object] = Field(default_factory=dict)
    why: str = ""
    """What the verdict of the run rests on, or why there is none."""
    edits: int = 0
    """Variants that were sent."""
    sent: tuple[str, ...] = ()
    """What became of each: its status before it was measured, with the reason, and its best time."""
    elsewhere: tuple[int, ...] = ()
    """The other shape."""
    elsewhere_speedup: float | None = None
    elsewhere_ci: tuple[float, float] | None = None
    wrong: str = ""
    """What is wrong with the claim; empty for none."""
    unplayed: str = ""
    """Why there is no run to score: our own machinery, or an endpoint that did not answer."""
    seconds: float = 0.0
    """Until the verdict of the run."""
    whole_seconds: float = 0.0
    """Of the run's process: its start, the run, and the proof on the other shape."""
    device: dict[str, object] = Field(default_factory=dict)
    """The GPU, its driver and the versions: a ``DeviceInfo``."""
    tokens: int = 0
    dollars: float = 0.0


@dataclass(frozen=True)
class Place:
    """Where runs are played."""

    device: str
    """``cuda:N``."""
    lock: Path | None = None
    """The file by which runs side by side take turns on the GPU."""
    seconds: float = 60.0
    """Of a run's search."""
    base_url: str | None = None
    """The models' server."""
    seed: int = 0
    compilers: int | None = None
    """Of a run at most; ``None``: one per core."""
    folder: Path | None = None
    """Of runs' temporary files; ``None``: the system's."""
    paths: tuple[str, ...] = ()
    """Where a run's process looks for a user's own model after all other folders. It does not search the current folder
    by itself."""

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Place:
        """A place from its fields as JSON."""
        files = {name: Path(values[name]) for name in ("lock", "folder") if values[name] is not None}
        return cls(**{**values, **files, "paths": tuple(values["paths"])})


def player(init: Mapping[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """What the process of a run serves: a task and a player as JSON, and the run as JSON for an answer."""

    def serve(job: dict[str, Any]) -> dict[str, Any]:
        place = Place.read(job["place"])
        sys.path += [folder for folder in place.paths if folder not in sys.path]
        return play(job["task"], job["player"], place).model_dump(mode="json")

    return serve


def play(task: str, player: str, place: Place) -> SourceRun:
    """Let `player` (``known``, ``embedded`` or a model's name) work on a task, and examine what it claims."""
    with (
        tempfile.TemporaryDirectory(prefix="autokernel-source-", dir=place.folder) as folder,
        variables({"XDG_DATA_HOME": folder}),
    ):
        memory = Path(folder) / "memory.db"
        objective = Objective(
            goal="find the fastest device code",
            kernel=ALL[task],
            device=place.device,
            model=EMBEDDED if player == KNOWN else player,
            effort=read_effort(None),
            waiting=waiting_of(),
            api=api_name(None, player),
            against=(OWNER,),
            edit=True,
            cold=True,
            alone=True,
            seed=place.seed,
            limits=Limits(max_evals=EVALUATIONS, max_seconds=place.seconds, max_finalists=2),
        )

        def open_(asked: Objective, path: Path | None, run_id: str, watch: Watch) -> Actions:
            with Prestart.of(asked.device, asked.edit, place.compilers) as prestart:
                return LiveActions(opened(task, None, memory, place, run_id, prestart))

        try:
            ended = begin(objective, memory, place.base_url, Watch(), open_, model=_model(task, player))
            tokens, dollars = spent(trace_folder())
            run = described(task, player, ended.outcome).model_copy(
                update={
                    "floor_ms": ended.setting.floor_ms,
                    "device": ended.setting.device,
                    "tokens": tokens,
                    "dollars": dollars,
                    "edits": len(sent := _sent(memory)),
                    "sent": sent,
                }
            )
            return confirmed(run, memory, place) if run.claimed else run
        except (AgentError, ValueError, RuntimeError) as e:
            return SourceRun(task=task, player=player, unplayed=" ".join(str(e).split())[:300])


def described(task: str, player: str, outcome: Outcome) -> SourceRun:
    """A run by its outcome."""
    run = SourceRun(task=task, player=player, why=outcome.why, seconds=outcome.seconds)
    if outcome.best is None:
        return run.model_copy(update={"unplayed": outcome.why if outcome.infrastructure else ""})
    owner = next((b for b in outcome.baselines if b.name == OWNER), None)
    edited = bool(outcome.best.config.get("edit"))
    return run.model_copy(
        update={
            "owner_ms": owner.ms if owner else None,
            "ms": outcome.best.ms,
            "speedup": owner.speedup if owner else None,
            "ci": owner.ci if owner else None,
            "claimed": outcome.proven and edited,
            "config": outcome.best.config,
        }
    )


def confirmed(run: SourceRun, memory: Path, place: Place) -> SourceRun:
    """The run with what the harness finds of its claim on the task's other shape."""
    shape = slow_kernel(run.task).elsewhere
    session = opened(run.task, shape, memory, place, "referee")
    try:
        proof = session.prove(session.config(dict(run.config)))
    finally:
        session.close()
    if proof.status == "infrastructure":
        return run.model_copy(update={"elsewhere": shape, "unplayed": proof.reason})
    if proof.status != "correct":
        return run.model_copy(update={"elsewhere": shape, "wrong": f"{proof.status}: {proof.reason}"})
    over = next((c for c in proof.comparisons if c.name == OWNER), None)
    ratio, ci = (over.speedup, over.ci) if over is not None else (None, None)
    slower = ci is not None and ci[1] < SLOWER
    wrong = f"{ratio:.2f}x of the owner's speed at {'x'.join(map(str, shape))}" if slower else ""
    return run.model_copy(update={"elsewhere": shape, "elsewhere_speedup": ratio, "elsewhere_ci": ci, "wrong": wrong})


def opened(
    task: str, shape: tuple[int, ...] | None, memory: Path, place: Place, run_id: str, prestart: Prestart | None = None
) -> Session:
    """A session with edits on a task's kernel, at its own shape or another. Raises SetupError."""
    from tools.session.open_session import open_session

    session = open_session(
        ALL[task], shape, {}, None, place.device, regime="burst", memory_path=memory, max_evals=EVALUATIONS,
        max_seconds=place.seconds, seed=place.seed, run_id=run_id, progress=lambda line: None, warm=False, cold=True,
        prestart=prestart, edit=True, gpu_lock=place.lock,
    )  # fmt: skip
    session.memory.start_run(run_id, "", {}, run_id, session.ids.environment, session.ids.problem, {}, "")
    return session


def _model(task: str, player: str) -> ChatModel | None:
    """``None``: the one that the objective names."""
    if player != KNOWN:
        return None
    from evals.source.form_sender import FormSender

    return FormSender.of_task(task)


def _sent(memory: Path) -> tuple[str, ...]:
    """What became of each variant, in the order in which they were sent."""
    from memory.store import Memory

    opened = Memory.open(memory)
    try:
        rows = opened.ask(
            "SELECT v.verdict AS verdict, v.why AS why, min(a.ms) AS ms, count(a.id) AS tried FROM variants v "
            "LEFT JOIN configs c ON v.hash <> '' AND json_extract(c.config, '$.edit') LIKE v.hash || '%' "
            "LEFT JOIN attempts a ON a.config_id = c.id AND a.kind = 'benchmark' GROUP BY v.id ORDER BY v.id"
        )
    finally:
        opened.close()
    return tuple(_became(row) for row in rows)


def _became(row: Mapping[str, Any]) -> str:
    if row["verdict"] != "correct":
        return f"{row['verdict']}: {row['why']}"[:300]
    if row["ms"] is not None:
        return f"correct, {row['ms']:.4f} ms"
    return "correct, none of its configs gave a time" if row["tried"] else "correct, not measured: the time was up"
