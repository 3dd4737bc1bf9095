"""A space of somebody else's as a kernel of the project, so that the tools and the planner work on it.

It has parameters and nothing else: the recording stands in for compiling and checking."""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NoReturn

from pydantic import Field, create_model

from evals.contest.briefing import Briefing, Values, identity
from kernels.captured.near_configs import owner_and_neighbours
from kernels.hardware import Hardware
from kernels.spec import Baseline, Config, Inputs, KernelSpec, Problem
from memory.terms import Metric
from tools.harness.landscapes.readings import config_key

if TYPE_CHECKING:
    import torch

UNKNOWN_GPU = Hardware(
    name="unknown GPU", device_names=(), backend="cuda", arch=80, warp_size=32, sms=1, shared_per_block=1 << 30,
    shared_per_sm=1 << 30, registers_per_sm=1 << 30, threads_per_sm=1 << 30, blocks_per_sm=1 << 30, l2_bytes=1,
    memory_bytes=1, bandwidth=1e30, peak={}, sources=("nothing is known of it: no limit binds",),
)  # fmt: skip


class FoundProblem(Problem):
    """The one problem of the file. What it computes is not known, and so nothing is said of it."""

    dims: ClassVar[tuple[str, ...]] = ()
    dtype: Literal["fp16", "bf16"] = Field(default="fp16", exclude=True)

    def label(self) -> str:
        return "one problem"


class FoundKernel(KernelSpec[FoundProblem, Config]):
    """Parameters of a briefing under names that Python allows."""

    problem_type = FoundProblem
    metric: ClassVar[Metric] = "latency"

    def __init__(self, briefing: Briefing) -> None:
        self.name = re.sub(r"\W+", "_", briefing.name) or "kernel"  # type: ignore[misc]
        self._fields = field_names(list(briefing.parameters))
        self._plain = {name: plain_values(values) for name, values in briefing.parameters.items()}
        allowed: dict[str, Any] = {}
        for name, values in self._plain.items():
            whole = all(name in c for c in briefing.configs)
            options: Any = Literal.__getitem__(tuple(values.values()))
            allowed[self._fields[name]] = (options, ...) if whole else (options | None, None)
        self.config_type = create_model("FoundConfig", __base__=Config, **allowed)
        self._default = briefing.default
        self._true = {self.to_config(c).key(): c for c in briefing.configs}

    def to_config(self, values: Values) -> Config:
        """The config as the tools see it."""
        return self.config_type.model_validate(
            {self._fields[n]: self._plain[n][identity(v)] for n, v in values.items()}
        )

    def to_values(self, config: Config) -> Values:
        """The config as the file has it; one that it does not have stays as it is."""
        return self._true.get(config.key(), config.model_dump(mode="json"))

    def candidates(self, problem: FoundProblem, hardware: Hardware) -> Iterator[Config]:
        return (self.to_config(c) for c in self._true.values())

    def space(self, problem: FoundProblem, hardware: Hardware) -> list[Config]:
        """All of it, however many there are: the file lists them."""
        return list(self.candidates(problem, hardware))

    def constraint(self, problem: FoundProblem, config: Config, hardware: Hardware) -> str | None:
        return None if config.key() in self._true else "not_recorded: this space does not hold the config"

    def default_problem(self) -> FoundProblem:
        return FoundProblem()

    def default_config(self, problem: FoundProblem, hardware: Hardware) -> Config:
        return next(iter(self.promising(problem, hardware)), next(self.candidates(problem, hardware)))

    def promising(self, problem: FoundProblem, hardware: Hardware) -> list[Config]:
        """The owner's config and its neighbours, if the briefing says the owner's."""
        near = [] if self._default is None else owner_and_neighbours(self._default, self._true.values())
        return [self.to_config(v) for v in near]

    def flops(self, problem: FoundProblem) -> int:
        return 0

    def bytes(self, problem: FoundProblem) -> int:
        return 1

    def baselines(self, problem: FoundProblem) -> list[Baseline[FoundProblem]]:
        return []

    def source_hash(self) -> str:
        return "none"

    def inputs(self, problem: FoundProblem, generator: torch.Generator | None, device: str) -> Inputs:
        self._unknown()

    def output(self, problem: FoundProblem, device: str) -> torch.Tensor:
        self._unknown()

    def launch(
        self, problem: FoundProblem, config: Config, inputs: Inputs, out: torch.Tensor, hardware: Hardware
    ) -> None:
        self._unknown()

    def reference(self, problem: FoundProblem, inputs: Inputs) -> torch.Tensor:
        self._unknown()

    def tolerance(self, problem: FoundProblem) -> float:
        self._unknown()

    def reduced(self, problem: FoundProblem, config: Config) -> FoundProblem:
        self._unknown()

    def _unknown(self) -> NoReturn:
        raise NotImplementedError(f"{self.name} was recorded without its source: it can be looked up, not run")


def field_names(parameters: Sequence[str]) -> dict[str, str]:
    """A pydantic field for every parameter, the same name where that is possible."""
    fields: dict[str, str] = {}
    for name in parameters:
        field = re.sub(r"\W", "_", name).lstrip("_") or "parameter"
        if field[0].isdigit() or keyword.iskeyword(field):
            field = f"p_{field}"
        while field in fields.values() or hasattr(Config, field):
            field += "_"
        fields[name] = field
    return fields


def plain_values(values: Sequence[Any]) -> dict[str, Any]:
    """What the tools see of every value, by :func:`evals.contest.briefing.identity`. They know values that are equal in
    Python (1, 1.0, true) as one: the second such value is a text."""
    seen: dict[str, Any] = {}
    for value in values:
        shown, nested = plain(value), value
        while shown in seen.values():
            shown = nested = config_key({"value": nested})
        seen[identity(value)] = shown
    return seen


def plain(value: Any) -> Any:
    """Numbers, flags and texts as they are; lists, objects, null, what exceeds 64 bits and what is no Unicode (half a
    surrogate pair) as their JSON."""
    small = not isinstance(value, int) or abs(value) < 2**63
    finite = not isinstance(value, float) or math.isfinite(value)
    unicode = not isinstance(value, str) or value.encode(errors="ignore").decode() == value
    known = isinstance(value, bool | int | float | str) and small and finite and unicode
    return value if known else config_key({"value": value})
