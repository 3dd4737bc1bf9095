"""Counts a process's launches and describes the first launch of each key.

A repeated launch costs one key and one addition. Counts reach the file as increments, first after a second, later at
longer intervals, and at the process's end; what a process that is killed counted since the last time is lost.
Recording never fails a program: what cannot be described is listed with the reason, a file that cannot be written is
reported once.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable
from contextlib import nullcontext
from typing import Any

from ..compiled.compiled_launch import remember
from ..standard_error import Log, StderrLog
from ..tuned.compiler_variables import uses_torch_assembler
from .capture_file import append, line_of
from .describing.device_closure import describe_function, python_function
from .describing.first_launch import Before, describe_launch, look_after, look_before
from .describing.launch_grid import Probe, grid_numbers, one_line
from .describing.surroundings import describe_process
from .seen_launches import Entry, FunctionState

Json = dict[str, Any]

MOST_LAUNCHES = 512
"""Distinct launches of one function that are described; more are counted."""
MOST_FUNCTIONS = 1024
"""Functions that are held at a time."""
FIRST_FLUSH_S, LONGEST_FLUSH_S = 1.0, 60.0


class Recorder:
    """Records into the file at `path`. `values`: ``no``, ``summary`` or ``whole``."""

    def __init__(self, path: str, values: str = "summary", log: Log | None = None) -> None:
        """`log`: where a line goes for whoever runs the program."""
        self.path, self.values, self._log = path, values, log or StderrLog()
        self._lock = threading.RLock()
        self._local = threading.local()
        self._begin()

    def _begin(self) -> None:
        self._functions: dict[int, FunctionState] = {}
        self._sent: set[str] = set()
        self._unseen: Counter[tuple[str, str]] = Counter()
        self._interval = FIRST_FLUSH_S
        self._next_flush = time.monotonic() + self._interval
        self._process: str | None = None
        self._broken: str | None = None

    def forked(self) -> None:
        """Start anew in a child process: what the parent counted is the parent's."""
        self._lock = threading.RLock()
        self._local = threading.local()
        self._begin()

    # What the hooks call

    @property
    def stack(self) -> list[Any]:
        """Autotuners and heuristics whose ``run`` this thread is in, the outermost first."""
        try:
            return self._local.stack
        except AttributeError:
            self._local.stack, self._local.passed = [], []
            self._local.inside = self._local.benching = 0
            return self._local.stack

    @property
    def passed(self) -> list[Json]:
        """What each of these was passed by name."""
        self.stack  # noqa: B018 -- makes this thread's state
        passed: list[Json] = self._local.passed
        return passed

    @property
    def inside(self) -> bool:
        """Whether this thread is in a launch that is recorded already."""
        return bool(self.stack is not None and self._local.inside)

    @property
    def benching(self) -> bool:
        """Whether this thread is in a benchmark of the autotuner."""
        return bool(self.stack is not None and self._local.benching)

    def enter(self, benching: bool = False) -> None:
        self.stack  # noqa: B018 -- makes this thread's state
        self._local.inside += 1
        self._local.benching += benching

    def leave(self, benching: bool = False) -> None:
        self._local.inside -= 1
        self._local.benching -= benching

    def list_unseen(self, reason: str, name: str, count: int = 1) -> None:
        """Count a launch that is not recorded, with the reason."""
        with self._lock:
            self._unseen[reason, name] += count
        self._flush_in_time()

    def launch(
        self, run: Callable[..., Any], function: Any, args: Any, grid: Any, kwargs: Json, repeatable: bool = True
    ) -> Any:
        """``run(function, *args, grid=grid, warmup=False, **kwargs)``, recorded. `repeatable`: whether the program may
        repeat this launch by the launcher of what it returns."""
        stack = self.stack
        chain = stack if stack and python_function(stack[-1]) is python_function(function) else []
        if stack and not chain:
            return self._apart("a launch from a hook or a heuristic", run, function, args, grid, kwargs)
        state = before = probe = pre = None
        try:
            state = self._functions.get(id(function)) or self._state(function)
            pre = state.maker.key(args, kwargs)
            if callable(grid):
                probe = Probe(grid)
            else:
                pre = (pre, grid_numbers(grid))
        except Exception as e:  # noqa: BLE001 -- recording must not fail the program; it is listed
            return self._apart(_undescribed(e), run, function, args, grid, kwargs)
        likely = state.known.get(pre)
        if likely is None:
            if pre in state.refused:
                return self._apart(state.refused[pre], run, function, args, grid, kwargs)
            try:
                before = self._before(state, args, kwargs)
            except Exception as e:  # noqa: BLE001 -- recording must not fail the program; it is listed
                state.refused[pre] = _undescribed(e)
                return self._apart(_undescribed(e), run, function, args, grid, kwargs)
        timing = likely.timer.begin(args, kwargs) if likely is not None and likely.timer.left else None
        local = self._local
        local.inside += 1
        try:
            with before.stores.watch() if before is not None and before.stores is not None else nullcontext():
                result = run(function, *args, grid=probe or grid, warmup=False, **kwargs)
        except BaseException as e:
            self.list_unseen(f"the launch raised {_raised(e)}", state.name)
            raise
        finally:
            local.inside -= 1
        try:
            if timing is not None:
                timing.end()
            if repeatable and not chain and result is not None:
                remember(function, result, args, grid, kwargs)
            key = pre if probe is None else (pre, probe.came_out)
            entry = likely if probe is None and likely is not None else state.entries.get(key)
            if timing is not None and likely is not None and entry is not likely:
                likely.timer.pending.remove(timing)  # the grid came out otherwise: another launch was timed
            if entry is None:
                entry = self._first(state, chain, args, grid, kwargs, pre, key, probe, before, result)
            if entry is not None:
                with self._lock:
                    entry.count += 1
            if likely is None:
                self.flush()  # a program that this launch crashes has it in the file
            elif time.monotonic() > self._next_flush:
                self._flush_in_time()
        except Exception as e:  # noqa: BLE001 -- recording must not fail the program; it is listed
            state.refused[pre] = _undescribed(e)
            self.list_unseen(_undescribed(e), state.name)
        return result

    def _state(self, function: Any) -> FunctionState:
        """Of a function that is new here. Of a program that defines functions anew in each step, which would go as soon
        as it has launched them, the oldest ones are let go."""
        state = FunctionState(function)
        with self._lock:
            if len(self._functions) >= MOST_FUNCTIONS:
                self.flush()
                for key in list(self._functions)[: MOST_FUNCTIONS // 2]:
                    del self._functions[key]
            return self._functions.setdefault(id(function), state)

    def _apart(self, reason: str, run: Callable[..., Any], function: Any, args: Any, grid: Any, kwargs: Json) -> Any:
        self.list_unseen(reason, _name(function))
        return self._inside(run, function, args, grid, kwargs)

    def _inside(self, run: Callable[..., Any], function: Any, args: Any, grid: Any, kwargs: Json) -> Any:
        self.enter()
        try:
            return run(function, *args, grid=grid, warmup=False, **kwargs)
        finally:
            self.leave()

    # The first launch of a key

    def _before(self, state: FunctionState, args: Any, kwargs: Json) -> Before | None:
        if len(state.entries) >= MOST_LAUNCHES:
            return None
        self.enter()  # PyTorch may launch Triton kernels of its own for what is asked here
        try:
            return look_before(state.function, state.maker, args, kwargs, self.values, self._keep)
        finally:
            self.leave()

    def _first(
        self,
        state: FunctionState,
        chain: list[Any],
        args: Any,
        grid: Any,
        kwargs: Json,
        pre: Hashable,
        key: Hashable,
        probe: Probe | None,
        before: Before | None,
        result: Any,
    ) -> Entry | None:
        with self._lock:
            if len(state.entries) >= MOST_LAUNCHES:
                self._unseen[f"over {MOST_LAUNCHES} distinct launches of the function", state.name] += 1
                return None
        if before is None:  # a grid that was not seen before, of arguments that were
            before = self._before(state, args, kwargs)
            if before is None:
                return None
            before.is_late()
        self.enter()
        try:
            if state.digest is None:
                state.digest = describe_function(state.function, self._keep)
            passed = self.passed[0] if chain else {}
            body = describe_launch(state.function, state.maker, chain, passed, grid, kwargs, probe, before, self._keep)
            digest, line = line_of("launch", {"name": state.name, "function": state.digest, **body})
            observed = {"launch": digest, **look_after(state.maker.names, before, result)}
            self._write(self._process_part(), line, line_of("observed", observed)[1])
        finally:
            self.leave()
        entry = Entry(digest)
        with self._lock:
            entry = state.known[pre] = state.entries.setdefault(key, entry)  # another thread may have been first
            state.notice_varying(args, kwargs)
        return entry

    # The file

    def _keep(self, kind: str, body: Json) -> str:
        digest, line = line_of(kind, body)
        if digest not in self._sent:
            self._sent.add(digest)
            self._write(line)
        return digest

    def _process_part(self) -> bytes:
        if self._process is not None:
            return b""
        self._process, line = line_of("process", describe_process())
        return line

    def note(self, text: str) -> None:
        """A sentence for the user, printed by ``capture`` and ``captures show``."""
        self._keep("note", {"text": text})

    def _write(self, *lines: bytes) -> None:
        if self._broken is not None:
            return
        try:
            append(self.path, b"".join(lines))
        except OSError as e:
            self._broken = e.strerror or str(e)
            self._log.warning(
                "capture: %s cannot be written (%s): launches of process %d from here on are not captured; the program "
                "goes on.",
                self.path,
                self._broken,
                os.getpid(),
            )

    def _flush_in_time(self) -> None:
        if time.monotonic() > self._next_flush:
            self._interval = min(self._interval * 1.5, LONGEST_FLUSH_S)
            self.flush()

    def flush(self) -> None:
        """Write what was counted since the last time."""
        with self._lock:
            self._next_flush = time.monotonic() + self._interval
            entries = [e for s in [*self._functions.values()] for e in s.entries.values() if e.count or e.timer.pending]
            counts: dict[str, int] = {}
            times: dict[str, list[float]] = {}
            for e in entries:
                if e.count:
                    counts[e.digest] = counts.get(e.digest, 0) + e.count
                    e.count = 0
                if read := e.timer.read():
                    times.setdefault(e.digest, []).extend(read)
            unseen, self._unseen = self._unseen, Counter()
            if not (counts or times or unseen):
                return
            first = self._process_part()
            made = {"process": self._process, "launches": counts, "ms": times, "at": time.time()}
            if uses_torch_assembler():
                made["torch_assembler"] = True
            parts = [line_of("counts", made)[1]]
            if unseen:
                rows = [[reason, name, n] for (reason, name), n in unseen.items()]
                parts.append(line_of("unseen", {"process": self._process, "launches": rows, "at": time.time()})[1])
            self._write(first, *parts)


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", None) or getattr(python_function(function), "__name__", function))


def _raised(error: BaseException) -> str:
    """An error of the program's launch. Triton's interpreter holds the kernel's own as the cause."""
    cause = error.__cause__
    return f"{type(error).__name__} ({one_line(cause)})" if cause is not None else one_line(error)


def _undescribed(error: BaseException) -> str:
    return f"it could not be described ({one_line(error)})"
