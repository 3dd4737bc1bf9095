"""Rows in programs that ``torch.compile`` compiles.

Dynamo replaces a launch of one of the program's own kernels by a node of its graph, and Inductor launches the kernel
from code that it generates. So the row is chosen while Dynamo traces: at ``TritonHOPifier.call_triton_kernel`` (torch
2.11, 2.13), where the function is still the program's and its grid still a function. Constants and launch options of
the row go in as if the program had passed them, or as the only config of its autotuner. Both are in the keys of
PyTorch's caches of compiled graphs, so code that was made with a table is never used without it.

1. ``CompiledPrograms.trace`` is called in the place of ``call_triton_kernel``.
2. ``_values`` turns what Dynamo knows of the arguments into what the table's key is made of. Nothing has an address
   yet: memory counts as aligned, as Inductor itself takes it, and an offset counts.
3. Triton compiles the row's launch once, because a config that it refuses would end the program later.

Kernels that Inductor makes are counted and left alone.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .launch_matcher import Tally
from .served import NotApplied, Served, one_line
from .served_launches import REFUSING, ServedFunction

Json = dict[str, Any]
Launch = tuple[Any, Sequence[Any], Json]
"""Kernel with its grid, positional and named arguments, all in Dynamo's terms."""

PROGRAMS, INDUCTORS = "the program", "Inductor"
"""Whose kernel compiled code launches."""
NOTHING_COMPILED: Json = {"rows": [], "left": [], "launched": []}
MADE_UP_BYTES = 1 << 40
"""Distance of the made-up addresses of two storages: no offset reaches the next."""
PASSED_ON = frozenset({"num_warps", "num_stages"})
"""Launch options of a row that Inductor passes to Triton."""


class TracedTensor:
    """A tensor that is not there yet, with an address that says what it shares memory with."""

    def __init__(self, fake: Any, storage: int) -> None:
        sizes = [*fake.shape, *fake.stride(), fake.storage_offset()]
        if not all(type(n) is int for n in sizes):
            raise NotApplied("torch.compile leaves the sizes of its tensors open (dynamic shapes)")
        self.shape, self.dtype, self.device = tuple(fake.shape), fake.dtype, fake.device
        self._stride, self._offset, self._bytes = fake.stride(), fake.storage_offset(), fake.element_size()
        self._start = (storage + 1) * MADE_UP_BYTES

    def stride(self) -> tuple[int, ...]:
        return tuple(self._stride)

    def storage_offset(self) -> int:
        return int(self._offset)

    def data_ptr(self) -> int:
        return self._start + self._offset * self._bytes

    def untyped_storage(self) -> _TracedStorage:
        return _TracedStorage(self._start)


class _TracedStorage:
    def __init__(self, start: int) -> None:
        self._start = start

    def data_ptr(self) -> int:
        return self._start

    def nbytes(self) -> int:
        return 0


class CompiledPrograms:
    """What compiled code of this process holds, and what it launched.

    `state(owner)`: what serves the launches of a Triton function or decorator. `below(function)`: Triton's own ``run``.
    `say`: prints one line, once."""

    def __init__(
        self,
        state: Callable[[Any], Any],
        below: Callable[[Any], Callable[..., Any]],
        say: Callable[[str], None],
    ) -> None:
        self._state, self._below, self._say = state, below, say
        self._inside = _Inside()
        self._rows: dict[tuple[str, str, str], None] = {}
        self._left: dict[tuple[str, str], None] = {}
        self._launched: dict[tuple[str, str], Tally] = {}
        self._adders: dict[int, tuple[Any, Callable[[], int]]] = {}

    # Tracing

    def trace(
        self, call: Callable[..., Any], hopifier: Any, variable: Any, args: Sequence[Any], kwargs: Json, tx: Any
    ) -> Any:
        """``call_triton_kernel`` with the row's config, if a row serves the launch. `call`: PyTorch's own."""
        if self._inside.depth:  # PyTorch calls itself with the decorators one by one
            return call(hopifier, variable, args, kwargs, tx)
        variable, args, kwargs = self._decided(hopifier, variable, args, kwargs, tx) or (variable, args, kwargs)
        self._inside.depth += 1
        try:
            return call(hopifier, variable, args, kwargs, tx)
        finally:
            self._inside.depth -= 1

    def _decided(self, hopifier: Any, variable: Any, args: Sequence[Any], kwargs: Json, tx: Any) -> Launch | None:
        """The launch as a row decides, None if none does."""
        state = self._state(variable.kernel)
        if not isinstance(state, ServedFunction):
            self._left[state.name, state.reason] = None
            return None
        try:
            if tx is None:
                raise NotApplied("wrap_triton puts it into a graph, where no row is put")
            if any(hasattr(d, "values") for d in state.chain[:-1]):
                raise NotApplied("it has heuristics, and no row is put into compiled code beside them")
            given, named = _values(args, kwargs)
            grid = variable.grid.realize()
            called = hopifier.is_callable(grid)
            answer = state.find(given, named, _no_grid if called else grid.as_python_constant())
            if not isinstance(answer, Served):
                self._left[state.name, answer.reason] = None  # printed by `state`
                return None
            _check(answer, grid if called else None)
            self._compile(state, answer, given, named)
            launch = _replaced(answer, variable, args, kwargs)
        except NotApplied as e:
            reason = str(e)
        except Exception as e:  # a table must not fail the program; it is printed and listed
            if "RestartAnalysis" in {c.__name__ for c in type(e).__mro__}:  # Dynamo traces the function anew
                raise
            reason = f"it could not be looked up ({one_line(e)})"
        else:
            self._rows[state.name, answer.label, answer.row.status] = None
            return launch
        self._left[state.name, reason] = None
        self._say(f"{state.name} under torch.compile: {reason}: it is compiled as the program has it")
        return None

    def _compile(self, state: ServedFunction, served: Served, args: tuple[Any, ...], kwargs: Json) -> None:
        """Raises NotApplied if Triton refuses the row's launch."""
        changed = list(args)
        for i, value in served.places:
            changed[i] = value
        tuned = served.config.all_kwargs() if served.config is not None else {}
        run = self._below(state.function)
        try:
            compiled = run(state.function, *changed, grid=(1, 1, 1), warmup=True, **{**kwargs, **served.early, **tuned})
            compiled._init_handles()  # the GPU's shared memory and registers are asked here
        except Exception as e:
            if not {c.__name__ for c in type(e).__mro__}.intersection(REFUSING):
                raise
            raise NotApplied(f"row {served.label} cannot be launched ({one_line(e)})") from e

    # Launches

    def count(self, tuner: Any) -> None:
        """Count a launch of Inductor's launcher `tuner` (``CachingAutotuner``)."""
        found = self._adders.get(id(tuner))
        if found is None or found[0]() is not tuner:
            users = getattr(getattr(tuner, "heuristic_type", None), "name", "") == "USER_AUTOTUNE"
            about = getattr(tuner, "inductor_meta", None) or {}
            name = about.get("kernel_name") or getattr(getattr(tuner, "fn", None), "__name__", "?")
            tally = self._launched.setdefault((str(name), PROGRAMS if users else INDUCTORS), Tally())
            found = self._adders[id(tuner)] = (weakref.ref(tuner), tally.add)
        found[1]()

    def forked(self) -> None:
        """Count anew in a child process."""
        for tally in self._launched.values():
            tally.reset()

    def report(self) -> Json:
        """What is in compiled code, and what it launched, as plain data."""
        launched = [
            {"kernel": name, "whose": whose, "launches": tally.total}
            for (name, whose), tally in list(self._launched.items())
        ]
        return {
            "rows": [{"kernel": k, "row": row, "status": status} for k, row, status in self._rows],
            "left": [{"kernel": k, "reason": reason} for k, reason in self._left],
            "launched": [one for one in launched if one["launches"]],
        }


class _Inside(threading.local):
    depth = 0
    """Whether this thread is in PyTorch's ``call_triton_kernel``."""


def _no_grid(meta: Mapping[str, Any]) -> tuple[int, ...]:
    """Stands for the program's grid function, which only Dynamo can call."""
    raise NotApplied("the grid function is Dynamo's to call")


def _values(args: Sequence[Any], kwargs: Json) -> tuple[tuple[Any, ...], Json]:
    """The arguments as values: constants as they are, tensors as :class:`TracedTensor`."""
    storages: dict[int, int] = {}

    def value(tracker: Any) -> Any:
        tracker = tracker.realize()
        if tracker.is_python_constant():
            return tracker.as_python_constant()
        fake = tracker.as_proxy().node.meta.get("example_value")
        if hasattr(fake, "untyped_storage") and not hasattr(fake, "__tensor_flatten__"):
            return TracedTensor(fake, storages.setdefault(fake.untyped_storage()._cdata, len(storages)))
        if hasattr(fake, "node"):
            raise NotApplied("torch.compile leaves one of its numbers open (dynamic shapes)")
        raise NotApplied(f"torch.compile passes an argument of another kind ({type(tracker).__name__})")

    return tuple(value(a) for a in args), {n: value(v) for n, v in kwargs.items()}


def _check(served: Served, grid: Any) -> None:
    """Raises NotApplied if the row needs what cannot be done while Dynamo traces. `grid`: the program's grid function
    as Dynamo knows it, None if the grid is given as numbers."""
    if served.variant is not None:
        raise NotApplied(f"row {served.label} holds edited device code, which is not put into compiled code")
    foreign = sorted(served.decision.options.keys() - PASSED_ON)
    if foreign:
        raise NotApplied(f"row {served.label} sets {foreign[0]}, which torch.compile does not pass on")
    unread = served.moved - set(grid.get_code().co_consts if grid is not None else ())
    if unread:
        raise NotApplied(f"row {served.label} changes {min(unread)}, which the grid function does not read")


def _replaced(served: Served, variable: Any, args: Sequence[Any], kwargs: Json) -> Launch:
    """The launch as the row decides."""
    from torch._dynamo.variables import ConstantVariable

    changed = list(args)
    for i, value in served.places:
        changed[i] = ConstantVariable.create(value)
    named = {**kwargs, **{n: ConstantVariable.create(v) for n, v in served.early.items()}}
    if served.config is not None:
        import triton

        one = triton.autotune([served.config], key=[])(variable.kernel.fn)
        variable = type(variable)(kernel=one, kernel_idx=None, grid=variable.grid)
    return variable, changed, named
