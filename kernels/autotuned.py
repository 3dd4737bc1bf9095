"""Takes an existing ``@triton.autotune`` kernel with its own configs as the space.

    class Mine(AutotunedKernel):
        name = "mine"
        kernel = add_kernel                   # decorated with @triton.autotune(configs=[...], key=[...])
        config_type = configs_of(add_kernel)
        ...
        def arguments(self, problem, inputs, out): return (*inputs, out, problem.N)
        def grid(self, problem, meta): return (triton.cdiv(problem.N, meta["BLOCK"]),)

The autotuner itself never runs: its configs are compiled, checked and timed like any other kernel's. Its ``key`` is the
problem here; its ``prune_configs_by`` is not asked, since it may only save time.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Literal, TypeVar

import torch
from pydantic import create_model

from kernels.defaults import Undefined
from kernels.hardware import Hardware
from kernels.spec import Config, Inputs, KernelSpec, Problem

P = TypeVar("P", bound=Problem)

LAUNCH = ("num_warps", "num_stages", "num_ctas", "maxnreg")
"""What ``triton.Config`` takes by name, all else being meta-parameters of the kernel."""


def values_of(config: Any) -> dict[str, Any]:
    """One ``triton.Config`` as plain values; ``num_ctas`` and ``maxnreg`` only where they say something."""
    launch = {n: getattr(config, n, None) for n in LAUNCH}
    if launch["num_ctas"] == 1:
        del launch["num_ctas"]
    return {**config.kwargs, **{n: v for n, v in launch.items() if v is not None}}


def configs_of(kernel: Any) -> type[Config]:
    """A closed config model with the values that occur in the configs of `kernel`, an autotuned kernel.

    A field that some configs do not set may be None. Raises ValueError where `kernel` is not autotuned, or a value is
    not a number, a string or a bool."""
    rows = [values_of(c) for c in _tuned(kernel).configs]
    fields: dict[str, Any] = {}
    for name in dict.fromkeys(n for row in rows for n in row):
        values = tuple(dict.fromkeys(row.get(name) for row in rows))
        odd = [v for v in values if not isinstance(v, int | str | bool | None)]
        if odd:
            raise ValueError(f"{name}={odd[0]!r} of {_name(kernel)} is no number, string or bool, so no config can be")
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
        for config in _tuned(self.kernel).configs:
            yield self.config_type(**values_of(config))

    def launch(self, problem: P, config: Config, inputs: Inputs, out: torch.Tensor, hardware: Hardware) -> None:
        """What the autotuner does once it has chosen: pre-hook of the config, then the launch."""
        tuned = _tuned(self.kernel)
        if tuned.reset_to_zero or tuned.restore_value:
            raise Undefined(f"{self.name} wants tensors reset between launches (reset_to_zero): define launch()")
        values = {n: v for n, v in config.model_dump().items() if v is not None}
        arguments = self.arguments(problem, inputs, out)
        chosen = next((c for c in tuned.configs if values_of(c) == values), None)
        if chosen is not None and chosen.pre_hook is not None:
            chosen.pre_hook({**dict(zip(tuned.arg_names, arguments, strict=False)), **values})
        tuned.fn[self.grid(problem, values)](*arguments, **values)


def _tuned(kernel: Any) -> Any:
    if not (hasattr(kernel, "configs") and hasattr(kernel, "fn")):
        raise ValueError(f"{_name(kernel)} is not decorated with @triton.autotune: its configs cannot be taken")
    return kernel


def _name(kernel: Any) -> str:
    return str(getattr(getattr(kernel, "base_fn", kernel), "__name__", kernel))
