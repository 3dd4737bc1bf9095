"""The kernels as functions: ``from kernels import ops; ops.rms_norm(x, weight)``. Tensors are fp16 or bf16.

Each function chooses its config by GPU, shape and dtype (``kernels/ops/tuned_files.py``). It is a ``torch.library``
operator with a fake kernel, which torch.compile needs, and its gradients are computed by PyTorch's own operations.

On a CPU, and on a GPU whose driver does not say what a launch needs to know, PyTorch computes the result, and each
operator issues one :class:`NoKernelWarning`. ``warnings.simplefilter("error", ops.NoKernelWarning)`` makes it an error.

A call that needs neither autograd nor torch.compile nor the like is recorded once and then replayed
(``kernels/ops/call_cache.py``), which takes a few microseconds of the host's time.
"""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import torch

from kernels.hardware import hardware_for
from kernels.ops import call_cache, gradients, operators, tuned_files
from kernels.ops.operators import DTYPE_NAMES, NoKernelWarning, choose_config, spec_of
from kernels.ops.refused_transforms import refuse_transforms
from kernels.spec import sentence

__all__ = [
    "NoKernelWarning",
    "attention",
    "attention_backward",
    "config_of",
    "conv2d",
    "fused_linear_cross_entropy",
    "fused_matmul",
    "grouped_matmul",
    "layer_norm",
    "layer_norm_backward",
    "matmul",
    "rms_norm",
    "rms_norm_backward",
    "softmax",
    "swiglu",
    "use",
]

Tensor = torch.Tensor


def use(path: str | Path | None) -> None:
    """Read tuned configs from this file from now on; with ``None``, from no file.

    Raises kernels.ops.tuned_files.TunedFileError."""
    operators.set_entries([] if path is None else tuned_files.load(Path(path)))


def config_of(kernel: str, shape: tuple[int, ...], device_name: str, **options: Any) -> tuned_files.Choice:
    """The config that a call would use on the GPU that the driver calls `device_name`, and why.

    Raises ValueError for an unknown kernel, option or GPU. A GPU without published facts is known once it was used."""
    if not isinstance(device_name, str):
        raise TypeError(f"config_of wants the GPU's name as text, got {type(device_name).__name__}")
    hardware = hardware_for(device_name)
    if hardware is None:
        raise ValueError(
            f"there are no facts about {device_name!r}: its driver is asked when one is used, or add an entry in "
            "kernels/hardware"
        )
    spec = spec_of(kernel)
    try:
        problem = spec.parse_problem(shape, options)
    except ValueError as e:
        raise ValueError(sentence(e)) from e
    return choose_config(kernel, problem, hardware)


@call_cache.replayed
def fused_matmul(x: Tensor, w: Tensor, bias: Tensor | None = None, activation: str = "none") -> Tensor:
    """act(x @ w + bias): x (..., K), w (K, N) with unit stride along N or along K (``linear.weight.t()``), bias (N).

    `activation`: none, relu, leaky_relu (0.01), gelu (tanh form) or silu."""
    _require(activation in ("none", "relu", "leaky_relu", "gelu", "silu"), f"there is no activation {activation!r}")
    _require_alike("fused_matmul", x, w, optional=bias)
    _require_shapes(w.dim() == 2 and x.dim() >= 1 and x.shape[-1] == w.shape[0], "fused_matmul", "x @ w", x, w)
    _require_shapes(bias is None or bias.shape == w.shape[1:], "fused_matmul", "a bias of w's columns", w, bias)
    out: Tensor = torch.ops.autokernel.fused_matmul(_as_rows(x), w, bias, activation)
    return out.reshape(*x.shape[:-1], w.shape[1])


def matmul(x: Tensor, w: Tensor) -> Tensor:
    """x @ w: x (..., K), w (K, N)."""
    return fused_matmul(x, w)


@call_cache.replayed
def grouped_matmul(x: Tensor, w: Tensor, ends: Tensor) -> Tensor:
    """x[rows of e] @ w[e] for E groups of rows that follow one another, as a mixture of experts needs it: x (M, K) with
    its rows sorted by expert, w (E, K, N) with unit stride along N or along K (``weights.transpose(1, 2)``), ends (E)
    of int32 on the same device, the row after each group's last one. `ends` must not fall, and the last one must be M;
    the host never waits for them, so they are not checked."""
    _require_alike("grouped_matmul", x, w)
    if not isinstance(ends, Tensor) or ends.dtype != torch.int32:
        given = ends.dtype if isinstance(ends, Tensor) else type(ends).__name__
        raise TypeError(f"grouped_matmul takes ends of int32, got {given}")
    _require(ends.device == x.device, f"grouped_matmul got ends on {ends.device}, x on {x.device}")
    fits = x.dim() == 2 and w.dim() == 3 and x.shape[1] == w.shape[1] and ends.shape == w.shape[:1]
    _require_shapes(fits, "grouped_matmul", "x (M, K), w (E, K, N) and ends (E)", x, w, ends)
    out: Tensor = torch.ops.autokernel.grouped_matmul(x, w, ends)
    return out


@call_cache.replayed
def softmax(x: Tensor) -> Tensor:
    """Softmax over the last dimension of x (..., N)."""
    _require_alike("softmax", x)
    _require(x.dim() >= 1, "softmax takes a tensor of at least one dimension")
    out: Tensor = torch.ops.autokernel.softmax(_as_rows(x))
    return out.reshape(x.shape)


@call_cache.replayed
def rms_norm(x: Tensor, weight: Tensor, eps: float = 1e-6) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * weight over the last dimension: x (..., N), weight (N)."""
    _require_alike("rms_norm", x, weight)
    _require_numbers("rms_norm", float, eps=eps)
    _require_shapes(x.dim() >= 1 and weight.shape == x.shape[-1:], "rms_norm", "a weight of x's columns", x, weight)
    out: Tensor = torch.ops.autokernel.rms_norm(_as_rows(x), weight, eps)
    return out.reshape(x.shape)


@call_cache.replayed
def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias over the last dimension: x (..., N), weight and bias (N)."""
    _require_alike("layer_norm", x, weight, bias)
    _require_numbers("layer_norm", float, eps=eps)
    fits = x.dim() >= 1 and weight.shape == bias.shape == x.shape[-1:]
    _require_shapes(fits, "layer_norm", "weight and bias of x's columns", x, weight, bias)
    out: Tensor = torch.ops.autokernel.layer_norm(_as_rows(x), weight, bias, eps)
    return out.reshape(x.shape)


@call_cache.replayed
def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up, element by element, of two tensors of one shape."""
    _require_alike("swiglu", gate, up)
    _require_shapes(gate.dim() >= 1 and gate.shape == up.shape, "swiglu", "two tensors of one shape", gate, up)
    out: Tensor = torch.ops.autokernel.swiglu(_as_rows(gate), _as_rows(up))
    return out.reshape(gate.shape)


@call_cache.replayed
def attention(q: Tensor, k: Tensor, v: Tensor, causal: bool = False) -> Tensor:
    """softmax(q k^T / sqrt(D)) v: q (B, H, S, D), k and v (B, H / GROUP, S, D) for any GROUP that divides H; D is 64 or
    128. With `causal`, a position attends only to itself and to earlier positions."""
    _require_alike("attention", q, k, v)
    _require_numbers("attention", bool, causal=causal)
    alike = q.dim() == k.dim() == 4 and k.shape == v.shape and (q.shape[0], *q.shape[2:]) == (k.shape[0], *k.shape[2:])
    wanted = "q (B, H, S, D) and k, v (B, H / GROUP, S, D) with D 64 or 128"
    fits = alike and q.shape[3] in (64, 128) and k.shape[1] > 0 and q.shape[1] % k.shape[1] == 0
    _require_shapes(fits, "attention", wanted, q, k, v)
    out: Tensor = torch.ops.autokernel.attention(q, k, v, causal)
    return out


@call_cache.replayed
def conv2d(
    x: Tensor, w: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int = 0, dilation: int = 1
) -> Tensor:
    """Convolution of NHWC images: x (N, H, W, C), w (K, R, S, C), bias (K); the result is (N, P, Q, K) with
    P = (H + 2 padding - dilation (R - 1) - 1) // stride + 1 and Q likewise. `stride`, `padding` and `dilation` apply to
    both directions.

    For a channels_last tensor of PyTorch, call ``conv2d(x.permute(0, 2, 3, 1), w.permute(0, 2, 3, 1))``; it copies
    nothing."""
    _require_alike("conv2d", x, w, optional=bias)
    _require_numbers("conv2d", int, stride=stride, padding=padding, dilation=dilation)
    fits = x.dim() == w.dim() == 4 and x.shape[3] == w.shape[3] and (bias is None or bias.shape == w.shape[:1])
    _require_shapes(fits, "conv2d", "x (N, H, W, C), w (K, R, S, C) and a bias (K)", x, w, bias)
    _require(
        stride > 0 and padding >= 0 and dilation > 0, "conv2d wants stride and dilation above 0, padding from 0 on"
    )
    under = [dilation * (size - 1) + 1 for size in w.shape[1:3]]
    covered = all(0 < u <= size + 2 * padding for u, size in zip(under, x.shape[1:3], strict=True))
    _require_shapes(covered, "conv2d", "images no smaller than the filter, padding included", x, w)
    out: Tensor = torch.ops.autokernel.conv2d(x, w, bias, stride, padding, dilation)
    return out


def rms_norm_backward(
    grad: Tensor, x: Tensor, weight: Tensor, eps: float = 1e-6, rstd: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Gradients of ``rms_norm`` for x (..., N) and weight (N), N at least 4, given that of its result, ``grad``
    (..., N). `rstd` (...) in fp32 is 1 / sqrt(mean(x^2) + eps) of the rows, if the forward pass has kept it."""
    _require_norm("rms_norm_backward", grad, x, weight, eps, rstd)
    rows = None if rstd is None else rstd.reshape(-1)
    dx, dweight = torch.ops.autokernel.rms_norm_backward(_as_rows(grad), _as_rows(x), weight, rows, eps)
    return dx.reshape(x.shape), dweight


def layer_norm_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    eps: float = 1e-5,
    mean: Tensor | None = None,
    rstd: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of ``layer_norm`` for x (..., N), weight (N) and bias (N), N at least 4, given that of its result,
    ``grad`` (..., N). `mean` and `rstd` (...) in fp32 are the rows' statistics, if the forward pass has kept them."""
    _require_norm("layer_norm_backward", grad, x, weight, eps, mean, rstd)
    _require((mean is None) == (rstd is None), "layer_norm_backward takes mean and rstd together, or neither")
    rows = [None if t is None else t.reshape(-1) for t in (mean, rstd)]
    found = torch.ops.autokernel.layer_norm_backward(_as_rows(grad), _as_rows(x), weight, *rows, eps)
    dx, dweight, dbias = found
    return dx.reshape(x.shape), dweight, dbias


def attention_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, causal: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of ``attention`` for q, k and v, given its result ``out``, that of the result, ``grad`` (both
    (B, H, S, D)), and the natural logarithms ``lse`` (B, H, S) of the softmax's sums in fp32."""
    _require_alike("attention_backward", grad, q, k, v, out)
    _require_numbers("attention_backward", bool, causal=causal)
    alike = q.dim() == k.dim() == 4 and k.shape == v.shape and (q.shape[0], *q.shape[2:]) == (k.shape[0], *k.shape[2:])
    fits = alike and q.shape[3] in (64, 128) and k.shape[1] > 0 and q.shape[1] % k.shape[1] == 0
    fits = fits and grad.shape == out.shape == q.shape
    wanted = "grad, q and out (B, H, S, D) and k, v (B, H / GROUP, S, D) with D 64 or 128"
    _require_shapes(fits, "attention_backward", wanted, grad, q, k, v, out)
    sums = isinstance(lse, Tensor) and lse.dtype == torch.float32 and lse.device == q.device
    _require(sums, "attention_backward takes lse in float32 on q's device")
    _require_shapes(lse.shape == q.shape[:3], "attention_backward", "lse (B, H, S)", lse, q)
    dq, dk, dv = torch.ops.autokernel.attention_backward(grad, q, k, v, out, lse, causal)
    return dq, dk, dv


def fused_linear_cross_entropy(x: Tensor, weight: Tensor, target: Tensor, ignore_index: int = -100) -> Tensor:
    """Mean cross-entropy, in fp32, of the logits x @ weight^T: x (..., K), weight (N, K) as in ``torch.nn.Linear``,
    target (...) of int64. Rows whose target is `ignore_index` do not count; the loss of a target outside the vocabulary
    is NaN.

    The logits are never in memory as a whole. The gradients for x and weight are made with the loss, in one call, so
    this is for training. They are handed out once: a second backward pass needs a second call."""
    _require_alike("fused_linear_cross_entropy", x, weight)
    _require_numbers("fused_linear_cross_entropy", int, ignore_index=ignore_index)
    if not isinstance(target, Tensor) or target.dtype != torch.int64:
        given = target.dtype if isinstance(target, Tensor) else type(target).__name__
        raise TypeError(f"fused_linear_cross_entropy takes targets of int64, got {given}")
    _require(target.device == x.device, f"fused_linear_cross_entropy got targets on {target.device}, x on {x.device}")
    fits = x.dim() >= 1 and weight.dim() == 2 and x.shape[-1] == weight.shape[1] and target.shape == x.shape[:-1]
    wanted = "x (..., K), weight (N, K) and target (...)"
    _require_shapes(fits, "fused_linear_cross_entropy", wanted, x, weight, target)
    _require_shapes(x.numel() > 0 and weight.numel() > 0, "fused_linear_cross_entropy", "at least one row", x, weight)
    loss: Tensor = gradients.linear_cross_entropy(_as_rows(x), weight, target.reshape(-1), ignore_index)[0]
    return loss


def _require_norm(op: str, grad: Tensor, x: Tensor, weight: Tensor, eps: float, *statistics: Tensor | None) -> None:
    """Raises TypeError or ValueError unless these are the arguments of a norm's gradient."""
    _require_alike(op, grad, x, weight)
    _require_numbers(op, float, eps=eps)
    fits = x.dim() >= 1 and grad.shape == x.shape and weight.shape == x.shape[-1:]
    _require_shapes(fits, op, "grad and x of one shape and a weight of x's columns", grad, x, weight)
    _require_shapes(x.shape[-1] >= gradients.LEAST_COLUMNS, op, "rows of at least 4 elements", x)
    for given in statistics:
        alike = given is None or (given.dtype == torch.float32 and given.device == x.device)
        _require(alike, f"{op} takes statistics in float32 on x's device")
        _require_shapes(given is None or given.shape == x.shape[:-1], op, "one statistic for each row", x, given)


def _as_rows(x: Tensor) -> Tensor:
    """x (..., N) as two dimensions, either of which may be 0."""
    return x.reshape(prod(x.shape[:-1]), x.shape[-1])


def _require_alike(op: str, *tensors: Tensor, optional: Tensor | None = None) -> None:
    """Raises TypeError or ValueError unless all are on one device and of one dtype that there is a kernel for."""
    given = [*tensors] if optional is None else [*tensors, optional]
    if not all(isinstance(t, Tensor) for t in given):
        raise TypeError(f"{op} takes tensors, got {', '.join(type(t).__name__ for t in given)}")
    dtypes = {t.dtype for t in given}
    if len(dtypes) > 1 or not dtypes <= set(DTYPE_NAMES):
        raise TypeError(f"{op} takes float16 or bfloat16, all of one, got {', '.join(sorted(map(str, dtypes)))}")
    if len({t.device for t in given}) > 1:
        raise ValueError(f"{op} got tensors on {', '.join(sorted({str(t.device) for t in given}))}: put them on one")
    for t in given:
        _require(t.layout is torch.strided, f"{op} takes dense tensors, got one of layout {t.layout}")
    refuse_transforms(op, *given)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def _require_numbers(op: str, kind: type, **given: Any) -> None:
    """Raises TypeError unless all are whole numbers (`kind` int or bool) or numbers (float)."""
    for name, value in given.items():
        if not isinstance(value, (int, kind)):
            raise TypeError(f"{op} wants {name} as one {kind.__name__}, got {value!r}")


def _require_shapes(holds: bool, op: str, wanted: str, *tensors: Tensor | None) -> None:
    """Raises ValueError unless `holds`. Only then is the message built: torch.compile cannot print symbolic sizes."""
    if not holds:
        shapes = ", ".join(str(tuple(t.shape)) for t in tensors if t is not None)
        raise ValueError(f"{op} wants {wanted}, got shapes {shapes}")
