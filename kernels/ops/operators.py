"""The public ops as ``torch.library`` operators: fake kernels for torch.compile, gradients, and the launch itself.

``kernels/ops/functions.py`` checks arguments and calls these. An operator copies a tensor that is not contiguous or not
aligned, chooses the config, and launches. On a device without a kernel, PyTorch computes the result, with a warning.
"""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from functools import cache, lru_cache, partial
from typing import Any

import torch

from kernels import registry
from kernels.hardware import Hardware, hardware_for
from kernels.hardware.asked_gpu import DriverSilent, ask
from kernels.ops import backward, call_cache, tuned_files
from kernels.ops.fp_fusion import fused_multiply_adds
from kernels.spec import Inputs, KernelSpec, Problem

Tensor = torch.Tensor

DTYPE_NAMES = {torch.float16: "fp16", torch.bfloat16: "bf16"}


class NoKernelWarning(RuntimeWarning):
    """PyTorch computed the result, because there is no kernel for the device."""


# -- one operator per kernel; row-wise ones take two dimensions


@torch.library.custom_op("autokernel::fused_matmul", mutates_args=())
def _fused_matmul(x: Tensor, w: Tensor, bias: Tensor | None, activation: str) -> Tensor:
    column_major = w.stride(1) != 1 and w.stride(0) == 1
    operand = make_ready(w.t()).t() if column_major else make_ready(w)
    layout = "col" if column_major else "row"
    shape = x.shape[0], w.shape[1], x.shape[1]
    inputs = make_ready(x), operand, None if bias is None else make_ready(bias)
    return run("fused_matmul", shape, inputs, activation=activation, bias=bias is not None, b_layout=layout)


@torch.library.custom_op("autokernel::softmax", mutates_args=())
def _softmax(x: Tensor) -> Tensor:
    return run("softmax", tuple(x.shape), (make_ready(x),))


@torch.library.custom_op("autokernel::rms_norm", mutates_args=())
def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return run("rms_norm", tuple(x.shape), (make_ready(x), make_ready(weight)), eps=eps)


@torch.library.custom_op("autokernel::layer_norm", mutates_args=())
def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return run("layer_norm", tuple(x.shape), (make_ready(x), make_ready(weight), make_ready(bias)), eps=eps)


@torch.library.custom_op("autokernel::swiglu", mutates_args=())
def _swiglu(gate: Tensor, up: Tensor) -> Tensor:
    return run("swiglu", tuple(gate.shape), (make_ready(gate), make_ready(up)))


@torch.library.custom_op("autokernel::attention", mutates_args=())
def _attention(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    group = q.shape[1] // k.shape[1]
    return run("attention", tuple(q.shape), (make_ready(q), make_ready(k), make_ready(v)), causal=causal, GROUP=group)


@torch.library.custom_op("autokernel::conv2d", mutates_args=())
def _conv2d(x: Tensor, w: Tensor, bias: Tensor | None, stride: int, padding: int, dilation: int) -> Tensor:
    shape = *x.shape, w.shape[0], *w.shape[1:3]
    inputs = make_ready(x), make_ready(w), None if bias is None else make_ready(bias)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "bias": bias is not None}
    return run("conv2d", shape, inputs, **options)


@torch.library.custom_op("autokernel::grouped_matmul", mutates_args=())
def _grouped_matmul(x: Tensor, w: Tensor, ends: Tensor) -> Tensor:
    column_major = w.stride(2) != 1 and w.stride(1) == 1
    operand = make_ready(w.transpose(1, 2)).transpose(1, 2) if column_major else make_ready(w)
    layout = "col" if column_major else "row"
    shape = x.shape[0], w.shape[2], x.shape[1], w.shape[0]
    return run("grouped_matmul", shape, (make_ready(x), operand, make_ready(ends)), align=1, b_layout=layout)


@_grouped_matmul.register_fake
def _(x: Tensor, w: Tensor, ends: Tensor) -> Tensor:
    return x.new_empty((x.shape[0], w.shape[2]))


@_fused_matmul.register_fake
def _(x: Tensor, w: Tensor, bias: Tensor | None, activation: str) -> Tensor:
    return x.new_empty((x.shape[0], w.shape[1]))


@_conv2d.register_fake
def _(x: Tensor, w: Tensor, bias: Tensor | None, stride: int, padding: int, dilation: int) -> Tensor:
    sides = [
        (size + 2 * padding - dilation * (filter_size - 1) - 1) // stride + 1
        for size, filter_size in zip(x.shape[1:3], w.shape[1:3], strict=True)
    ]
    return x.new_empty((x.shape[0], *sides, w.shape[0]))


def _like_first(x: Tensor, *rest: Any) -> Tensor:
    return x.new_empty(x.shape)


for _operator in (_softmax, rms_norm, layer_norm, _swiglu, _attention):
    _operator.register_fake(_like_first)


def save_inputs(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*(i for i in inputs if isinstance(i, Tensor)))
    ctx.rest = [i for i in inputs if not isinstance(i, Tensor)]


def _save_output(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(output)


def _save_inputs_and_output(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    q, k, v, ctx.causal = inputs
    ctx.save_for_backward(q, k, v, output)


def _fused_matmul_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, w, *bias = ctx.saved_tensors
    return (*backward.fused_matmul(grad, x, w, bias[0] if bias else None, ctx.rest[-1]), None)


_fused_matmul.register_autograd(_fused_matmul_backward, setup_context=save_inputs)


def _grouped_matmul_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return (*backward.grouped_matmul(grad, *ctx.saved_tensors), None)


_grouped_matmul.register_autograd(_grouped_matmul_backward, setup_context=save_inputs)


def _conv2d_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, w, *bias = ctx.saved_tensors
    return (*backward.conv2d(grad, x, w, bool(bias), *ctx.rest[-3:]), None, None, None)


_conv2d.register_autograd(_conv2d_backward, setup_context=save_inputs)
_softmax.register_autograd(lambda ctx, grad: backward.softmax(grad, *ctx.saved_tensors), setup_context=_save_output)
_swiglu.register_autograd(lambda ctx, grad: backward.swiglu(grad, *ctx.saved_tensors), setup_context=save_inputs)


def _attention_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    q, k, v, out = ctx.saved_tensors
    return (*backward.attention(grad, q, k, v, out, ctx.causal), None)


_attention.register_autograd(_attention_backward, setup_context=_save_inputs_and_output)

# -- launch


def run(kernel: str, shape: tuple[int, ...], inputs: Inputs, **options: Any) -> Any:
    """Launch `kernel` with its chosen config; its result, or a tuple of several. Without a kernel for the device,
    PyTorch computes the result and a warning is issued."""
    first = inputs[0]
    assert first is not None
    spec = spec_of(kernel)
    if 0 in shape:
        return _by_pytorch(spec, shape, inputs, options)
    hardware = hardware_of(first.device)
    if hardware is None:
        warn_once(kernel, str(first.device) if first.is_cuda else "the CPU")
        return _by_pytorch(spec, shape, inputs, options)
    problem = _problem(kernel, shape, DTYPE_NAMES[first.dtype], tuple(sorted(options.items())))
    out = spec.output(problem, str(first.device))
    with torch.cuda.device(first.device) if first.is_cuda else nullcontext():
        config = choose_config(kernel, problem, hardware).config
        compiled = _compiled(kernel, problem, first.get_device())
        with nullcontext() if compiled else fused_multiply_adds():
            call_cache.launch(partial(spec.launch, problem, config, inputs, out, hardware), inputs, out)
        compiled[:] = [True]
    return out


@lru_cache(maxsize=4096)
def _compiled(kernel: str, problem: Problem, device: int) -> list[bool]:
    """Empty until the call's kernels were launched once: its tensors are aligned, so that the problem decides what
    Triton compiles."""
    return []


def _by_pytorch(spec: KernelSpec[Any, Any], shape: tuple[int, ...], inputs: Inputs, options: dict[str, Any]) -> Any:
    fields = {**dict(zip(spec.problem_type.dims, shape, strict=True)), **options}
    problem = spec.problem_type.model_construct(**{**spec.default_problem().model_dump(), **fields})
    # An operator runs below autograd: a kernel whose eager way needs it has its formula besides.
    formula = getattr(spec, "formula", None)
    found: Any = formula(problem, inputs) if formula else spec.baselines(problem)[0].prepare(problem, inputs)()
    return tuple(t.contiguous() for t in found) if isinstance(found, tuple) else found.contiguous()


_entries: list[tuned_files.Entry] | None = None


def set_entries(entries: list[tuned_files.Entry]) -> None:
    """Choose configs among these entries from now on."""
    global _entries
    _entries = entries
    choose_config.cache_clear()
    _compiled.cache_clear()
    call_cache.forget()


@cache
def spec_of(kernel: str) -> KernelSpec[Any, Any]:
    return registry.get(kernel)


@lru_cache(maxsize=4096)
def _problem(kernel: str, shape: tuple[int, ...], dtype: str, options: tuple[tuple[str, Any], ...]) -> Problem:
    problem: Problem = spec_of(kernel).parse_problem(shape, {"dtype": dtype, **dict(options)})
    return problem


@lru_cache(maxsize=4096)
def choose_config(kernel: str, problem: Problem, hardware: Hardware) -> tuned_files.Choice:
    """The config of a call, chosen from the entries that were set, else from the file that the environment names."""
    global _entries
    if _entries is None:
        _entries = tuned_files.from_environment()
    return tuned_files.choose(spec_of(kernel), problem, hardware, _entries)


@cache
def hardware_of(device: torch.device) -> Hardware | None:
    """The GPU's facts, asked of its driver if there are no published ones; ``None`` on a CPU, or if the driver does not
    say enough."""
    if device.type != "cuda":
        return None
    index = torch.cuda.current_device() if device.index is None else device.index
    try:
        return hardware_for(torch.cuda.get_device_name(index)) or ask(index)
    except DriverSilent:
        return None


@cache
def warn_once(kernel: str, where: str) -> None:
    warnings.warn(
        f"autokernel has no GPU with known facts for {kernel} on {where}: PyTorch computes it", NoKernelWarning, 4
    )


def make_ready(t: Tensor) -> Tensor:
    """`t`, or a copy of it if it is not contiguous and aligned."""
    t = t.contiguous()
    return t if t.data_ptr() % call_cache.ALIGNMENT == 0 else t.clone()
