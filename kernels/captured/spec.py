"""A captured launch as a kernel that can be tuned.

The launch itself is the spec: arguments are made anew from the capture, the space is that around the owner's config
(``kernels/capture/reading/launch_space.py``), and the reference is what the owner's launch computes on the same
arguments. Baselines are what runs today: ``owner``, the launch as it was captured, and ``autotuner``, where there is
one: the fastest of the owner's configs, chosen anew.

Every tensor that the launch writes is an input in place, restored before each launch, unless a survey has found that
the owner's launch overwrites it whole: then it is an output, and poisoned.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import create_model

from kernels.capture.capture_file import Json
from kernels.capture.reading.captured_launches import CapturedLaunch, elements
from kernels.capture.reading.launch_space import LaunchSpace, space_of
from kernels.capture.reading.live_functions import imported
from kernels.capture.reading.rebuilt_arguments import (
    FLOATS,
    described_tensors,
    passed_arguments,
    rebuild_tensors,
    refuse_unknown,
)
from kernels.capture.reading.rebuilt_functions import CannotRebuild, rebuild_function, rebuild_host_function
from kernels.captured.called_functions import has_loop
from kernels.captured.captured_problem import CapturedProblem
from kernels.captured.near_configs import owner_and_neighbours
from kernels.captured.other_launches import OtherLaunch, config_there
from kernels.hardware import Hardware
from kernels.launches.bound import copied
from kernels.launches.domain import SHAPES_OF
from kernels.launches.effects import Effects
from kernels.launches.expected import results_of
from kernels.spec import Baseline, Config, KernelSpec

VERSION = 2
"""Of what this file makes of a capture; part of the source hash."""
OPTIONS = ("num_warps", "num_stages", "maxnreg")
"""Launch options that move."""
INTERPRETED_PROGRAMS = 2048
"""Programs of a grid up to which the interpreter runs a whole launch."""
INTERPRETED_BYTES = 256 << 20
"""Of the arguments, up to which it does: NumPy goes through them some tens of times in seconds."""
SAMPLED_BYTES = 1 << 30
"""Of the arguments, up to which it runs a sample of the programs: four copies of them are made, in seconds."""
GLANCE_MS = {"warmup": 1, "rep": 4}
"""Of each config when the autotuner's choice is made anew (``triton.testing.do_bench``)."""
CLOSE = 1.2
"""Of the shortest of these times; the configs within it are timed again."""
BENCH_MS = {"warmup": 10, "rep": 40}
"""Of each of those (Triton's own choice takes 25 and 100 for every config)."""
SHORT = {"float16": "fp16", "bfloat16": "bf16", "float32": "fp32"}
SHOWN = 60
"""Characters of the shapes in a label."""


class CapturedKernel(KernelSpec[CapturedProblem, Config]):
    """The spec of one launch of a capture."""

    problem_type = CapturedProblem
    metric = "latency"
    ordered_ties = True
    one_size = "a capture holds the grid and the numbers of one launch, not how they follow from shapes"

    def __init__(self, launch: CapturedLaunch, functions: Mapping[str, Json], folder: Path) -> None:
        """`functions`: ``Capture.functions()``. `folder`: for the source of the functions. Raises CannotRebuild if the
        function or its arguments cannot be made anew, or if it is not known what the launch writes."""
        self.captured = launch
        refuse_unknown(launch)
        if (unkept := next((c["unkept"] for c in _tuner_configs(launch) if "unkept" in c), None)) is not None:
            raise CannotRebuild(f"its autotuner sets {min(unkept)} to {unkept[min(unkept)]}, which no table can hold")
        if launch.writes is None or "?" in launch.writes or any("through" in how for how in launch.writes.values()):
            raise CannotRebuild(f"it is not known which memory {launch.name} writes")
        self._function_of: Callable[[str], Any] = partial(_rebuilt, functions=functions, folder=folder)
        digest = next(d for d, part in functions.items() if part is launch.function)
        self.function = self._function_of(digest)
        self._passed = passed_arguments(launch.passed, {}, self._function_of)
        """What the program passed for heuristics to see."""
        self.written = _written_paths(launch)
        if not self.written:
            raise CannotRebuild(f"{launch.name} wrote to none of its arguments")
        self._heuristics, self._hooks, missing = _importable_hooks(launch)
        self.launch_space = space_of(launch, has_loop(launch, functions))
        names = _constants(self.launch_space)
        if (apart := _beyond_configs(launch, names)) is not None:
            raise CannotRebuild(f"its autotuner sets {apart}, which no config of a search can hold")
        self._own = _own_values(launch, names)
        self._grids = _grids(self.launch_space, names, self._own)
        self.fixed = {**self.launch_space.fixed, **(dict.fromkeys(names, missing) if missing else {})}
        """Constants that do not move, with the reason."""
        rows = [c for c in _rows(self.launch_space, names, self._own) if _key(c, names) in self._grids]
        # One process may fail to import what another does; a config means the same in all of them.
        self.config_type = _config_type(launch.name, rows)
        self._missing = missing
        self._configs = [c for c in rows if missing is None or all(c[n] == v for n, v in self._own.items())]
        self._identities = [launch.function["identity"], *_argument_identities(launch.arguments, functions)]
        self.capture_file = ""
        """The path of the capture, where there is one."""
        self.siblings: Callable[[], list[CapturedKernel]] = list
        """Launches of the same function with other shapes; who reads the capture knows them."""
        self.has_hook = bool(self._hooks)
        """Whether a function of the owner's runs before each launch."""
        object.__setattr__(self, "name", f"captured.{launch.name}"[:100])
        object.__setattr__(self, "deterministic", not any("atomic" in how for how in launch.writes.values()))

    # -- what is tuned

    def default_problem(self) -> CapturedProblem:
        return self.problem_of()

    def problem_of(self, **survey: Any) -> CapturedProblem:
        """The launch's problem with the findings of a survey."""
        tensors = [t for _, t in described_tensors(self.captured)]
        floats = [t for t in tensors if t["dtype"] in FLOATS]
        largest = max(floats, key=lambda t: elements(t["shape"]), default={"dtype": "float32"})
        what = " ".join(f"{'x'.join(map(str, t['shape']))}:{SHORT.get(t['dtype'], t['dtype'])}" for t in tensors)
        dtype = SHORT.get(largest["dtype"], largest["dtype"])
        return CapturedProblem(launch=self.captured.digest, dtype=dtype, what=what[:SHOWN], **survey)

    def default_config(self, problem: CapturedProblem, hardware: Hardware) -> Config:
        """The owner's."""
        return self.owner_config()

    def owner_config(self) -> Config:
        return self.config_type(**self._configs[0])

    def tuner_configs(self) -> list[Config]:
        """The configs of the owner's autotuner that can be launched, none twice."""
        rows = _tuner_configs(self.captured)
        moving = [n for n in OPTIONS if n in self._configs[0]]
        found = [{**self._own, **r["kwargs"], **{n: r.get(n) for n in moving}} for r in rows]
        return [self.config_type(**v) for v in self._configs if v in found]

    def candidates(self, problem: CapturedProblem, hardware: Hardware) -> Iterator[Config]:
        return (self.config_type(**values) for values in self._configs)

    def promising(self, problem: CapturedProblem, hardware: Hardware) -> list[Config]:
        """The owner's config and its neighbours. The autotuner's own come before the others: they are compiled already,
        because its choice is made anew."""
        tuners = [c.model_dump() for c in self.tuner_configs()]
        near = owner_and_neighbours(self._configs[0], self._configs, tuners)
        return [self.config_type(**v) for v in near]

    def constraint(self, problem: CapturedProblem, config: Config, hardware: Hardware) -> str | None:
        values = config.model_dump()
        if self._missing is not None and any(values[n] != v for n, v in self._own.items()):
            return self._missing
        if _key(values, tuple(self._own)) in self._grids:
            return None
        shown = " ".join(f"{n}={values[n]}" for n in self._own)
        return f"the program's grid is not known for {shown}"

    # -- what is launched

    def inputs(self, problem: CapturedProblem, generator: torch.Generator | None, device: str) -> Any:
        apart = problem.paths("overwritten")
        return rebuild_tensors(self.captured, generator, device, without=apart, damped=problem.damped)

    def output(self, problem: CapturedProblem, device: str) -> Any:
        kept = {path for path, _ in described_tensors(self.captured)} - set(problem.paths("overwritten"))
        return rebuild_tensors(self.captured, None, device, without=kept)

    def effects(self, problem: CapturedProblem) -> Effects:
        apart = {*problem.paths("overwritten"), *problem.paths("unchanged")}
        return Effects(tuple(path for path in self.written if path not in apart))

    def launch(self, problem: CapturedProblem, config: Config, inputs: Any, out: Any, hardware: Hardware) -> None:
        values = config.model_dump()
        arguments = passed_arguments(self.captured.arguments, {**inputs, **out}, self._function_of)
        moved = {n: v for n, v in values.items() if n in self._own}
        if moved != self._own:
            if self._missing is not None:
                raise CannotRebuild(self._missing)
            arguments.update(self._passed)
            for names, above in self._heuristics:
                given = {n: v for n, v in arguments.items() if n not in moved} if above else {**arguments, **moved}
                arguments.update({n: compute(given) for n, compute in names.items()})
        arguments.update(moved)
        # A parameter may have an option's name: passed by name, it is both.
        kept = {
            n: v for n, v in self.captured.options.items() if v is not None and (n in OPTIONS or n not in arguments)
        }
        options = {n: values[n] for n in OPTIONS if n in values and (n in kept or values[n] != self._configs[0][n])}
        given = {**arguments, **kept, **options}
        own = [hook for kwargs, hook in self._hooks if kwargs == moved] or [hook for _, hook in self._hooks]
        if own:  # of the autotuner's config with these constants, else of the chosen one
            own[0](given)
        self.function[self._grids[_key(values, tuple(self._own))]](**given)

    # -- what is right, and what is compared with

    def reference(self, problem: CapturedProblem, inputs: Any) -> Any:
        """What the owner's launch makes of the same arguments."""
        device = next((t.device for t in inputs.values()), torch.device("cpu"))
        given, out = copied(inputs), self.output(problem, str(device))
        found = results_of(self.effects(problem), given, out)
        if device.type != "meta":
            self.launch(problem, self.owner_config(), given, out, NO_HARDWARE)
        return {name: t.double() for name, t in found.items()}

    def tolerance(self, problem: CapturedProblem) -> Any:
        """The survey's bounds: rounding of the result's dtype, or three times what the owner's launch differs from
        float64 and from itself, if that is more."""
        return problem.bound_of()

    def bytes(self, problem: CapturedProblem) -> int:
        return problem.moved

    def flops(self, problem: CapturedProblem) -> int:
        return 0

    def baselines(self, problem: CapturedProblem) -> list[Baseline[CapturedProblem]]:
        own = self._configs[0]
        shown = " ".join(f"{n}={v}" for n, v in own.items())
        found = [
            Baseline(
                "owner",
                f"the launch as captured: {shown}",
                partial(self.prepare, config=self.owner_config()),
                own_code=True,
                config=self.owner_config(),
            )
        ]
        tuners = self.tuner_configs()
        if len(tuners) > 1:
            title = f"the autotuner's choice among its {len(tuners)} configs, made anew"
            found.append(Baseline("autotuner", title, self.prepare_choice, own_code=True))
        return found

    def prepare(self, problem: CapturedProblem, inputs: Any, config: Config) -> Callable[[], Any]:
        """A call that launches `config` and returns the results."""
        device = next((t.device for t in inputs.values()), torch.device("cpu"))
        out = self.output(problem, str(device))
        found = results_of(self.effects(problem), inputs, out)

        def call() -> Any:
            self.launch(problem, config, inputs, out, NO_HARDWARE)
            return found

        return call

    def prepare_choice(self, problem: CapturedProblem, inputs: Any) -> Callable[[], Any]:
        """Time the autotuner's configs as Triton's autotuner does, those longest that are close to the fastest, and
        launch the fastest. Raises RuntimeError if none can be launched."""
        from triton.compiler.errors import CompileTimeAssertionFailure
        from triton.runtime.errors import OutOfResources, PTXASError
        from triton.testing import do_bench

        times: dict[Config, float] = {}
        for config in self.tuner_configs():
            try:
                times[config] = float(do_bench(self.prepare(problem, inputs, config), **GLANCE_MS))
            except (OutOfResources, PTXASError, CompileTimeAssertionFailure):  # what Triton's autotuner passes over
                continue
        if not times:
            raise RuntimeError("none of the autotuner's configs can be launched here")
        close = [c for c, ms in times.items() if ms <= CLOSE * min(times.values())]
        again = {c: float(do_bench(self.prepare(problem, inputs, c), **BENCH_MS)) for c in close}
        return self.prepare(problem, inputs, min(again, key=lambda c: again[c]))

    def other_launches(self, problem: CapturedProblem, config: Config) -> tuple[list[OtherLaunch], str]:
        """Captured launches of this function with other shapes. The survey's bounds hold there as well. What the owner
        overwrites there is not known, so every tensor that is written is restored."""
        found = []
        for spec in self.siblings():
            there, why_not = config_there(config, spec, OPTIONS)
            name = f"{SHAPES_OF} {spec.captured.digest[:8]}"
            elsewhere = spec.problem_of(bounds=problem.bounds, damped=problem.damped)
            found.append(OtherLaunch(name, spec, elsewhere, there, why_not))
        return found, "" if found else "the capture holds this function with these shapes alone"

    # -- the rest of the contract

    def reduced(self, problem: CapturedProblem, config: Config) -> CapturedProblem:
        """A launch has one size."""
        return problem

    def interpretable(self, config: Config) -> str | None:
        """The owner's launch has to be run too: it is the reference."""
        keys = {_key(values, tuple(self._own)) for values in (config.model_dump(), self._own)}
        programs = max(elements(list(self._grids[key])) for key in keys)
        if programs > INTERPRETED_PROGRAMS:
            return f"its {programs:,} programs are too many for Triton's interpreter (at most {INTERPRETED_PROGRAMS:,})"
        return self._too_large(INTERPRETED_BYTES)

    def samplable(self, config: Config) -> str | None:
        return self._too_large(SAMPLED_BYTES)

    @property
    def argument_bytes(self) -> int:
        """Of the memory that arguments lie in."""
        return sum(int(storage["bytes"]) for storage in self.captured.storages)

    def _too_large(self, most: int) -> str | None:
        size = self.argument_bytes
        if size <= most:
            return None
        return f"its {size >> 20:,} MiB are too many for Triton's interpreter (at most {most >> 20:,})"

    def source_hash(self) -> str:
        """Of the captured function and those that it is passed."""
        return hashlib.sha256(json.dumps([VERSION, *self._identities]).encode()).hexdigest()[:16]


NO_HARDWARE: Any = None
"""The launch has its numbers from the capture."""


def _rebuilt(digest: str, functions: Mapping[str, Json], folder: Path) -> Any:
    return rebuild_function(digest, functions, folder)


def _tuner_configs(launch: CapturedLaunch) -> Sequence[Json]:
    return launch.autotune["configs"] if launch.autotune is not None else ()


def _written_paths(launch: CapturedLaunch) -> tuple[str, ...]:
    names = set(launch.writes or ())
    return tuple(path for path, _ in described_tensors(launch) if path.partition(".")[0] in names)


def _constants(space: LaunchSpace) -> tuple[str, ...]:
    """Constants that any config sets, whose values a config model can hold."""
    found: dict[str, bool] = {}
    for config in space.configs:
        for name, value in config.values:
            sound = isinstance(value, int | str | bool | None) and not name.startswith("_")
            found[name] = found.get(name, True) and sound
    return tuple(sorted(n for n, sound in found.items() if sound))


def _beyond_configs(launch: CapturedLaunch, names: tuple[str, ...]) -> str | None:
    """What the autotuner sets beside these constants. A row would lack it, and no config be one of the autotuner's."""
    for config in _tuner_configs(launch):
        for name in sorted(config["kwargs"].keys() - set(names)):
            return f"{name} to {config['kwargs'][name]!r}"
    return None


def _own_values(launch: CapturedLaunch, names: tuple[str, ...]) -> Json:
    chosen = launch.config["kwargs"] if launch.config else {}
    absent = next((n for n in names if n not in chosen and n not in launch.arguments), None)
    if absent is not None:
        raise CannotRebuild(f"one of its configs sets {absent}, which is no parameter, and the chosen config does not")
    return {n: chosen[n] if n in chosen else launch.arguments[n].get("value") for n in names}


def _rows(space: LaunchSpace, names: tuple[str, ...], own: Json) -> list[Json]:
    """Every config of the space as values of the config model, the owner's first, none twice."""
    limited = any(config.maxnreg is not None for config in space.configs)
    moving = [n for n in OPTIONS if n != "maxnreg" or limited]
    found = []
    for config in space.configs:
        values = {**own, **{n: v for n, v in config.values if n in names}}
        row = {**values, **{n: getattr(config, n) for n in moving}}
        if row not in found:
            found.append(row)
    return found


def _grids(space: LaunchSpace, names: tuple[str, ...], own: Json) -> dict[str, tuple[int, ...]]:
    """Values of the constants → grid. Constants that no config model can hold keep the owner's value."""
    first = dict(space.configs[0].values)
    found: dict[str, tuple[int, ...]] = {}
    for config in space.configs:
        values = dict(config.values)
        held = all(values.get(n, first.get(n)) == first.get(n) for n in {*values, *first} - set(names))
        row = {**own, **{n: v for n, v in values.items() if n in names}}
        if held:
            found.setdefault(_key(row, names), config.grid)
    return found


def _key(values: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return json.dumps([values[n] for n in sorted(names)])


def _config_type(name: str, rows: list[Json]) -> type[Config]:
    choices = {n: Literal[tuple(dict.fromkeys(r[n] for r in rows))] for n in rows[0]}
    fields: dict[str, Any] = {n: (one, None if n == "maxnreg" else ...) for n, one in choices.items()}
    model: type[Config] = create_model(f"{name}_config", __base__=Config, **fields)
    return model


Hook = Callable[[Json], Any]


def _importable_hooks(
    launch: CapturedLaunch,
) -> tuple[list[tuple[dict[str, Hook], bool]], list[tuple[Json, Hook]], str | None]:
    """Heuristics (with whether they stand above the autotuner), constants of configs with their pre-hooks, the chosen
    config's first, and why constants cannot move because one of them cannot be imported here."""
    heuristics: list[tuple[dict[str, Hook], bool]] = []
    missing: str | None = None
    above = launch.autotune is not None

    def hook(where: Json) -> Any:
        nonlocal missing
        if "source" in where:
            return rebuild_host_function(where)
        if "import" not in where:
            return None
        module, name = where["import"]
        try:
            return imported(module, name)
        except Exception as e:  # noqa: BLE001 -- a stranger's module may raise anything; it is the reason
            missing = f"{module}.{name} cannot be imported here ({type(e).__name__})"
            return None

    for decorator in launch.decorators:
        if decorator["kind"] == "autotune":
            above = False
        else:
            made = {n: hook(where) for n, where in decorator["values"].items()}
            heuristics.append(({n: f for n, f in made.items() if f is not None}, above))
    configs = [c for c in (launch.config, *_tuner_configs(launch)) if c and "pre_hook" in c]
    hooks = [(c["kwargs"], found) for c in configs if (found := hook(c["pre_hook"])) is not None]
    return heuristics, hooks, missing


def _argument_identities(value: Any, functions: Mapping[str, Json]) -> list[str]:
    if isinstance(value, dict):
        own = [functions[value["function"]]["identity"]] if isinstance(value.get("function"), str) else []
        return own + [d for v in value.values() for d in _argument_identities(v, functions)]
    return [d for v in value for d in _argument_identities(v, functions)] if isinstance(value, list) else []
