"""The ops whose kernels make gradients: those of the norms and of attention, and a linear layer with its loss.

``ops.rms_norm`` and ``ops.layer_norm`` get their gradients from the first two. The third one makes its gradients in the
forward pass; its backward pass multiplies them by the loss's own gradient.
"""

from __future__ import annotations

from typing import Any

import torch

from kernels.ops import backward
from kernels.ops.operators import layer_norm, make_ready, rms_norm, run, save_inputs

Tensor = torch.Tensor

LEAST_COLUMNS = 4
"""Of fewer columns the kernels compute no gradients (``kernels/rows/norm_backward.py``)."""


@torch.library.custom_op("autokernel::rms_norm_backward", mutates_args=())
def rms_norm_backward(
    grad: Tensor, x: Tensor, weight: Tensor, rstd: Tensor | None, eps: float
) -> tuple[Tensor, Tensor]:
    given = make_ready(grad), make_ready(x), make_ready(weight), None, None if rstd is None else make_ready(rstd)
    dx, dweight = run("rms_norm_backward", tuple(x.shape), given, eps=eps, saved=rstd is not None)
    return dx, dweight


@torch.library.custom_op("autokernel::layer_norm_backward", mutates_args=())
def layer_norm_backward(
    grad: Tensor, x: Tensor, weight: Tensor, mean: Tensor | None, rstd: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    saved = mean is not None and rstd is not None
    statistics = (make_ready(mean), make_ready(rstd)) if mean is not None and rstd is not None else (None, None)
    given = make_ready(grad), make_ready(x), make_ready(weight), *statistics
    dx, dweight, dbias = run("layer_norm_backward", tuple(x.shape), given, eps=eps, saved=saved)
    return dx, dweight, dbias


@torch.library.custom_op("autokernel::fused_linear_cross_entropy", mutates_args=())
def linear_cross_entropy(x: Tensor, weight: Tensor, target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    shape = x.shape[0], weight.shape[0], x.shape[1]
    given = make_ready(x), make_ready(weight), make_ready(target)
    loss, dx, dweight = run("fused_linear_cross_entropy", shape, given, ignore_index=ignore_index)
    return loss, dx, dweight


@torch.library.custom_op("autokernel::attention_backward", mutates_args=())
def attention_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, causal: bool
) -> tuple[Tensor, Tensor, Tensor]:
    given = tuple(make_ready(t) for t in (q, k, v, out, lse, grad))
    group = q.shape[1] // k.shape[1]
    dq, dk, dv = run("attention_backward", tuple(q.shape), given, causal=causal, GROUP=group)
    return dq, dk, dv


@attention_backward.register_fake
def _(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, causal: bool
) -> tuple[Tensor, Tensor, Tensor]:
    return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)


@rms_norm_backward.register_fake
def _(grad: Tensor, x: Tensor, weight: Tensor, rstd: Tensor | None, eps: float) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), weight.new_empty(weight.shape)


@layer_norm_backward.register_fake
def _(
    grad: Tensor, x: Tensor, weight: Tensor, mean: Tensor | None, rstd: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    return x.new_empty(x.shape), weight.new_empty(weight.shape), weight.new_empty(weight.shape)


@linear_cross_entropy.register_fake
def _(x: Tensor, weight: Tensor, target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    return x.new_empty((), dtype=torch.float32), x.new_empty(x.shape), weight.new_empty(weight.shape)


def gradients_of_rms_norm(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """By the kernel; by PyTorch's operations if they are to be differentiated again, and for very short rows."""
    x, weight = ctx.saved_tensors
    if torch.is_grad_enabled() or x.shape[-1] < LEAST_COLUMNS:
        return (*backward.rms_norm(grad, x, weight, *ctx.rest), None)
    found: tuple[Tensor, ...] = torch.ops.autokernel.rms_norm_backward(grad, x, weight, None, *ctx.rest)
    return (*found, None)


def gradients_of_layer_norm(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """As for ``rms_norm``."""
    x, weight, bias = ctx.saved_tensors
    if torch.is_grad_enabled() or x.shape[-1] < LEAST_COLUMNS:
        return (*backward.layer_norm(grad, x, weight, bias, *ctx.rest), None)
    found: tuple[Tensor, ...] = torch.ops.autokernel.layer_norm_backward(grad, x, weight, None, None, *ctx.rest)
    return (*found, None)


def _keep_gradients(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    """Keep them on `ctx` itself: a saved tensor would be copied when it becomes a leaf's ``grad``. As they are not
    differentiable, they hold no reference to `ctx`."""
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(*output[1:])
    ctx.made = output[1:]


def _scale_gradients(ctx: Any, grad: Tensor | None, *rest: Any) -> tuple[Tensor | None, ...]:
    if ctx.made is None:
        raise RuntimeError(
            "fused_linear_cross_entropy hands its gradients out once: call it again for a second backward pass"
        )
    if torch.is_grad_enabled():
        raise RuntimeError("fused_linear_cross_entropy has no second derivative: leave create_graph out")
    made, ctx.made = ctx.made, None
    if grad is None:
        return None, None, None, None
    dx, dweight = (gradient.mul_(grad) for gradient in made)
    return dx, dweight, None, None


rms_norm.register_autograd(gradients_of_rms_norm, setup_context=save_inputs)
layer_norm.register_autograd(gradients_of_layer_norm, setup_context=save_inputs)
linear_cross_entropy.register_autograd(_scale_gradients, setup_context=_keep_gradients)
