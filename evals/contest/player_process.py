"""An agent's own process. It holds the briefing and a pipe, never the landscape, and may not open landscape files.

An audit hook, which Python code cannot remove, refuses to open them, whether the agent meant to or not. It is no
sandbox against native code; the disguised variants show what such an agent knows beforehand.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from evals.agents import registry
from evals.contest.briefing import Briefing
from evals.contest.game import Game, send
from evals.contest.ledger import Over
from evals.errors import Missing

WATCHED = {
    "open", "os.listdir", "os.scandir", "os.link", "os.symlink", "os.rename", "os.chdir", "shutil.copyfile",
    "shutil.copytree", "shutil.move", "sqlite3.connect", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.system",
}  # fmt: skip
"""Audit events whose arguments are searched for the landscapes' places."""


def play(agent: str, briefing: Briefing, seed: int, max_evals: int, forbidden: list[str], referee: Connection) -> None:
    """Run `agent` once. The last message is ``("end", how, {...})``."""
    forbid(forbidden, referee)
    game = Game(briefing, seed, max_evals, referee)
    how, why = "concluded", ""
    try:
        registry.load(agent)(game)
    except Over as e:
        how, why = "over", str(e)
    except Missing as e:
        how, why = "missing", str(e)
    except Exception as e:  # noqa: BLE001 -- an agent's error ends its run and is reported
        how, why = "crashed", f"{type(e).__name__}: {e}".splitlines()[0]
    rest = {"why": why, "tokens": int(game.tokens), "dollars": float(game.dollars), "claim": shorten(game.claim)}
    rest |= {"transcript": game.transcript} if game.transcript is not None else {}
    with suppress(OSError):  # the referee has gone: it says why
        send(referee, "end", how, rest)
        sys.stdout.flush()
    os._exit(0)  # an agent's threads and exit handlers are its own


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
    return None if claim is None else str(claim)[:500]
