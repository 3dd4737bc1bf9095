"""Runs of agents on landscapes, in parallel: the referees are in this process, every agent is in its own.

Each run is forked from a server that has imported what agents need and has never read a landscape. Runs start quickly
and share nothing, so that no run learns from another.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

from agent.loop.safe_points import interrupts_go_to
from agent.models.waiting import waiting_of
from evals.agents import registry
from evals.contest.agent_pipe import Misuse, Pipe
from evals.contest.answers import answer
from evals.contest.briefing import Briefing
from evals.contest.disguise import disguise
from evals.contest.ledger import MOST_DOLLARS, MOST_TOKENS, RULES, Ledger, Over, Referee, library_versions
from evals.errors import Missing
from evals.variables import variables
from tools.harness.landscapes.files import stem
from tools.harness.landscapes.named import folder
from tools.harness.landscapes.readings import Landscape

SILENCE_S = 120.0
"""Seconds without a request after which the run of an agent without a language model is ended."""
MODEL_SILENCE_S = 1800.0
REFUSALS = 10
"""Requests that are refused after the end of a run before its process is ended."""
SAME_EVERYWHERE = {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Environment of the agents' processes, so that scores are the same bytes each time."""


@dataclass(frozen=True)
class Job:
    """A run to make."""

    agent: str
    landscape: Landscape
    source: str
    variant: str
    seed: int
    max_evals: int


@dataclass
class _Run:
    """A run under way."""

    job: Job
    referee: Referee
    process: Any
    pipe: Pipe
    last_message: float = field(default_factory=time.monotonic)
    late: bool = False
    """Whether it has sent nothing for too long."""
    disguised: bool = False
    refused: int = 0


class MakeReferee(Protocol):
    """Makes a run's referee; :class:`Referee` itself does for recorded landscapes."""

    def __call__(self, landscape: Landscape, ledger: Ledger, names: dict[str, str] | None) -> Referee: ...


def run_jobs(
    jobs: Sequence[Job],
    workers: int,
    done: Callable[[Ledger], None],
    make_referee: MakeReferee = Referee,
    hidden: Sequence[Path] = (),
) -> None:
    """Make every run and call `done` with each finished ledger. No agent may open the files in `hidden`, which hold
    what other runs have found, or the landscapes. Raises Missing if an agent's library, file or model
    endpoint is missing: such a run has no score."""
    with variables(SAME_EVERYWHERE):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(registry.preload(sorted({j.agent for j in jobs})))
        with deaf_to_interrupts():
            forkserver.ensure_running()
        waiting = list(jobs)[::-1]
        running: list[_Run] = []
        try:
            while waiting or running:
                while waiting and len(running) < workers:
                    running.append(_start(context, waiting.pop(), make_referee, hidden))
                for run in _ready(running):
                    if _serve(run):
                        running.remove(run)
                        _stop(run)
                        done(run.referee.ledger)
        except KeyboardInterrupt:
            end_forkserver()
            raise
        finally:
            for run in running:
                _stop(run)


def deaf_to_interrupts() -> AbstractContextManager[None]:
    """Processes that are started meanwhile, and theirs, do not hear Ctrl-C, which a terminal sends to all of them: this
    process ends them, and their tracebacks would be of no use."""
    return interrupts_go_to(signal.SIG_IGN)


def end_forkserver() -> None:
    """End the server that agents are forked from. Left alone it ends by itself, after the seconds of its imports."""
    pid = getattr(forkserver._forkserver, "_forkserver_pid", None)
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _start(context: Any, job: Job, make_referee: MakeReferee, hidden: Sequence[Path]) -> _Run:
    briefing, names = disguise(job.landscape, job.variant, job.seed)
    x = job.landscape
    ledger = Ledger(job.agent, x.name, job.source, x.file, job.variant, job.seed, job.max_evals, rules=RULES)
    ledger.versions = library_versions()
    ours, theirs = context.Pipe()
    forbidden = [str(folder()), *map(str, hidden)]
    if os.path.isfile(job.source):
        source = Path(os.path.realpath(job.source))
        forbidden += [str(source), str(source.with_name(f"{stem(source)}.md"))]  # its card names the best config
    # The server may be older than these variables.
    models = {k: v for k, v in os.environ.items() if k.startswith(("OPENAI_", "AUTOKERNEL_"))}
    process = context.Process(
        target=_play, args=(job.agent, briefing, job.seed, job.max_evals, forbidden, theirs, models)
    )
    process.daemon = True
    process.start()
    theirs.close()
    return _Run(job, make_referee(job.landscape, ledger, names), process, Pipe(ours), disguised=names is not None)


def _play(
    agent: str,
    briefing: Briefing,
    seed: int,
    max_evals: int,
    forbidden: list[str],
    referee: Connection,
    models: dict[str, str],
) -> None:
    from evals.contest.player_process import play

    os.environ.update(models)

    play(agent, briefing, seed, max_evals, forbidden, referee)


def _ready(running: Sequence[_Run]) -> list[_Run]:
    """Runs that have sent something, ended, or run out of time."""
    # A process that an agent forked keeps the pipe open after the agent's own has ended.
    waiting = any(run.pipe.waits() for run in running)
    answered = wait([x for run in running for x in (run.pipe.connection, run.process.sentinel)], 0 if waiting else 1.0)
    found = []
    for run in running:
        if run.pipe.waits() or run.pipe.connection in answered or run.process.sentinel in answered:
            found.append(run)
        elif time.monotonic() - run.last_message > _patience(run.job.agent):
            run.late = True
            found.append(run)
    return found


def _patience(agent: str) -> float:
    if not agent.startswith(registry.MODEL):
        return SILENCE_S
    limits = waiting_of()
    return max(MODEL_SILENCE_S, limits.attempt_seconds + limits.patience_seconds)


def _serve(run: _Run) -> bool:
    """Answer one message. Returns whether the run is over."""
    ledger = run.referee.ledger
    if run.late:
        ledger.end, ledger.why = "deadline", f"it sent nothing for {_patience(ledger.agent):.0f} s"
        return True
    ended = not run.process.is_alive()  # before the pipe is read: what it sent last is in there
    try:
        data = run.pipe.receive()
        if data is None:
            if (ended or run.pipe.closed) and ledger.end == "concluded":
                ledger.end, ledger.why = "crashed", "its process ended without a message"
            return ended or run.pipe.closed
        run.last_message = time.monotonic()
        match json.loads(data):
            case ["foul", str(event), str(place)]:
                ledger.end, ledger.why = "foul", f"it reached for {place} ({event})"
                return True
            case ["end", str(how), {**rest}]:
                _finish(ledger, how, rest)
                return True
            case message:
                reply = answer(run.referee, run.disguised, message)
    except Misuse as e:
        ledger.end, ledger.why = "foul", str(e)
        return True
    except (ValueError, RecursionError):
        ledger.end, ledger.why = "foul", "it sent what is no request"
        return True
    except Over as e:
        ledger.why, reply = str(e), {"over": str(e)}
        run.refused += 1
        if run.refused > REFUSALS:
            return True
    try:
        run.pipe.send(json.dumps(reply).encode())
    except Misuse as e:
        ledger.end, ledger.why = "foul", str(e)
        return True
    except OSError:
        return False  # it has ended meanwhile; the next message reports how
    return False


def _finish(ledger: Ledger, how: str, rest: dict[Any, Any]) -> None:
    """Raises ValueError if these are no last words of an agent's process: the ledger holds what it can be read with."""
    match rest:
        case {"why": str(why), "tokens": int(tokens), "dollars": float(dollars), "claim": str() | None as claim}:
            pass
        case _:
            raise ValueError("no last words")
    if isinstance(tokens, bool) or not (0 <= tokens <= MOST_TOKENS and 0 <= dollars <= MOST_DOLLARS):
        raise ValueError("no counts")
    if how == "missing":
        raise Missing(why if ledger.agent in why else f"{ledger.agent}: {why}")
    ledger.tokens, ledger.dollars, ledger.claim = tokens, dollars, claim
    transcript = rest.get("transcript")
    ledger.transcript = transcript if isinstance(transcript, str) else None
    if how == "crashed":
        ledger.end, ledger.why = "crashed", why


def _stop(run: _Run) -> None:
    run.pipe.connection.close()
    if run.process.is_alive():
        run.process.join(0.2)
    # What the agent started belongs to its group (evals/contest/player_process.py) and would outlive it.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(run.process.pid, signal.SIGKILL)
    if run.process.is_alive():
        run.process.kill()
    run.process.join()
