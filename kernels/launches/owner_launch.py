"""Launches a decorated kernel as its owner's call does once the autotuner has chosen.

The order is Triton's (``triton/runtime/autotuner.py``, 3.6 to 3.9):

    1. Heuristics above the autotuner see the call's arguments, not the config.
    2. The config's pre-hook sees arguments and config.
    3. Tensors that ``reset_to_zero`` names are cleared, or the autotuner's own pre-hook runs. Triton does this before
       a launch that it times; the owner's buffers hold zeros otherwise.
    4. Heuristics below the autotuner see arguments and config; the grid sees everything.
    5. The launch, then the autotuner's own post-hook. The default one puts back what ``restore_value`` names, which the
       harness does between launches.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl

CLEARED = 4096
"""Elements per program of the launch that clears a tensor."""
LAUNCH = ("num_warps", "num_stages", "num_ctas", "maxnreg")
"""Fields that ``triton.Config`` takes by name. All others are meta-parameters of the kernel."""

Meta = dict[str, Any]


@dataclass(frozen=True)
class Layers:
    """A kernel's decorators, from the outermost, and the JIT function inside them."""

    above: tuple[Any, ...]
    """Heuristics above the autotuner; all of them if there is none."""
    tuner: Any | None
    """The autotuner, or what stands in for one: an object with ``configs`` and ``fn``."""
    below: tuple[Any, ...]
    function: Any
    """The JIT function, interpreted or not."""

    @property
    def names(self) -> list[str]:
        return list(self.function.arg_names)

    @property
    def python(self) -> Callable[..., Any]:
        return python_function(self.function)


def layers_of(kernel: Any) -> Layers:
    """Raises ValueError if there is no Triton function inside."""
    above: list[Any] = []
    below: list[Any] = []
    tuner, layer = None, kernel
    while True:
        if tuner is None and hasattr(layer, "configs") and hasattr(layer, "fn"):
            tuner = layer
        elif isinstance(getattr(layer, "values", None), dict) and hasattr(layer, "fn"):
            (above if tuner is None else below).append(layer)
        else:
            break
        layer = layer.fn
    if not hasattr(layer, "arg_names"):
        raise ValueError(f"{name_of(kernel)} is no Triton kernel: decorate it with @triton.jit")
    return Layers(tuple(above), tuner, tuple(below), layer)


def python_function(kernel: Any) -> Any:
    """The Python function inside all decorators."""
    while hasattr(kernel, "fn"):
        kernel = kernel.fn
    return kernel


def name_of(kernel: Any) -> str:
    found = python_function(kernel)
    return str(getattr(found, "__name__", found))


def values_of(config: Any) -> Meta:
    """One ``triton.Config`` as plain values, without ``num_ctas`` and ``maxnreg`` if they have their defaults."""
    launch = {n: getattr(config, n, None) for n in LAUNCH}
    if launch["num_ctas"] == 1:
        del launch["num_ctas"]
    return {**config.kwargs, **{n: v for n, v in launch.items() if v is not None}}


def config_from(values: Mapping[str, Any]) -> Any:
    """The ``triton.Config`` with `values`; a launch option that they lack has Triton's default."""
    meta = {n: v for n, v in values.items() if n not in LAUNCH}
    return triton.Config(meta, **{n: v for n, v in values.items() if n in LAUNCH})


def arranged_call(kernel: Any, given: Any) -> tuple[tuple[Any, ...], Meta]:
    """The positional and keyword arguments with which to call `kernel`.

    `given` is a tuple of positional arguments, a pair (tuple, dict), or a dict by name. Named arguments become
    positional as far as they follow on without a gap, because the owners of kernels call them like this.
    Raises ValueError for an unknown name."""
    args: tuple[Any, ...]
    if isinstance(given, dict):
        args, named = (), dict(given)
    elif isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], tuple) and isinstance(given[1], dict):
        args, named = given[0], dict(given[1])
    else:
        return tuple(given), {}
    names = layers_of(kernel).names
    unknown = [n for n in named if n not in names and n not in LAUNCH]
    if unknown:
        raise ValueError(f"{name_of(kernel)} has no parameter {unknown[0]}; it has {', '.join(names)}")
    for name in names[len(args) :]:
        if name not in named:
            break
        args = (*args, named.pop(name))
    return args, named


def pruned(kernel: Any, args: Sequence[Any], named: Meta) -> list[Any]:
    """The autotuner's configs that can be launched with these arguments: what ``early_config_prune`` makes of its list.
    A performance model is not asked, because it drops configs only to save time."""
    layers = layers_of(kernel)
    if layers.tuner is None:
        return []
    prune = getattr(layers.tuner, "early_config_prune", None)
    if prune is None:
        return list(layers.tuner.configs)
    given = dict(named)
    for layer in layers.above:
        _add_heuristics(layer, args, given)
    return list(prune(layers.tuner.configs, dict(zip(layers.names, args, strict=False)), **given))


def launch(kernel: Any, args: Sequence[Any], named: Meta, config: Any, grid: Callable[[Meta], tuple[int, ...]]) -> None:
    """Launch `kernel` with `config`, a ``triton.Config``. `grid` sees all arguments and values by name.

    Raises ValueError for arguments that are tuned, or that are missing."""
    layers = layers_of(kernel)
    positional = dict(zip(layers.names, args, strict=False))
    given = dict(named)
    for layer in layers.above:
        _add_heuristics(layer, args, given)
    twice = sorted(set(config.kwargs) & (set(given) | set(positional)))
    if twice:
        raise ValueError(f"{', '.join(twice)} of {name_of(kernel)} is tuned: leave it out of arguments()")
    given |= config.all_kwargs()
    everything = {**positional, **given}
    if config.pre_hook is not None:
        config.pre_hook(everything)
    _prepare(layers.tuner, everything)
    for layer in layers.below:
        _add_heuristics(layer, args, given)
    meta = {**_defaults(layers), **positional, **given}
    missing = [n for n in layers.names if n not in meta]
    if missing:
        raise ValueError(
            f"arguments() gives no {', '.join(missing)} of {name_of(kernel)}: return a dict by name, or (arguments, "
            f'{{"{missing[0]}": …}})'
        )
    launched = layers.function[tuple(grid(meta))]
    launched(*args, **given)
    if layers.tuner is not None and getattr(layers.tuner, "user_defined_post_hook", False):
        layers.tuner.post_hook({**positional, **given}, exception=None)


def _add_heuristics(layer: Any, args: Sequence[Any], given: Meta) -> None:
    for name, value in layer.values.items():
        given[name] = value({**dict(zip(layer.arg_names, args, strict=False)), **given})


def _prepare(tuner: Any, everything: Meta) -> None:
    """What the autotuner does before a launch that it times."""
    if getattr(tuner, "user_defined_pre_hook", False):
        tuner.pre_hook(everything)
        return
    for name in getattr(tuner, "reset_to_zero", None) or ():
        if everything[name] is not None:
            clear(everything[name])


def _defaults(layers: Layers) -> Meta:
    parameters = inspect.signature(layers.python).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}


@triton.jit
def _zeros(ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    tl.store(ptr + offsets, tl.zeros((BLOCK,), ptr.dtype.element_ty), mask=offsets < n)


def clear(tensor: torch.Tensor) -> None:
    """Fill with zeros by a Triton launch, which the compile pool prepares like any other."""
    if tensor.is_contiguous():
        _zeros[(triton.cdiv(tensor.numel(), CLEARED),)](tensor, tensor.numel(), BLOCK=CLEARED)
    else:
        tensor.zero_()
