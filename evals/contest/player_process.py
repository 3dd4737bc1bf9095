"""An agent's own process. It holds the briefing and a pipe, never the landscape, and may not open landscape files.

An audit hook, which Python code cannot remove, refuses to open them, whether the agent meant to or not. It is no
sandbox against native code; the disguised variants show what such an agent knows beforehand.
"""

from __future__ import annotations

import ctypes
import inspect
import os
import signal
import sys
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from operator import index
from typing import Any, SupportsIndex

from evals.agents import registry
from evals.contest.briefing import Briefing
from evals.contest.game import Game, send
from evals.contest.ledger import MOST_DOLLARS, MOST_TOKENS, Over
from evals.errors import Missing

PR_SET_PDEATHSIG = 1
LONGEST_WHY = 500
"""Characters of an error's message, and of a claim."""
WATCHED = {
    "open", "os.listdir", "os.scandir", "os.link", "os.symlink", "os.rename", "os.chdir", "shutil.copyfile",
    "shutil.copytree", "shutil.move", "sqlite3.connect", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.system",
}  # fmt: skip
"""Audit events whose arguments are searched for the landscapes' places."""


def play(agent: str, briefing: Briefing, seed: int, max_evals: int, forbidden: list[str], referee: Connection) -> None:
    """Run `agent` once. The last message is ``("end", how, {...})``."""
    os.setpgid(0, 0)  # the referee ends what the agent starts, too
    end_with_parent()
    os.dup2(2, 1)  # what an agent prints is no part of the command's result
    forbid(forbidden, referee)
    game = Game(briefing, seed, max_evals, referee)
    how, why = "concluded", ""
    try:
        require_none_left(registry.load(agent)(game))
    except Over as e:
        how, why = "over", str(e)
    except Missing as e:
        how, why = "missing", str(e)
    except BaseException as e:  # noqa: BLE001 -- an agent's error ends its run and is reported
        how, why = "crashed", describe(e)
    try:
        rest = {"why": why, **totals(game)}
    except Exception as e:  # noqa: BLE001 -- the agent's own objects raise what they like
        how, rest = "crashed", {"why": why or describe(e), "tokens": 0, "dollars": 0.0, "claim": None}
    with suppress(OSError):  # the referee has gone: it says why
        send(referee, "end", how, rest)
    with suppress(Exception):  # the agent may have closed it
        sys.stdout.flush()
    os._exit(0)  # an agent's threads and exit handlers are its own


def end_with_parent() -> None:
    """Have Linux kill this process when the server that forked it ends, as after a SIGKILL of the command: nobody else
    would end an agent that never asks."""
    server: Any = forkserver._forkserver
    alive, server._forkserver_alive_fd = getattr(server, "_forkserver_alive_fd", None), None
    if alive is not None:
        os.close(alive)  # the server stays as long as somebody holds it
    with suppress(AttributeError):  # other systems have no prctl
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def require_none_left(returned: object) -> None:
    """Raises TypeError for an agent none of which has run."""
    if inspect.iscoroutine(returned) or inspect.isgenerator(returned) or inspect.isasyncgen(returned):
        if inspect.iscoroutine(returned):
            returned.close()  # it would warn that nobody awaited it
        raise TypeError("search(game) is a generator or a coroutine and did not run: write a function without yield")


def totals(game: Game) -> dict[str, Any]:
    """What the agent counted and claims. Raises ValueError for counts that are none."""
    tokens, dollars = game.tokens, game.dollars
    if not isinstance(tokens, SupportsIndex) or not 0 <= index(tokens) <= MOST_TOKENS:
        raise ValueError("game.tokens must be a whole number of tokens")
    if not isinstance(dollars, int | float) or not 0 <= dollars <= MOST_DOLLARS:
        raise ValueError("game.dollars must be a number of dollars")
    found = {"tokens": index(tokens), "dollars": float(dollars), "claim": shorten(game.claim)}
    return found if game.transcript is None else {**found, "transcript": str(game.transcript)}


def describe(error: BaseException) -> str:
    """The error's type and the first line of its message."""
    if isinstance(error, SystemExit):
        return "it called sys.exit instead of returning"
    try:
        message = (str(error).splitlines() or [""])[0]
    except Exception:  # noqa: BLE001 -- an agent's error may have no text
        message = "its message cannot be read"
    return f"{type(error).__name__}: {message}"[:LONGEST_WHY].removesuffix(": ")


def forbid(forbidden: list[str], referee: Connection) -> None:
    """Notify the referee and refuse if a watched event names one of these places."""
    places = [os.path.realpath(p) for p in forbidden]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in WATCHED:
            return
        for text in paths_in(arguments):
            path = os.path.realpath(text) if event != "os.system" else text
            if any(path == place or path.startswith(place + os.sep) or place in text for place in places):
                send(referee, "foul", event, path)
                raise PermissionError(f"{path} holds what this run is to find out")

    sys.addaudithook(hook)


def paths_in(arguments: Any) -> list[str]:
    """Every path or word in an audit event's arguments."""
    if isinstance(arguments, bytes | os.PathLike):
        return [os.fsdecode(arguments)]
    if isinstance(arguments, str):
        return [arguments]
    return [t for a in arguments for t in paths_in(a)] if isinstance(arguments, list | tuple) else []


def shorten(claim: Any) -> str | None:
    return None if claim is None else str(claim)[:LONGEST_WHY]
