"""Turns an existing ``@triton.autotune`` kernel into a spec whose space is the kernel's own configs.

    class Mine(AutotunedKernel):
        name = "mine"
        kernel = add_kernel                   # decorated with @triton.autotune(configs=[...], key=[...])
        config_type = configs_of(add_kernel)
        ...
        def arguments(self, problem, inputs, out): return (*inputs, out, problem.N)
        def grid(self, problem, meta): return (triton.cdiv(problem.N, meta["BLOCK"]),)

The autotuner itself never runs: its configs are compiled, checked and timed like any other kernel's. The problem takes
the place of its ``key``. ``prune_configs_by`` is ignored, because it only saves time. Tensors that ``reset_to_zero``
names are cleared before every launch. ``restore_value`` is ignored, because outputs are new for every launch and inputs
may not change.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Literal, TypeVar

import torch
import triton
import triton.language as tl
from pydantic import create_model

from kernels.hardware import Hardware
from kernels.spec import Config, Inputs, KernelSpec, Problem

P = TypeVar("P", bound=Problem)

CLEARED = 4096
"""Elements per program of the launch that clears a tensor."""
LAUNCH = ("num_warps", "num_stages", "num_ctas", "maxnreg")
"""Fields that ``triton.Config`` takes by name. All others are meta-parameters of the kernel."""


def values_of(config: Any) -> dict[str, Any]:
    """One ``triton.Config`` as plain values, without ``num_ctas`` and ``maxnreg`` if they have their defaults."""
    launch = {n: getattr(config, n, None) for n in LAUNCH}
    if launch["num_ctas"] == 1:
        del launch["num_ctas"]
    return {**config.kwargs, **{n: v for n, v in launch.items() if v is not None}}


def configs_of(kernel: Any) -> type[Config]:
    """A closed config model with the values that occur in the configs of `kernel`, an autotuned kernel.

    A field that some configs do not set may be None. Raises ValueError if `kernel` is not autotuned, or a value is not
    a whole number, a string or a bool."""
    rows = [values_of(c) for c in _tuned(kernel)[0].configs]
    fields: dict[str, Any] = {}
    for name in dict.fromkeys(n for row in rows for n in row):
        found = [row.get(name) for row in rows]
        odd = [v for v in found if not isinstance(v, int | str | bool | None)]
        if odd:
            raise ValueError(
                f"{name}={odd[0]!r} of {_name(kernel)} is no whole number, string or bool: choose among such values, "
                "and have the kernel make of them what it needs"
            )
        values = tuple(dict.fromkeys(found))
        literal = Literal[values]  # type: ignore[valid-type]
        fields[name] = (literal, None) if None in values else (literal, ...)
    model: type[Config] = create_model(f"{_name(kernel)}_config", __base__=Config, **fields)
    return model


class AutotunedKernel(KernelSpec[P, Config]):
    """A spec whose launch and space come from its autotuned ``kernel``."""

    kernel: ClassVar[Any]
    """The function decorated with ``@triton.autotune``."""

    @abstractmethod
    def arguments(self, problem: P, inputs: Inputs, out: torch.Tensor) -> tuple[Any, ...]:
        """The kernel's positional arguments, in order, up to its meta-parameters."""

    @abstractmethod
    def grid(self, problem: P, meta: dict[str, Any]) -> tuple[int, ...]:
        """Programs to launch; `meta` holds the config's values."""

    def candidates(self, problem: P, hardware: Hardware) -> Iterator[Config]:
        """The kernel's own configs, in its order."""
        for config in _tuned(self.kernel)[0].configs:
            yield self.config_type(**values_of(config))

    def launch(self, problem: P, config: Config, inputs: Inputs, out: torch.Tensor, hardware: Hardware) -> None:
        """Do what the autotuner does after its choice: clear tensors, call the config's pre-hook, launch."""
        tuned, heuristics = _tuned(self.kernel)
        values = {n: v for n, v in config.model_dump().items() if v is not None}
        arguments = self.arguments(problem, inputs, out)
        named = dict(zip(tuned.arg_names, arguments, strict=False))
        for name in tuned.reset_to_zero:
            _clear(named[name])
        chosen = next((c for c in tuned.configs if values_of(c) == values), None)
        if chosen is not None and chosen.pre_hook is not None:
            chosen.pre_hook({**named, **values})
        given = dict(values)
        for name, value in heuristics.items():
            given[name] = value({**named, **given})
        tuned.fn[self.grid(problem, values)](*arguments, **given)


@triton.jit
def _zeros(ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    tl.store(ptr + offsets, tl.zeros((BLOCK,), ptr.dtype.element_ty), mask=offsets < n)


def _clear(tensor: torch.Tensor) -> None:
    """Fill with zeros by a Triton launch. PyTorch's fill would be a kernel of a library within the launch."""
    if tensor.is_contiguous():
        _zeros[(triton.cdiv(tensor.numel(), CLEARED),)](tensor, tensor.numel(), BLOCK=CLEARED)
    else:
        tensor.zero_()


def _tuned(kernel: Any) -> tuple[Any, dict[str, Any]]:
    """The autotuner, and the ``@triton.heuristics`` above it. Raises ValueError if there is no autotuner."""
    heuristics: dict[str, Any] = {}
    tuned = kernel
    while not hasattr(tuned, "configs") and isinstance(getattr(tuned, "values", None), dict):
        heuristics.update(tuned.values)
        tuned = tuned.fn
    if not (hasattr(tuned, "configs") and hasattr(tuned, "fn")):
        raise ValueError(f"{_name(kernel)} is not decorated with @triton.autotune: its configs cannot be taken")
    return tuned, heuristics


def _name(kernel: Any) -> str:
    while hasattr(kernel, "fn"):
        kernel = kernel.fn
    return str(getattr(kernel, "__name__", kernel))
