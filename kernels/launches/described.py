"""A kernel whose launch is described argument by argument, as plain data.

    class Halve(DescribedKernel):
        name, metric, kernel = "halve", "gbps", halve
        problem_type, config_type = HalveProblem, configs_of(halve)

        def described(self, problem):
            return {"x_ptr": TensorArgument(shape=(problem.N,), role="inout"), "n": ScalarArgument(value=problem.N)}

        def grid(self, problem, meta): return (triton.cdiv(problem.N, meta["BLOCK"]),)
        def eager(self, problem, inputs): return {"x_ptr": 0.5 * inputs["x_ptr"]}

The kernel need not be autotuned: then ``config_type`` says which values there are, as for any other spec.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, TypeVar

import torch

from kernels import defaults
from kernels.autotuned import AutotunedKernel, Given
from kernels.hardware import Hardware
from kernels.launches.argument_models import Arguments, tensors
from kernels.launches.drawn import draw, outputs, passed, separate_outputs, written_paths
from kernels.launches.effects import Effects
from kernels.launches.owner_launch import layers_of
from kernels.spec import Config, Inputs, Problem

P = TypeVar("P", bound=Problem)


class DescribedKernel(AutotunedKernel[P]):
    """A spec made of a kernel and a description of its arguments. ``eager`` gets a dict of the arguments that are no
    outputs, and gives a dict of the results."""

    @abstractmethod
    def described(self, problem: P) -> Arguments:
        """Every argument that is not tuned, by parameter name."""

    def inputs(self, problem: P, generator: torch.Generator | None, device: str) -> Inputs:
        found: Any = draw(self.described(problem), generator, device)[0]
        return found

    def output(self, problem: P, device: str) -> Any:
        return outputs(self.described(problem), device)

    def arguments(self, problem: P, inputs: Any, out: Any) -> Given:
        """The live arguments. A block shape that a config's value sets is that of the first config here: ``launch``
        knows better."""
        first = next(iter(self.described_values(problem)), {})
        return self._passed(problem, inputs, out, first)

    def described_values(self, problem: P) -> Iterator[dict[str, Any]]:
        """The values of each config, before prune functions."""
        tuner = layers_of(self.kernel).tuner
        if tuner is not None:
            yield from (c.all_kwargs() for c in tuner.configs)
        else:
            yield from (c.model_dump() for c in defaults.candidates(self.config_type))

    def candidates(self, problem: P, hardware: Hardware) -> Iterator[Config]:
        if layers_of(self.kernel).tuner is None:
            return defaults.candidates(self.config_type)
        return super().candidates(problem, hardware)

    def given_to(self, problem: P, config: Config, inputs: Any, out: Any, hardware: Hardware) -> Given:
        return self._passed(problem, inputs, out, config.model_dump())

    def effects(self, problem: P) -> Effects:
        described = self.described(problem)
        apart = separate_outputs(described)
        inside = [p for p in written_paths(described, ("out", "inout", "scratch")) if p.partition(".")[0] not in apart]
        scratch = written_paths(described, ("scratch",))
        unwritten = [p for p, t in tensors(described) if t.unwritten]
        return Effects(tuple(inside), tuple(scratch), tuple(unwritten))

    def undeclared(self, problem: P) -> list[str]:
        """Every tensor is described."""
        return []

    def _passed(self, problem: P, inputs: Any, out: Any, meta: dict[str, Any]) -> dict[str, Any]:
        live = {**inputs, **out}
        return {n: passed(n, a, live.get(n), meta) for n, a in self.described(problem).items()}
