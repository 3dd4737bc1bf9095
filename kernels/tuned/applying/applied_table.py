"""A table in use in one process: which functions it serves here, what was printed, what was counted."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

from ...capture.describing.device_closure import describe_function, python_function, triton_function
from ...standard_error import Log, StderrLog
from ..tuned_environment import environment_of, interpreted_environment
from ..tuned_table import TunedEnvironment, TunedRow, TunedTable, short
from .compiled_programs import NOTHING_COMPILED, CompiledPrograms
from .launch_matcher import Tally
from .served import one_line
from .served_launches import ServedFunction

Json = dict[str, Any]

MOST_STATES = 1024
"""Functions and decorators that are held at a time. A program may make them anew in each step, and let them go."""
_SAID: dict[tuple[str, str], set[str]] = {}
"""Lines that this process has written, by a table's name and digest."""


class NotServed:
    """A Triton function or decorator for which the table has nothing."""

    def __init__(self, owner: Any, name: str, reason: str) -> None:
        self.owner, self.name, self.reason = owner, name, reason
        self.function = chain_of(owner)[-1]
        self.decorates = self.function is not owner
        self.wrapped = False
        self.used = Tally()


class AppliedTable:
    """Answers for the launches of this process.

    `unproven`: whether rows are applied that nobody proved. `name`: of the file, for people; a line about it is written
    once in this process. `log`: where lines go. `edits`: whether rows are applied that hold edited device code, which a
    person has read."""

    def __init__(
        self,
        table: TunedTable,
        unproven: bool = False,
        name: str = "",
        log: Log | None = None,
        edits: bool = False,
    ) -> None:
        self.table, self._unproven, self._name, self._edits = table, unproven, name, edits
        edited = edits and any(row.edited for row in table.rows)
        self.digest = table.digest + ("+unproven" if unproven else "") + ("+edits" if edited else "")
        """Equal in two processes if they apply the same."""
        self._log = log or StderrLog()
        self._said = _SAID.setdefault((name, self.digest), set()) if name else set[str]()
        self._by_name: dict[str, list[TunedRow]] = {}
        for row in table.rows:
            self._by_name.setdefault(row.function.qualname, []).append(row)
        self.states: dict[int, ServedFunction | NotServed] = {}
        """By the id of what the program launches."""
        self.forget: Callable[[int], Any] = lambda key: None
        """Called with the id of what is no longer held."""
        self._let_go: tuple[dict[str, Json], dict[tuple[str, str], int]] = ({}, {})
        """What was counted of those: as in :meth:`report`."""
        self.compiled: CompiledPrograms | None = None
        """What is in code that ``torch.compile`` made; None before the table is applied."""
        self.at_first_launch: Callable[[], None] = lambda: None
        """Called when this process first launches a Triton kernel."""
        self._launched = False
        self._wrapped: set[int] = set()
        self._identities: dict[int, tuple[Any, str]] = {}
        self._lock = threading.RLock()
        for fault in table.faults.values():
            self.say(f"{fault}: it is not applied")

    def say(self, line: str, about: str = "", notice: bool = False) -> None:
        """Write a line, once in this process, however often the same file is applied. `about`: what other lines are
        about too, of which the first one is written. `notice`: whether nothing is amiss."""
        with self._lock:
            if (about or line) not in self._said:
                self._said.add(about or line)
                (self._log.info if notice else self._log.warning)("apply: %s.", line)

    def state(self, owner: Any) -> ServedFunction | NotServed:
        """What serves the launches of a Triton function, or of a decorator around one."""
        if not self.states:
            rows = "1 row" if len(self.table.rows) == 1 else f"{len(self.table.rows)} rows"
            self.say(f"{self._name or 'a table'}, {rows}, digest {short(self.digest)}", notice=True)
        with self._lock:
            if not self._launched:
                self._launched = True
                self.at_first_launch()
            found = self.states.get(id(owner))
            if found is None:
                if len(self.states) >= MOST_STATES:
                    self._let_oldest_go()
                found = self.states[id(owner)] = self._make(owner)  # holds `owner`: its id stays its own
                self._wrapped |= _inside(owner)
                for state in self.states.values():
                    state.wrapped = id(state.owner) in self._wrapped
            return found

    def _let_oldest_go(self) -> None:
        for key in list(self.states)[: MOST_STATES // 2]:
            state = self.states.pop(key)
            self.forget(key)
            _count(state, *self._let_go)
            self._identities.pop(id(triton_function(state.owner)), None)
        self._wrapped = set().union(*(_inside(s.owner) for s in self.states.values()))

    def _make(self, owner: Any) -> ServedFunction | NotServed:
        plain = python_function(owner)
        name = plain.__name__
        candidates = self._by_name.get(plain.__qualname__, ())
        named = [r for r in candidates if r.function.is_named(plain.__module__, plain.__qualname__)]
        # Of two rows for one launch the last one serves.
        named.sort(key=lambda r: r.function.module == plain.__module__)
        if not named:
            return NotServed(owner, name, "the table has no row for it")
        try:
            chain = chain_of(owner)
            identity = self.identity(chain[-1])
            rows = [r for r in named if r.function.identity == identity]
            allowed = [r for r in rows if self._unproven or r.status != "unproven"]
            if len(allowed) < len(rows):
                count = len(rows) - len(allowed)
                self.say(f"{name}: {count} unproven row{'s' * (count > 1)} not applied without --unproven")
            if not self._edits and any(r.edited for r in allowed):
                count = sum(r.edited for r in allowed)
                allowed = [r for r in allowed if not r.edited]
                which = f"{count} row{'s' * (count > 1)} with edited device code"
                self.say(f"{name}: {which} not applied: read the code, then apply with --yes")
                if not allowed:
                    return NotServed(owner, name, "its rows hold edited device code, which nobody allowed")
            if not allowed:
                reason = "its rows are unproven" if rows else "it has changed since the table was made"
                self.say(f"{name}: {reason}: it is launched as the program has it")
                return NotServed(owner, name, reason)
            function = chain[-1]
            here = interpreted_environment if not hasattr(function, "params") else _environment_of_launch
            device = None if not hasattr(function, "params") else _device_of_launch()
            return ServedFunction(chain, allowed, here, device, self.identity, self.say)
        except Exception as e:  # noqa: BLE001 -- a table must not fail the program; it is printed and counted
            reason = f"it could not be looked up ({one_line(e)})"
            self.say(f"{name}: {reason}: it is launched as the program has it")
            return NotServed(owner, name, reason)

    def identity(self, function: Any) -> str:
        """The hash of a Triton function and all that it reaches."""
        found = self._identities.get(id(function))
        if found is None:
            parts: dict[str, Json] = {}

            def keep(kind: str, body: Json) -> str:
                digest = str(len(parts))
                parts[digest] = body
                return digest

            found = self._identities[id(function)] = (
                function,
                str(parts[describe_function(function, keep)]["identity"]),
            )
        return found[1]

    def forked(self) -> None:
        """Count anew in a child process."""
        self._lock, self._launched = threading.RLock(), False
        self._let_go = ({}, {})
        for state in self.states.values():
            own = [state.used] if isinstance(state, NotServed) else [*state.used.values(), *state.missed.values()]
            for tally in own:
                tally.reset()
        if self.compiled is not None:
            self.compiled.forked()

    def report(self) -> Json:
        """What was used and what missed, as plain data."""
        with self._lock:
            states = list(self.states.values())
            used, missed = {label: dict(row) for label, row in self._let_go[0].items()}, dict(self._let_go[1])
        for state in states:
            _count(state, used, missed)
        return {
            "digest": self.digest,
            "used": [row for row in used.values() if row["launches"]],
            "missed": [{"kernel": k, "reason": r, "launches": n} for (k, r), n in missed.items() if n],
            "faults": sorted(self.table.faults.values()),
            "compiled": self.compiled.report() if self.compiled is not None else NOTHING_COMPILED,
        }


def chain_of(owner: Any) -> list[Any]:
    """The decorators of a Triton function, the outermost first, and the function itself."""
    chain = [owner]
    while hasattr(chain[-1], "configs") or hasattr(chain[-1], "values"):
        chain.append(chain[-1].fn)
    return chain


def _inside(owner: Any) -> set[int]:
    """The ids of what a decorator stands around. A program's own class may stand between it and the function."""
    return {*map(id, chain_of(owner)[1:]), id(triton_function(owner))} - {id(owner)}


def _environment_of_launch() -> TunedEnvironment:
    return environment_of(sys.modules["triton"].runtime.driver.active.get_current_device())


def _device_of_launch() -> Callable[[], Any] | None:
    """Returns the current device if the devices differ, because a row is for one of them. None if all are alike."""
    cuda = sys.modules["torch"].cuda
    if len({cuda.get_device_name(i) for i in range(cuda.device_count())}) < 2:
        return None
    active: Any = sys.modules["triton"].runtime.driver.active
    return lambda: active.get_current_device()


def _count(state: ServedFunction | NotServed, used: dict[str, Json], missed: dict[tuple[str, str], int]) -> None:
    if isinstance(state, NotServed):
        _add(missed, (state.name, state.reason), state.used.total)
        return
    for (label, status), tally in list(state.used.items()):
        row = {"row": label, "kernel": state.name, "status": status, "launches": 0}
        used.setdefault(label, row)["launches"] += tally.total
    for reason, tally in list(state.missed.items()):
        _add(missed, (state.name, reason), tally.total)


def _add(counts: dict[tuple[str, str], int], key: tuple[str, str], n: int) -> None:
    counts[key] = counts.get(key, 0) + n
