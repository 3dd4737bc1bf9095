"""The agent's own loop on a game, with any model: ``--agents embedded`` and ``--agents model:NAME``."""

from __future__ import annotations

import base64
import gzip
import os
import tempfile
from pathlib import Path

from agent.errors import AgentError
from agent.goal.objective import Limits, Objective
from agent.loop.run import begin
from agent.models.base import EMBEDDED
from agent.models.choose import api_name
from agent.models.effort import read_effort
from agent.models.endpoint.faults import Outage
from agent.models.waiting import waiting_of
from agent.trace.paths import trace_folder
from agent.trace.trace import read_trace
from evals.agents.game_session import MAX_SECONDS, open_game_session
from evals.contest.game import Game
from evals.errors import Missing

MAX_MODEL_CALLS = 2000
"""Of a language model: more than any run needs, so that evaluations are what ends it."""
MOST_TRANSCRIPT = 3 << 20
"""Characters of a transcript: a run of a hundred turns has a tenth of them."""
IN_MEMORY = Path("/dev/shm")
"""Where Linux keeps files in memory: what goes with the run waits for no disk."""


def run(game: Game, model: str) -> None:
    """Over, the referee's last word, ends the loop wherever it stands. Memory and trace live in a folder that goes with
    the run: no run learns from another."""
    from agent.loop.actions import Actions, LiveActions
    from agent.loop.progress import Watch

    where = IN_MEMORY if os.access(IN_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="autokernel-eval-", dir=where) as folder:
        os.environ["XDG_DATA_HOME"] = folder

        def open_(objective: Objective, memory: Path | None, run_id: str, watch: Watch) -> Actions:
            session = open_game_session(game, run_id, Path(folder) / "memory.db")
            session.memory.start_run(
                run_id, objective.goal, objective.model_dump(mode="json"), objective.model,
                session.ids.environment, session.ids.problem, objective.limits.model_dump(mode="json"), "",
            )  # fmt: skip
            return LiveActions(session)

        objective = Objective(
            goal="find the fastest config",
            kernel=game.briefing.kernel or game.briefing.name,
            device="recorded",
            model=model,
            effort=read_effort(None),
            waiting=waiting_of(),
            api=api_name(None, model),
            alone=True,
            seed=game.seed,
            limits=Limits(
                max_evals=game.max_evals,
                max_seconds=MAX_SECONDS,
                max_model_calls=MAX_MODEL_CALLS,
            ),
        )
        try:
            ended = begin(objective, None, os.environ.get("OPENAI_BASE_URL"), Watch(), open_=open_)
            game.claim = ended.outcome.best.config if ended.outcome.best else None
        except AgentError as e:
            raise unplayable(e, began=bool(game.seen)) from e
        finally:
            game.tokens, game.dollars = spent(trace_folder())
            if model != EMBEDDED:
                game.transcript = transcript_in(trace_folder())


def unplayable(error: AgentError, began: bool) -> Exception:
    """An endpoint that gives no answers says nothing about its model: there is no run to score, and the same command
    makes it later. What a model that did answer then did wrong is its own end."""
    cause = error.__cause__ if isinstance(error.__cause__, AgentError) else error  # without how to resume: it is gone
    return Missing(str(cause)) if isinstance(cause, Outage) or not began else cause


def spent(traces: Path) -> tuple[int, float]:
    """Tokens and US dollars of the model's answers in the traces."""
    events = [e for path in traces.glob("*.jsonl") for e in read_trace(path).events if e.type == "model_response"]
    return sum(int(e.body["tokens"]) for e in events), sum(float(e.body.get("cost", 0.0)) for e in events)


def transcript_in(traces: Path) -> str | None:
    """The trace of the run, gzipped and base64; ``None`` if there is none, or it is longer than a message may be."""
    found = sorted(traces.glob("*.jsonl"))
    text = base64.b64encode(gzip.compress(found[-1].read_bytes(), mtime=0)).decode() if found else ""
    return text if 0 < len(text) <= MOST_TRANSCRIPT else None
