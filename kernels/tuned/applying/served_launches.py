"""Which row serves the launches of one function, and how a launch is made as the row decides."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from types import FunctionType
from typing import Any

from ...capture.describing.captured_arguments import Storages, describe_argument
from ...capture.describing.decorators import describe_chain, describe_options, set_by_heuristics
from ...capture.describing.device_closure import python_function
from ...capture.describing.first_launch import bound_arguments
from ...capture.describing.launch_grid import grid_numbers
from ...capture.seen_launches import FunctionState
from ...compiled.compiled_launch import KeptKernel, compiled_launch, on_stream
from ..key import key_of, names_set, varying
from ..tuned_table import Decision, TunedEnvironment, TunedRow
from .between_rows import RowIndex
from .launch_matcher import LaunchMatcher, Tally
from .served import FollowedGrid, NoRow, NotApplied, Served, Unserved, describe_miss, one_line
from .served_variant import ServedVariant

Json = dict[str, Any]

MOST_MISSES = 16
"""Distinct keys without a row that are printed and counted one by one, for each function."""
PLAIN = (bool, int, float, str, type(None))
FURTHER = "no row for further keys"
REFUSING = ("OutOfResources", "CompilationError", "CompileTimeAssertionFailure", "PTXASError", "InterpreterError")
"""Errors by which Triton refuses a config before the kernel runs. ``InterpreterError`` comes while it runs."""


class ServedFunction:
    """A Triton function, or a decorator around one, for which the table has rows.

    `here`: the environment of a launch. `device`: the number of its GPU, None if all GPUs are alike. `identity`: the
    hash of a Triton function. `say`: ``AppliedTable.say``."""

    def __init__(
        self,
        chain: Sequence[Any],
        rows: Sequence[TunedRow],
        here: Callable[[], TunedEnvironment],
        device: Callable[[], Any] | None,
        identity: Callable[[Any], str],
        say: Callable[..., None],
    ) -> None:
        self.chain, self.owner, self.function = tuple(chain), chain[0], chain[-1]
        self.decorates = len(self.chain) > 1
        self.wrapped = False
        """Whether a decorator may launch it, whose launches are decided already."""
        self.name = python_function(self.function).__name__
        self.tuners = [d for d in chain[:-1] if hasattr(d, "configs")]
        self._decorators = describe_chain(chain[:-1])
        self._set = names_set(self._decorators)
        self._here, self._identity, self._say = here, identity, say
        maker = FunctionState(self.function).maker
        self.names, self.constexprs = maker.names, maker.constexprs
        masks = sorted({varying(r.key) for r in rows}, key=lambda m: (len(m), sorted(m)))
        self._masks = masks
        free = frozenset.intersection(*masks) if masks else frozenset()
        environments = {r.environment for r in rows}
        self._indexes = {e: RowIndex([r for r in rows if r.environment == e]) for e in environments}
        self.used: dict[tuple[str, str], Tally] = {}
        """Launches by (row's label, row's status)."""
        self.missed: dict[str, Tally] = {}
        """Launches by reason."""
        self._lost = 0
        self._ranges = ranges_of([r.key for r in rows])
        matcher = LaunchMatcher(self.names, self.constexprs, free, device, self.find, self._failed)
        self.matcher, self.answer = matcher, matcher.answer
        self._benchmarked: set[Any] = set()

    # Which row

    def find(self, args: tuple[Any, ...], kwargs: Json, grid: Any) -> Served | Unserved:
        """What serves a launch, by the table's key. The launches themselves ask :meth:`answer`."""
        if self._lost >= MOST_MISSES and self._is_outside(args, kwargs):
            return self._unserved(FURTHER)
        try:
            return self._serve(args, kwargs, grid)
        except NoRow as e:
            self._lost += 1
            if self._lost > MOST_MISSES:
                return self._unserved(FURTHER)
            if self._lost == 1:
                more = "Further keys are counted, not printed: capture and improve such launches to have rows for them"
                about = f"{python_function(self.function).__module__}.{self.name}: no row"
                self._say(f"{self.name}: {e}: it is launched as the program has it. {more}", about)
            return self._unserved(str(e))
        except NotApplied as e:
            reason = str(e)
        except Exception as e:  # noqa: BLE001 -- a table must not fail the program; it is printed and counted
            return self._failed(e)
        self._say(f"{self.name}: {reason}: it is launched as the program has it")
        return self._unserved(reason)

    def _failed(self, error: Exception) -> Unserved:
        reason = f"it could not be looked up ({one_line(error)})"
        self._say(f"{self.name}: {reason}: it is launched as the program has it")
        return self._unserved(reason)

    def _is_outside(self, args: tuple[Any, ...], kwargs: Json) -> bool:
        """Whether a whole number is outside those of all rows, so that no row can serve. A program may pass numbers
        that never come again, and a look-up takes a hundred microseconds."""
        given = {**dict(zip(self.names, args, strict=False)), **kwargs}
        return any(type(given.get(n)) is int and not low <= given[n] <= high for n, (low, high) in self._ranges.items())

    def _unserved(self, reason: str) -> Unserved:
        return Unserved(reason, self.missed.setdefault(reason, Tally()))

    def _serve(self, args: tuple[Any, ...], kwargs: Json, grid: Any) -> Served | Unserved:
        here = self._here()
        index = self._indexes.get(here)
        if index is None:
            raise NotApplied(f"its rows are for {min(map(str, self._indexes))}, and this is {here}")
        keys = self._keys(args, kwargs, grid)
        for key in keys:
            row = index.exact(key)
            if row is not None:
                if row.decision is None:
                    return self._unserved(f"row {row.name}: it leaves the launch as the program has it")
                return self._prepared(row, row.name, row.decision, args, kwargs, grid)
        for key in keys:
            between = index.between(key)
            if between is not None:
                low, high, decision = between
                if decision is None:
                    return self._unserved(f"rows {low.name} and {high.name}: nothing is proven in both")
                return self._prepared(low, f"{low.name}-{high.name}", decision, args, kwargs, grid)
        raise NoRow(describe_miss(keys[0], index.rows))

    def _keys(self, args: tuple[Any, ...], kwargs: Json, grid: Any) -> list[Json]:
        storages = Storages()
        bound = bound_arguments(self.function, args, kwargs)
        described = {n: describe_argument(n, v, storages, self._identity) for n, v in bound.items()}
        for name in self.constexprs & described.keys():
            described[name]["constexpr"] = True
        options = describe_options(kwargs, bound)
        numbers = None if callable(grid) else grid_numbers(grid)
        passed = set_by_heuristics(self._decorators) & kwargs.keys()
        keys = []
        for mask in self._masks:
            masked = {n: {**a, "varies": True} if n in mask else a for n, a in described.items()}
            keys.append(key_of(masked, options, numbers, self._decorators, lambda identity: identity, passed))
        return keys

    # What the row needs

    def _prepared(
        self, row: TunedRow, label: str, decision: Decision, args: tuple[Any, ...], kwargs: Json, grid: Any
    ) -> Served:
        tuned = {n for t in self.tuners for c in t.configs for n in c.kwargs}
        foreign = sorted(set(decision.constexprs) - self.constexprs)
        if foreign:
            raise NotApplied(f"row {label} sets {foreign[0]}, which is no compile-time constant of the function")
        if len(self.tuners) > 1:
            raise NotApplied("it has two autotuners")
        if self.tuners and tuned - decision.constexprs.keys():
            raise NotApplied(f"row {label} leaves out {min(tuned - decision.constexprs.keys())}, which is autotuned")
        config = self._config(row, label, decision) if self.tuners else None
        served = Served(row, label, decision, config, self.used.setdefault((label, row.status), Tally()))
        passed = bound_arguments(self.function, args, kwargs)
        own = {n: v for n, v in decision.constexprs.items() if n not in tuned}
        served.moved = frozenset(n for n, v in own.items() if n in self._set or _constant(passed.get(n)) != v)
        served.programs = {n: passed[n] for n in served.moved if n in passed}
        if served.moved and not callable(grid):
            raise NotApplied(f"row {label} changes {min(served.moved)}, and the grid is given as numbers")
        if decision.source is not None:
            served.variant = ServedVariant(
                decision.source, self.function, passed, frozenset(self.constexprs), dict(decision.constexprs)
            )
        early = own if self.tuners else {**own, **decision.options}
        served.places = tuple((i, early[n]) for i, n in enumerate(self.names[: len(args)]) if n in early)
        taken = set(self.names[: len(args)])
        served.early = {n: v for n, v in early.items() if n not in taken}
        return served

    def _config(self, row: TunedRow, label: str, decision: Decision) -> Any:
        """The ``triton.Config`` of a decision, with the hook that the owner's configs have."""
        configs = self.tuners[0].configs
        same = [c for c in configs if _is(c, decision)]
        if row.status == "stock" and not same:
            raise NotApplied(f"row {label} is stock, and its config is none of the autotuner's")
        if same:
            return same[0]
        alike = [c for c in configs if dict(c.kwargs) == decision.constexprs] or configs
        hooks = [getattr(c, "pre_hook", None) for c in alike]
        if not all(_is_same_hook(h, hooks[0]) for h in hooks):
            raise NotApplied(f"row {label} is none of the autotuner's configs, which have hooks of their own")
        options = {n: getattr(configs[0], n) for n in ("num_warps", "num_stages", "num_ctas", "maxnreg")}
        return type(configs[0])(dict(decision.constexprs), **{**options, **decision.options}, pre_hook=hooks[0])

    def refuse(self, served: Served, reason: str) -> Unserved:
        """Launch from here on as the program has it."""
        refused = self._unserved(reason)
        self._say(f"{self.name}: {reason}: it is launched as the program has it")
        self.matcher.put(served, refused)
        return refused

    # The launch

    def launch(self, served: Served, run: Callable[..., Any], args: tuple[Any, ...], grid: Any, kwargs: Json) -> Any:
        """Launch as `served` decides. `run`: Triton's own of the function. Raises NotApplied, before the kernel runs,
        if Triton or the grid refuses."""
        if served.tried:
            return self._launch(served, run, args, grid, kwargs)
        kept = _copies(args, kwargs) if not hasattr(self.function, "params") else []
        try:
            result = self._launch(served, run, args, grid, kwargs)
        except Exception as e:
            if not isinstance(e, NotApplied) and not {c.__name__ for c in type(e).__mro__}.intersection(REFUSING):
                raise
            for storage, before in kept:
                storage.copy_(before)
            reason = str(e) if isinstance(e, NotApplied) else f"row {served.label} cannot be launched ({one_line(e)})"
            raise NotApplied(reason) from e
        served.tried = True
        if not served.places and served.variant is None and getattr(served.config, "pre_hook", None) is None:
            self._shorten(served)
        return result

    def kept(self, served: Served, kernel: Any) -> Any:
        """The compiled kernel of a launch whose constants the row changed, for a program that may launch it itself."""
        return served.kept.get(id(kernel)) or self._keep(served, kernel)

    def _keep(self, served: Served, kernel: Any) -> Any:

        def relaunch(grid: Any, *args: Any, **kwargs: Any) -> Any:
            about = compiled_launch(kernel)
            passed = None if about is None else about.passed(args)
            if passed is None:
                return kernel[grid](*args, **kwargs)
            passed = {**passed, **served.programs}
            for decorator in self.chain[:-1]:
                for name, heuristic in getattr(decorator, "values", {}).items():
                    if name in served.moved and name not in served.programs:
                        passed[name] = heuristic(self._named(decorator, (), grid, passed))
            with on_stream(kwargs.get("stream")):
                self.function.run(grid=grid, warmup=False, **passed)
            return None

        return served.kept.setdefault(id(kernel), KeptKernel(kernel, relaunch))

    def _shorten(self, served: Served) -> None:
        """Say what later launches set. An autotuner between two heuristics is not worth a shorter way."""
        early, chosen = served.early, served.config.all_kwargs() if served.config is not None else {}
        set_already = served.decision.constexprs.keys() | served.decision.options.keys()
        around = [hasattr(d, "configs") for d in self.chain[:-1]]
        values = [(n, h) for d in self.chain[:-1] if not hasattr(d, "configs") for n, h in d.values.items()]
        served.heuristics = tuple((n, h) for n, h in values if n not in set_already)
        served.names = tuple(self.names)
        # `ready` comes last: as soon as it is there, other threads launch by it.
        if not served.heuristics:
            served.ready = {**early, **chosen}
        elif around == sorted(around):  # the autotuner is the innermost
            served.before = early
            served.ready = chosen
        elif around == sorted(around, reverse=True):
            served.before = {**early, **chosen}
            served.ready = {}

    def _launch(self, served: Served, run: Callable[..., Any], args: tuple[Any, ...], grid: Any, kwargs: Json) -> Any:
        passed = {**kwargs, **served.early}
        if served.places:
            changed = list(args)
            for i, value in served.places:
                changed[i] = value
            args = tuple(changed)
        for decorator in self.chain[:-1]:
            if hasattr(decorator, "configs"):
                passed = self._tune(decorator, served, args, grid, passed)
                continue
            for name, heuristic in decorator.values.items():
                if name not in served.decision.constexprs and name not in served.decision.options:
                    passed[name] = heuristic(self._named(decorator, args, grid, passed))
        asked = FollowedGrid(grid, served) if served.moved and not served.tried else grid
        if served.variant is not None:
            return served.variant.launch(run, self.function, args, asked, passed)
        return run(self.function, *args, grid=asked, warmup=False, **passed)

    def _tune(self, tuner: Any, served: Served, args: tuple[Any, ...], grid: Any, passed: Json) -> Json:
        """What ``Autotuner.run`` does for a key that it has in its cache."""
        config = served.config
        tuner.best_config = config
        current = {**passed, **config.all_kwargs()}
        if not served.tried and len(tuner.configs) > 1:
            self._after_benchmark(tuner, args, grid, passed, current)
        if config.pre_hook is not None:
            config.pre_hook(self._named(tuner, args, grid, current))
        return current

    def _named(self, decorator: Any, args: tuple[Any, ...], grid: Any, passed: Json) -> Json:
        """All arguments by name, as Triton gives them to hooks and heuristics."""
        return {**dict(zip(decorator.arg_names, args, strict=False)), "grid": grid, "warmup": False, **passed}

    def _after_benchmark(self, tuner: Any, args: tuple[Any, ...], grid: Any, passed: Json, current: Json) -> None:
        """Once for each of the autotuner's keys, do what ``Autotuner.run`` does after its benchmark: it resets what
        ``reset_to_zero`` names. A program may rely on that in its first launch."""
        every = {n: v for n, v in self._named(tuner, args, grid, passed).items() if n in tuner.arg_names}
        dtypes = [str(v.dtype) for v in every.values() if hasattr(v, "dtype")]
        key = (*(every[k] for k in tuner.keys if k in every), *dtypes)
        if key in self._benchmarked or key in tuner.cache:
            return
        self._benchmarked.add(key)
        tuner.nargs = dict(zip(tuner.arg_names, args, strict=False))  # read by prune_configs
        if len(tuner.prune_configs({"grid": grid, "warmup": False, **passed})) > 1:
            tuner.pre_hook(self._named(tuner, args, grid, current), reset_only=True)


def _is(config: Any, decision: Decision) -> bool:
    """Whether a ``triton.Config`` is the decision."""
    return dict(config.kwargs) == decision.constexprs and all(
        getattr(config, n, None) == v for n, v in decision.options.items()
    )


def _is_same_hook(one: Any, other: Any) -> bool:
    """Whether two hooks are one, or made by one function of the same names and numbers, as ``init_to_zero("out")`` for
    each config."""
    if one is other:
        return True
    if not isinstance(one, FunctionType) or not isinstance(other, FunctionType) or one.__code__ is not other.__code__:
        return False
    held = [[c.cell_contents for c in hook.__closure__ or ()] for hook in (one, other)]
    plain = all(isinstance(v, PLAIN) for values in held for v in _items(values))
    return plain and held[0] == held[1] and one.__defaults__ is other.__defaults__ is None


def _items(values: Sequence[Any]) -> Iterator[Any]:
    for value in values:
        yield from _items(value) if isinstance(value, tuple | list) else (value,)


def _constant(value: Any) -> Any:
    """A constant that the program wrapped as ``tl.constexpr``."""
    return value.value if type(value).__name__ == "constexpr" else value


def _copies(args: tuple[Any, ...], kwargs: Json) -> list[tuple[Any, Any]]:
    """The memory of an interpreted launch, which may have written when the interpreter refuses it, and copies."""
    torch = sys.modules.get("torch")
    tensors = [v for v in (*args, *kwargs.values()) if torch is not None and isinstance(v, torch.Tensor)]
    storages = {s.data_ptr(): s for s in (t.untyped_storage() for t in tensors)}
    return [(s, s.clone()) for s in storages.values()]


def ranges_of(keys: Sequence[Json]) -> dict[str, tuple[int, int]]:
    """The least and the greatest value of each whole number that counts in all keys."""
    if not keys:
        return {}
    named = [{n: p for n, p in key["arguments"].items() if type(p) is int} for key in keys]
    shared = set.intersection(*(set(numbers) for numbers in named))
    return {n: (min(k[n] for k in named), max(k[n] for k in named)) for n in shared}
