"""The kernels as functions to call: ``from kernels import ops; ops.rms_norm(x, weight)``."""

from kernels.ops.functions import (
    NoKernelWarning,
    attention,
    attention_backward,
    config_of,
    conv2d,
    fused_linear_cross_entropy,
    fused_matmul,
    grouped_matmul,
    layer_norm,
    layer_norm_backward,
    matmul,
    rms_norm,
    rms_norm_backward,
    softmax,
    swiglu,
    use,
)

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
