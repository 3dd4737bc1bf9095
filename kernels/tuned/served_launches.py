"""Which row serves the launches of one function, and how a launch is made as the row decides."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from ..capture.describing.captured_arguments import Storages, describe_argument
from ..capture.describing.decorators import describe_chain
from ..capture.describing.device_closure import python_function
from ..capture.describing.first_launch import bound_arguments
from ..capture.describing.launch_grid import ReadKeys, grid_numbers
from ..capture.seen_launches import FunctionState
from .between_rows import RowIndex
from .key import key_of, names_set, varying
from .launch_matcher import LaunchMatcher, Tally
from .tuned_table import Decision, TunedEnvironment, TunedRow

Json = dict[str, Any]

REFUSING = ("OutOfResources", "CompilationError", "CompileTimeAssertionFailure", "PTXASError", "InterpreterError")
"""Errors by which Triton refuses a config before the kernel runs. ``InterpreterError`` comes while it runs."""


class NotApplied(Exception):
    """A row does not fit the launch; the message is the reason."""


class Served:
    """What serves one kind of launch."""

    def __init__(self, row: TunedRow, label: str, decision: Decision, config: Any) -> None:
        self.row, self.label, self.decision = row, label, decision
        self.config = config
        """The ``triton.Config`` in place of the autotuner's choice; None if nothing is autotuned."""
        self.early: Json = {}
        """What is set before the outermost decorator runs."""
        self.moved: frozenset[str] = frozenset()
        """Constants that the program passes and the row changes: its grid must follow them."""
        self.places: tuple[tuple[int, Any], ...] = ()
        """Of those among them that are passed by position."""
        self.tried = False
        """Whether a launch was made."""
        self.ready: Json | None = None
        """All that is set, once a launch was made, if that is all there is to do."""
        self.used = Tally()
        self.add = self.used.add


class Unserved:
    """Why one kind of launch is made as the program has it."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.ready = None
        self.used = Tally()


class ServedFunction:
    """A Triton function, or a decorator around one, for which the table has rows.

    `here`: the environment of a launch. `device`: the number of its GPU, None if all GPUs are alike. `identity`: the
    hash of a Triton function. `say`: prints one line, once."""

    def __init__(
        self,
        chain: Sequence[Any],
        rows: Sequence[TunedRow],
        here: Callable[[], TunedEnvironment],
        device: Callable[[], Any] | None,
        identity: Callable[[Any], str],
        say: Callable[[str], None],
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
        self.answers: list[Served | Unserved] = []
        matcher = LaunchMatcher(self.names, self.constexprs, free, device, self._find)
        self.matcher, self.answer = matcher, matcher.answer
        self._benchmarked: set[Any] = set()

    # Which row

    def _find(self, args: tuple[Any, ...], kwargs: Json, grid: Any) -> Served | Unserved:
        try:
            found = self._serve(args, kwargs, grid)
        except NotApplied as e:
            found = Unserved(str(e))
            self._say(f"{self.name}: {e}: it is launched as the program has it")
        except Exception as e:  # noqa: BLE001 -- a table must not fail the program; it is printed and counted
            found = Unserved(f"it could not be looked up ({type(e).__name__}: {e})")
            self._say(f"{self.name}: {found.reason}: it is launched as the program has it")
        self.answers.append(found)
        return found

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
                    return Unserved(f"row {row.name}: the program's own config is best")
                return self._prepared(row, row.name, row.decision, args, kwargs, grid)
        for key in keys:
            between = index.between(key)
            if between is not None:
                low, high, decision = between
                if decision is None:
                    return Unserved(f"rows {low.name} and {high.name}: nothing is proven in both")
                return self._prepared(low, f"{low.name}-{high.name}", decision, args, kwargs, grid)
        raise NotApplied(f"no row for {describe_key(keys[0])}")

    def _keys(self, args: tuple[Any, ...], kwargs: Json, grid: Any) -> list[Json]:
        storages = Storages()
        bound = bound_arguments(self.function, args, kwargs)
        described = {n: describe_argument(n, v, storages, self._identity) for n, v in bound.items()}
        for name in self.constexprs & described.keys():
            described[name]["constexpr"] = True
        options = {n: v if isinstance(v, bool | int | float | str) else str(v) for n, v in kwargs.items()}
        options = {n: v for n, v in options.items() if n not in bound and kwargs[n] is not None}
        numbers = None if callable(grid) else grid_numbers(grid)
        keys = []
        for mask in self._masks:
            masked = {n: {**a, "varies": True} if n in mask else a for n, a in described.items()}
            keys.append(key_of(masked, options, numbers, self._decorators, lambda identity: identity))
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
        served = Served(row, label, decision, self._config(row, label, decision) if self.tuners else None)
        passed = bound_arguments(self.function, args, kwargs)
        own = {n: v for n, v in decision.constexprs.items() if n not in tuned}
        served.moved = frozenset(n for n, v in own.items() if n in self._set or _constant(passed.get(n)) != v)
        if served.moved and not callable(grid):
            raise NotApplied(f"row {label} changes {min(served.moved)}, and the grid is given as numbers")
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
        if any(h is not hooks[0] for h in hooks):
            raise NotApplied(f"row {label} is none of the autotuner's configs, which have hooks of their own")
        options = {n: getattr(configs[0], n) for n in ("num_warps", "num_stages", "num_ctas", "maxnreg")}
        return type(configs[0])(dict(decision.constexprs), **{**options, **decision.options}, pre_hook=hooks[0])

    def refuse(self, served: Served, reason: str) -> Unserved:
        """Launch from here on as the program has it."""
        refused = Unserved(reason)
        self._say(f"{self.name}: {reason}: it is launched as the program has it")
        self.answers.append(refused)
        self.matcher.put(served, refused)
        return refused

    # The launch

    def launch(self, served: Served, run: Callable[..., Any], args: tuple[Any, ...], grid: Any, kwargs: Json) -> Any:
        """Launch as `served` decides. `run`: Triton's own of the function. Raises NotApplied, before the kernel runs,
        if Triton or the grid refuses."""
        if served.tried:
            return self._launch(served, run, args, grid, kwargs)
        asked = _FollowedGrid(grid, served) if served.moved else grid
        kept = _copies(args, kwargs) if not hasattr(self.function, "params") else []
        try:
            result = self._launch(served, run, args, asked, kwargs)
        except Exception as e:
            if not isinstance(e, NotApplied) and not {c.__name__ for c in type(e).__mro__}.intersection(REFUSING):
                raise
            for tensor, before in kept:
                tensor.copy_(before)
            reason = str(e) if isinstance(e, NotApplied) else f"row {served.label} cannot be launched ({one_line(e)})"
            raise NotApplied(reason) from e
        served.tried = True
        plain = not served.places and all(hasattr(d, "configs") for d in self.chain[:-1])
        if plain and (served.config is None or served.config.pre_hook is None):
            served.ready = {**served.early, **(served.config.all_kwargs() if served.config is not None else {})}
        return result

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
        return run(self.function, *args, grid=grid, warmup=False, **passed)

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


class _FollowedGrid:
    """A program's grid function that is checked to read the constants that a row changes."""

    def __init__(self, grid: Callable[[Any], Any], served: Served) -> None:
        self._grid, self._served = grid, served

    def __call__(self, meta: Any) -> Any:
        asked = ReadKeys(meta)
        grid = self._grid(asked)
        unread = self._served.moved - asked.read
        if unread:
            raise NotApplied(f"row {self._served.label} changes {min(unread)}, which the grid function does not read")
        return grid


def _is(config: Any, decision: Decision) -> bool:
    """Whether a ``triton.Config`` is the decision."""
    return dict(config.kwargs) == decision.constexprs and all(
        getattr(config, n, None) == v for n, v in decision.options.items()
    )


def _constant(value: Any) -> Any:
    """A constant that the program wrapped as ``tl.constexpr``."""
    return value.value if type(value).__name__ == "constexpr" else value


def _copies(args: tuple[Any, ...], kwargs: Json) -> list[tuple[Any, Any]]:
    """The tensors of an interpreted launch, which may have written when the interpreter refuses it."""
    torch = sys.modules.get("torch")
    tensors = [v for v in (*args, *kwargs.values()) if torch is not None and isinstance(v, torch.Tensor)]
    return [(t, t.clone()) for t in tensors]


def describe_key(key: Json) -> str:
    """A key in a few words, for a message."""
    parts = []
    for name, part in key["arguments"].items():
        if isinstance(part, dict) and "dtype" in part and "aligned" in part:
            shape = "x".join(map(str, part["shape"])) + ":" if "shape" in part else ""
            parts.append(f"{name}={shape}{part['dtype']}")
        elif isinstance(part, dict) and "constexpr" in part:
            parts.append(f"{name}={part['constexpr']}")
        elif isinstance(part, int):
            parts.append(f"{name}={part}")
    text = " ".join(parts)
    grid = f", grid {key['grid']}" if key["grid"] is not None else ""
    return (text if len(text) <= 160 else text[:157] + "…") + grid


def one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:160]}" if text else type(error).__name__
