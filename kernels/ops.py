"""The kernels as functions to call: ``from kernels import ops; ops.rms_norm(x, weight)``.

Each picks its config by GPU, shape and dtype (``kernels/tuned.py``), is a ``torch.library`` operator with a fake
kernel, so that torch.compile takes it as it is, and has gradients through PyTorch's own operations. Tensors are fp16 or
bf16.

On a CPU, and on a GPU that ``kernels/hardware.py`` has no facts about, PyTorch computes the result, and a
:class:`NoKernelWarning` says so once per operator. ``warnings.simplefilter("error", ops.NoKernelWarning)`` makes it an
error.
"""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from functools import cache, lru_cache
from math import prod
from pathlib import Path
from typing import Any

import torch

from kernels import backward, registry, tuned
from kernels.hardware import Hardware, hardware_for, hardware_named
from kernels.spec import DTYPES, Inputs, KernelSpec, Problem

Tensor = torch.Tensor

DTYPE_NAMES = {v: k for k, v in DTYPES.items() if k != "fp32"}
ALIGNMENT = 16
"""Bytes; tensor descriptors and 16-byte accesses start there."""


class NoKernelWarning(RuntimeWarning):
    """PyTorch computed what a kernel should have."""


_entries: list[tuned.Entry] | None = None


def use(path: str | Path | None) -> None:
    """Take tuned configs from this file from now on; ``None``: from none. Raises tuned.TunedFileError."""
    global _entries
    _entries = [] if path is None else tuned.load(Path(path))
    _choice.cache_clear()


def config_of(kernel: str, shape: tuple[int, ...], device_name: str, **options: Any) -> tuned.Choice:
    """The config that a call would use on the GPU that the driver calls `device_name`, and why.

    Raises ValueError for a kernel, an option or a GPU that is not known."""
    hardware = hardware_for(device_name)
    if hardware is None:
        raise ValueError(
            f"there are no facts about {device_name!r} in kernels/hardware.py, so PyTorch would compute it"
        )
    spec = _spec(kernel)
    return _choice(kernel, spec.parse_problem(shape, options), hardware.name)


def fused_matmul(x: Tensor, w: Tensor, bias: Tensor | None = None, activation: str = "none") -> Tensor:
    """act(x @ w + bias): x (..., K), w (K, N) with unit stride along N or along K (``linear.weight.t()``), bias (N).

    `activation`: none, relu, leaky_relu (0.01), gelu (tanh form) or silu."""
    _want(activation in ("none", "relu", "leaky_relu", "gelu", "silu"), f"there is no activation {activation!r}")
    _same("fused_matmul", x, w, bias)
    _want(w.dim() == 2 and x.dim() >= 1 and x.shape[-1] == w.shape[0], _shapes("fused_matmul", "x @ w", x, w))
    _want(bias is None or bias.shape == w.shape[1:], _shapes("fused_matmul", "a bias of w's columns", w, bias))
    out: Tensor = torch.ops.autokernel.fused_matmul(_rows(x), w, bias, activation)
    return out.reshape(*x.shape[:-1], w.shape[1])


def matmul(x: Tensor, w: Tensor) -> Tensor:
    """x @ w: x (..., K), w (K, N)."""
    return fused_matmul(x, w)


def softmax(x: Tensor) -> Tensor:
    """Softmax over the last dimension of x (..., N)."""
    _same("softmax", x)
    _want(x.dim() >= 1, "softmax takes a tensor of at least one dimension")
    out: Tensor = torch.ops.autokernel.softmax(_rows(x))
    return out.reshape(x.shape)


def rms_norm(x: Tensor, weight: Tensor, eps: float = 1e-6) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * weight over the last dimension: x (..., N), weight (N)."""
    _same("rms_norm", x, weight)
    _want(x.dim() >= 1 and weight.shape == x.shape[-1:], _shapes("rms_norm", "a weight of x's columns", x, weight))
    out: Tensor = torch.ops.autokernel.rms_norm(_rows(x), weight, eps)
    return out.reshape(x.shape)


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias over the last dimension: x (..., N), weight and bias (N)."""
    _same("layer_norm", x, weight, bias)
    fits = x.dim() >= 1 and weight.shape == bias.shape == x.shape[-1:]
    _want(fits, _shapes("layer_norm", "weight and bias of x's columns", x, weight, bias))
    out: Tensor = torch.ops.autokernel.layer_norm(_rows(x), weight, bias, eps)
    return out.reshape(x.shape)


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up, element by element, of two tensors of one shape."""
    _same("swiglu", gate, up)
    _want(gate.dim() >= 1 and gate.shape == up.shape, _shapes("swiglu", "two tensors of one shape", gate, up))
    out: Tensor = torch.ops.autokernel.swiglu(_rows(gate), _rows(up))
    return out.reshape(gate.shape)


def attention(q: Tensor, k: Tensor, v: Tensor, causal: bool = False) -> Tensor:
    """softmax(q k^T / sqrt(D)) v: q (B, H, S, D), k and v (B, H / GROUP, S, D) for any GROUP that divides H; D is 64 or
    128. `causal`: a position sees itself and what precedes it."""
    _same("attention", q, k, v)
    alike = q.dim() == k.dim() == 4 and k.shape == v.shape and (q.shape[0], *q.shape[2:]) == (k.shape[0], *k.shape[2:])
    wanted = "q (B, H, S, D) and k, v (B, H / GROUP, S, D) with D 64 or 128"
    fits = alike and q.shape[3] in (64, 128) and k.shape[1] > 0 and q.shape[1] % k.shape[1] == 0
    _want(fits, _shapes("attention", wanted, q, k, v))
    out: Tensor = torch.ops.autokernel.attention(q, k, v, causal)
    return out


# -- operators of torch.library, one per kernel; row-wise ones take two dimensions


@torch.library.custom_op("autokernel::fused_matmul", mutates_args=())
def _fused_matmul(x: Tensor, w: Tensor, bias: Tensor | None, activation: str) -> Tensor:
    column_major = w.stride(1) != 1 and w.stride(0) == 1
    operand = _ready(w.t()).t() if column_major else _ready(w)
    layout = "col" if column_major else "row"
    shape = x.shape[0], w.shape[1], x.shape[1]
    inputs = _ready(x), operand, None if bias is None else _ready(bias)
    return _run("fused_matmul", shape, inputs, activation=activation, bias=bias is not None, b_layout=layout)


@torch.library.custom_op("autokernel::softmax", mutates_args=())
def _softmax(x: Tensor) -> Tensor:
    return _run("softmax", tuple(x.shape), (_ready(x),))


@torch.library.custom_op("autokernel::rms_norm", mutates_args=())
def _rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return _run("rms_norm", tuple(x.shape), (_ready(x), _ready(weight)), eps=eps)


@torch.library.custom_op("autokernel::layer_norm", mutates_args=())
def _layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return _run("layer_norm", tuple(x.shape), (_ready(x), _ready(weight), _ready(bias)), eps=eps)


@torch.library.custom_op("autokernel::swiglu", mutates_args=())
def _swiglu(gate: Tensor, up: Tensor) -> Tensor:
    return _run("swiglu", tuple(gate.shape), (_ready(gate), _ready(up)))


@torch.library.custom_op("autokernel::attention", mutates_args=())
def _attention(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    group = q.shape[1] // k.shape[1]
    return _run("attention", tuple(q.shape), (_ready(q), _ready(k), _ready(v)), causal=causal, GROUP=group)


@_fused_matmul.register_fake
def _(x: Tensor, w: Tensor, bias: Tensor | None, activation: str) -> Tensor:
    return x.new_empty((x.shape[0], w.shape[1]))


def _like_first(x: Tensor, *rest: Any) -> Tensor:
    return x.new_empty(x.shape)


for _operator in (_softmax, _rms_norm, _layer_norm, _swiglu, _attention):
    _operator.register_fake(_like_first)


def _keep_inputs(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*(i for i in inputs if isinstance(i, Tensor)))
    ctx.rest = [i for i in inputs if not isinstance(i, Tensor)]


def _keep_output(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(output)


def _keep_both(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    q, k, v, ctx.causal = inputs
    ctx.save_for_backward(q, k, v, output)


def _fused_matmul_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, w, *bias = ctx.saved_tensors
    return (*backward.fused_matmul(grad, x, w, bias[0] if bias else None, ctx.rest[-1]), None)


_fused_matmul.register_autograd(_fused_matmul_backward, setup_context=_keep_inputs)
_softmax.register_autograd(lambda ctx, grad: backward.softmax(grad, *ctx.saved_tensors), setup_context=_keep_output)
_rms_norm.register_autograd(
    lambda ctx, grad: (*backward.rms_norm(grad, *ctx.saved_tensors, *ctx.rest), None), setup_context=_keep_inputs
)
_layer_norm.register_autograd(
    lambda ctx, grad: (*backward.layer_norm(grad, *ctx.saved_tensors, *ctx.rest), None), setup_context=_keep_inputs
)
_swiglu.register_autograd(lambda ctx, grad: backward.swiglu(grad, *ctx.saved_tensors), setup_context=_keep_inputs)


def _attention_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    q, k, v, out = ctx.saved_tensors
    return (*backward.attention(grad, q, k, v, out, ctx.causal), None)


_attention.register_autograd(_attention_backward, setup_context=_keep_both)

# -- launch


def _run(kernel: str, shape: tuple[int, ...], inputs: Inputs, **options: Any) -> Tensor:
    """Launch `kernel` with its chosen config, or have PyTorch compute it and say so."""
    first = inputs[0]
    assert first is not None
    spec = _spec(kernel)
    if 0 in shape:
        return _by_pytorch(spec, shape, inputs, options)
    hardware = _hardware(first.device)
    if hardware is None:
        _warn(kernel, str(first.device) if first.is_cuda else "the CPU")
        return _by_pytorch(spec, shape, inputs, options)
    problem = _problem(kernel, shape, DTYPE_NAMES[first.dtype], tuple(sorted(options.items())))
    out = spec.output(problem, str(first.device))
    with torch.cuda.device(first.device) if first.is_cuda else nullcontext():
        spec.launch(problem, _choice(kernel, problem, hardware.name).config, inputs, out, hardware)
    return out


def _by_pytorch(spec: KernelSpec[Any, Any], shape: tuple[int, ...], inputs: Inputs, options: dict[str, Any]) -> Tensor:
    fields = {**dict(zip(spec.problem_type.dims, shape, strict=True)), **options}
    problem = spec.problem_type.model_construct(**{**spec.default_problem().model_dump(), **fields})
    first = spec.baselines(problem)[0]
    return first.prepare(problem, inputs)().contiguous()


@cache
def _spec(kernel: str) -> KernelSpec[Any, Any]:
    return registry.get(kernel)


@lru_cache(maxsize=4096)
def _problem(kernel: str, shape: tuple[int, ...], dtype: str, options: tuple[tuple[str, Any], ...]) -> Problem:
    problem: Problem = _spec(kernel).parse_problem(shape, {"dtype": dtype, **dict(options)})
    return problem


@lru_cache(maxsize=4096)
def _choice(kernel: str, problem: Problem, hardware: str) -> tuned.Choice:
    global _entries
    if _entries is None:
        _entries = tuned.from_environment()
    return tuned.choose(_spec(kernel), problem, hardware_named(hardware), _entries)


@cache
def _hardware(device: torch.device) -> Hardware | None:
    return hardware_for(torch.cuda.get_device_name(device)) if device.type == "cuda" else None


@cache
def _warn(kernel: str, where: str) -> None:
    warnings.warn(
        f"autokernel has no GPU with known facts for {kernel} on {where}: PyTorch computes it", NoKernelWarning, 4
    )


def _rows(x: Tensor) -> Tensor:
    """x (..., N) as two dimensions; also where one of them is 0."""
    return x.reshape(prod(x.shape[:-1]), x.shape[-1])


def _ready(t: Tensor) -> Tensor:
    """Contiguous and aligned; a copy only where it has to be."""
    t = t.contiguous()
    return t if t.data_ptr() % ALIGNMENT == 0 else t.clone()


def _same(op: str, *tensors: Tensor | None) -> None:
    """Raises TypeError or ValueError unless all are on one device and of one dtype that there is a kernel for."""
    given = [t for t in tensors if t is not None]
    if not all(isinstance(t, Tensor) for t in given):
        raise TypeError(f"{op} takes tensors, got {', '.join(type(t).__name__ for t in given)}")
    dtypes = {t.dtype for t in given}
    if len(dtypes) > 1 or not dtypes <= set(DTYPE_NAMES):
        raise TypeError(f"{op} takes float16 or bfloat16, all of one, got {', '.join(sorted(map(str, dtypes)))}")
    if len({t.device for t in given}) > 1:
        raise ValueError(f"{op} got tensors on {', '.join(sorted({str(t.device) for t in given}))}: put them on one")


def _want(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def _shapes(op: str, wanted: str, *tensors: Tensor | None) -> str:
    return f"{op} wants {wanted}, got shapes {', '.join(str(tuple(t.shape)) for t in tensors if t is not None)}"
