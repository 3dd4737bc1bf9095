"""The kernels as functions to call: ``from kernels import ops; ops.rms_norm(x, weight)``."""

from kernels.ops.functions import (
    NoKernelWarning,
    attention,
    config_of,
    conv2d,
    fused_matmul,
    layer_norm,
    matmul,
    rms_norm,
    softmax,
    swiglu,
    use,
)

__all__ = [
    "NoKernelWarning",
    "attention",
    "config_of",
    "conv2d",
    "fused_matmul",
    "layer_norm",
    "matmul",
    "rms_norm",
    "softmax",
    "swiglu",
    "use",
]
