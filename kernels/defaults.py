"""The defaults of :class:`kernels.spec.KernelSpec`, and when each of them holds.

They fit a kernel whose inputs are dense tensors, whose arithmetic is fp32 and whose result is rounded once. Any other
kernel overrides the methods that do not fit. If a default cannot be computed, the error names the method to define.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice, product
from math import prod
from typing import TYPE_CHECKING, Any, Literal, Protocol, Union, get_args, get_origin

from memory.terms import Metric

if TYPE_CHECKING:
    import torch
    from pydantic import BaseModel

    from kernels.hardware import Hardware
    from kernels.launches.effects import Effects

    Inputs = tuple[torch.Tensor | None, ...]

MOST_CONFIGS = 20_000
"""A space above this is a mistake in the config model, and would take minutes to list."""
MOST_REDUCED = 1 << 20
"""Elements over all dimensions that the interpreter computes within seconds."""
UNIT = {"fp16": 2.0**-11, "bf16": 2.0**-8, "fp32": 2.0**-24}
"""Half a unit in the last place of one (IEEE 754; bfloat16 has 8 significant bits)."""


class Spec(Protocol):
    """What the defaults ask of a :class:`kernels.spec.KernelSpec`, which imports this file."""

    @property
    def name(self) -> str: ...
    @property
    def metric(self) -> Metric: ...
    @property
    def problem_type(self) -> type[Any]: ...
    def candidates(self, problem: Any, hardware: Hardware) -> Iterator[Any]: ...
    def constraint(self, problem: Any, config: Any, hardware: Hardware) -> str | None: ...
    def inputs(self, problem: Any, generator: torch.Generator | None, device: str) -> Inputs: ...
    def output(self, problem: Any, device: str) -> torch.Tensor: ...
    def eager(self, problem: Any, inputs: Inputs) -> torch.Tensor: ...
    def effects(self, problem: Any) -> Effects: ...


class Undefined(ValueError):
    """A default does not apply. The message names the method to define."""


def problem(spec: Spec) -> Any:
    lacking = [n for n, f in spec.problem_type.model_fields.items() if f.is_required()]
    if lacking:
        raise Undefined(
            f"{spec.name} has no default problem: give {', '.join(lacking)} of "
            f"{spec.problem_type.__name__} default values, or define default_problem()"
        )
    return spec.problem_type()


def config(spec: Spec, problem: Any, hardware: Hardware) -> Any:
    given = islice(spec.candidates(problem, hardware), MOST_CONFIGS)
    first = next((c for c in given if spec.constraint(problem, c, hardware) is None), None)
    if first is None:
        raise Undefined(f"no config of {spec.name} breaks no constraint on {problem.label()}: widen candidates()")
    return first


def listed(spec: Spec, problem: Any, hardware: Hardware) -> list[Any]:
    """The candidates, once each. Raises Undefined if there are more than MOST_CONFIGS."""
    given = list(islice(spec.candidates(problem, hardware), MOST_CONFIGS + 1))
    if len(given) > MOST_CONFIGS:
        raise Undefined(f"candidates() of {spec.name} gives more than {MOST_CONFIGS:,} configs: list fewer")
    return list(dict.fromkeys(given))


def candidates(config_type: type[Any]) -> Iterator[Any]:
    """Every combination of the fields' values; the last field varies fastest. Fields must be ``Literal`` or bool.

    Raises Undefined for an open field, and for more than MOST_CONFIGS combinations."""
    values = {name: field_values(config_type, name) for name in config_type.model_fields}
    count = 1
    for each in values.values():
        count *= len(each)
    if count > MOST_CONFIGS:
        raise Undefined(
            f"{config_type.__name__} has {count:,} combinations, more than {MOST_CONFIGS:,}: "
            "list fewer values per field, or define candidates()"
        )
    for chosen in product(*values.values()):
        yield config_type(**dict(zip(values, chosen, strict=True)))


def field_values(config_type: type[BaseModel], name: str) -> tuple[Any, ...]:
    """The closed set of values of a config's field. Raises Undefined if the set is open."""
    annotation = config_type.model_fields[name].annotation
    parts = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    found: list[Any] = []
    for part in parts:
        if get_origin(part) is Literal:
            found += get_args(part)
        elif part is bool:
            found += [False, True]
        elif part is type(None):
            found.append(None)
        else:
            shown = getattr(part, "__name__", str(part))
            raise Undefined(
                f"{config_type.__name__}.{name} is {shown}, an open set: write Literal[...] with its values, "
                "or define candidates()"
            )
    return tuple(dict.fromkeys(found))


def output(spec: Spec, problem: Any, device: str) -> Any:
    """Shape and dtype of ``eager``'s results on meta tensors, contiguous; without those that are inputs written in
    place."""
    import torch

    from kernels.launches.leaves import rebuild

    like: Any = spec.eager(problem, spec.inputs(problem, None, "meta"))
    inplace = spec.effects(problem).inplace
    if inplace and isinstance(like, dict):
        like = {name: t for name, t in like.items() if name not in inplace} or None
    elif inplace:
        several = tuple(like) if isinstance(like, tuple | list) else (like,)
        outputs = several[: len(several) - len(inplace)]
        like = outputs[0] if len(outputs) == 1 else outputs or None
    return rebuild(like, lambda path, t: None if t is None else torch.empty(t.shape, dtype=t.dtype, device=device))


def reference(spec: Spec, problem: Any, inputs: Inputs) -> torch.Tensor:
    wide = tuple(None if t is None else t.double() if t.is_floating_point() else t for t in inputs)
    return spec.eager(problem, wide).double()


def tolerance(dtype: str) -> float:
    """4 u, u being 2^-11 (fp16), 2^-8 (bf16) or 2^-24 (fp32), and 64 * 2^-24, relative to the largest element: the
    rounding of the result, three more that eager PyTorch makes where it stores an intermediate (it has to pass too),
    and 64 roundings of fp32 arithmetic. A kernel that computes in fp32 stays near u. One whose sums run over more
    than some dozens of terms in a loop, or whose intermediates are larger than its result, defines its own bound."""
    return 4 * unit(dtype) + 64 * 2.0**-24


def unit(dtype: str) -> float:
    """Half a unit in the last place of one; 0 for integers, which are not rounded."""
    if dtype in UNIT:
        return UNIT[dtype]
    import torch

    kind = getattr(torch, dtype, None)
    if not isinstance(kind, torch.dtype):
        raise Undefined(f"no rounding is known for the dtype {dtype}: define tolerance(problem)")
    return torch.finfo(kind).eps / 2 if kind.is_floating_point else 0.0


def flops(spec: Spec) -> int:
    if spec.metric == "tflops":
        raise Undefined(f'{spec.name} is scored in TFLOP/s: define flops(problem), or set metric = "gbps" or "latency"')
    return 0


def moved(spec: Spec, problem: Any) -> int:
    """Bytes of all inputs and outputs. An element that an expanded view shows many times is moved once; an input
    written in place is moved twice."""
    from kernels.launches.leaves import tensors_in

    given = tensors_in(spec.inputs(problem, None, "meta"))
    found = [*given.values(), *tensors_in(spec.output(problem, "meta")).values()]
    found += [given[path] for path in spec.effects(problem).inplace if path in given]
    return sum(prod(n for n, s in zip(t.shape, t.stride(), strict=True) if s) * t.element_size() for t in found)


def prepare_eager(spec: Spec, problem: Any, inputs: Inputs) -> Callable[[], torch.Tensor]:
    return lambda: spec.eager(problem, inputs)


def prepare_compiled(
    spec: Spec, problem: Any, inputs: Inputs, backend: str | None = None
) -> Callable[[], torch.Tensor]:
    if not isinstance(inputs, tuple):
        compiled = compile_function(lambda given: spec.eager(problem, given), backend)
        compiled(inputs)
        return lambda: compiled(inputs)

    def computed(*given: torch.Tensor | None) -> torch.Tensor:
        return spec.eager(problem, given)

    compiled = compile_function(computed, backend)
    compiled(*inputs)
    return lambda: compiled(*inputs)


MODE = "max-autotune-no-cudagraphs"
BACKENDS = {"ATen only": "ATEN", "Triton only": "TRITON"}
"""What PyTorch's compiler may take a product or a convolution from, and its own name of it. Left alone it times both
and takes the faster, which for near equals is chance."""
CHOSEN = ("mm", "addmm", "bmm", "baddbmm", "_scaled_mm", "_int_mm", "convolution", "_grouped_mm", "_scaled_grouped_mm")
"""ATen's operators that it chooses a backend for."""


def compile_function(function: Callable[..., torch.Tensor], backend: str | None = None) -> Callable[..., torch.Tensor]:
    """`function` through torch.compile, which takes products and convolutions from `backend` alone, if there is one.

    The options are Inductor's ``max_autotune_gemm_backends`` and ``max_autotune_conv_backends`` (torch 2.11, 2.13)."""
    import torch

    # A function that has met eight shapes is no longer compiled but run eagerly, in silence. PyTorch counts by code
    # object, so that a copy starts afresh, and what was compiled before stays. Graph breaks are refused.
    copy = types.FunctionType(
        function.__code__.replace(),
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    if backend is None:
        return torch.compile(copy, mode=MODE, fullgraph=True, dynamic=False)
    options: dict[str, Any] = dict(torch._inductor.list_mode_options(MODE))
    options |= {"max_autotune_gemm_backends": backend, "max_autotune_conv_backends": backend}
    return torch.compile(copy, options=options, fullgraph=True, dynamic=False)


def compiled_choices(spec: Spec, problem: Any) -> dict[str, Callable[[Any, Inputs], Callable[[], torch.Tensor]]]:
    """The backends that can be forced; none for a kernel without products, for which each gives the same code."""
    if not chooses_backend(spec, problem):
        return {}
    return {name: partial(prepare_compiled, spec, backend=backend) for name, backend in BACKENDS.items()}


def chooses_backend(spec: Spec, problem: Any) -> bool:
    """Whether ``eager`` calls an operator of CHOSEN. True if that cannot be seen without a GPU."""
    from torch.utils._python_dispatch import TorchDispatchMode

    from kernels.launches.meta_tensors import MetaElementwise

    seen: set[str] = set()

    class Names(TorchDispatchMode):
        @classmethod
        def _should_skip_dynamo(cls) -> bool:
            """PyTorch imports its compiler, 2 s, to keep a mode's own code from being compiled. Nothing here is."""
            return False

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.add(func.name().partition("::")[2].partition(".")[0])
            return func(*args, **(kwargs or {}))

    try:
        with Names():
            with MetaElementwise():
                inputs = spec.inputs(problem, None, "meta")
            spec.eager(problem, inputs)
    except Exception:  # noqa: BLE001 -- a kernel's own code may need a GPU: then all choices are prepared
        return True
    return not seen.isdisjoint(CHOSEN)


def reduced(problem: Any, config: Any) -> Any:
    """Each dimension ``X`` cut to at most two blocks of the config's ``BLOCK_X`` (``BLOCK_SIZE_X``, ``BLOCK``,
    ``BLOCK_SIZE``), or of 16 where it has none; the last block as ragged as the true shape's. Where that is still more
    than MOST_REDUCED elements, ``BLOCK`` is taken to be the last dimension's alone."""
    changed = {d: shrunk(getattr(problem, d), block_of(config, f"_{d}", "") or 16, 2) for d in problem.dims}
    if prod(changed.values()) > MOST_REDUCED:
        for dim in problem.dims[:-1]:
            changed[dim] = shrunk(getattr(problem, dim), block_of(config, f"_{dim}") or 16, 2)
    return problem.model_copy(update=changed)


def block_of(config: Any, *endings: str) -> int | None:
    """The config's block along a dimension: its first field of that name (``BLOCK`` or ``BLOCK_SIZE`` with one of
    `endings`) that holds a number above 0."""
    names = [name + ending for ending in endings for name in ("BLOCK", "BLOCK_SIZE")]
    return next((b for n in names if isinstance(b := getattr(config, n, None), int) and b > 0), None)


def shrunk(size: int, block: int, most: int) -> int:
    """The longest length of at most `most` blocks that ends like `size` does."""
    return size if size <= most * block else (most - 1) * block + (size % block or block)


def normal(
    shape: tuple[int, ...],
    dtype: torch.dtype,
    generator: torch.Generator | None,
    device: str,
    scale: float = 1.0,
) -> torch.Tensor:
    """Standard normal numbers times `scale`; on ``meta`` the shape alone. For :meth:`KernelSpec.inputs`."""
    import torch

    if device == "meta":
        return torch.empty(shape, dtype=dtype, device=device)
    return torch.randn(shape, generator=generator, device=device).mul_(scale).to(dtype)
