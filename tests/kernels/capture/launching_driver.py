"""A driver for the tests that compiles for an sm_90 and launches nothing, so that Triton's whole compiled path runs
without a GPU: ``JITFunction.run``, the autotuner, ``CompiledKernel`` and NVIDIA's launcher."""

from __future__ import annotations

import pytest
from triton.backends.compiler import GPUTarget


class Utils:
    def __init__(self) -> None:
        self.launched = 0

    def launch(self, *args):
        self.launched += 1

    def build_signature_metadata(self, signature):
        return b""

    def load_binary(self, name, kernel, shared, device):
        return 1, 1, 32, 0, 1024

    def unload_module(self, module):
        pass

    def get_device_properties(self, device):
        return {"max_shared_mem": 232448, "multiprocessor_count": 132}


def _argument(**kwargs):
    return kwargs


class LaunchingDriver:
    def __init__(self) -> None:
        from triton.backends.nvidia import driver

        if not hasattr(driver, "PyKernelArg"):
            pytest.skip("this Triton compiles its launcher in C, with CUDA's headers")
        for name in ("PyKernelArg", "ARG_TUPLE", "ARG_KERNEL"):  # set when CUDA is opened
            setattr(driver, name, getattr(driver, name) or _argument)
        self.utils = Utils()
        self.launcher_cls = driver.CudaLauncher

    def allocate_default_profile_scratch(self, size, align, stream):
        return None

    def get_current_target(self):
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self):
        return 0

    def get_current_stream(self, device=0):
        return 0

    def get_benchmarker(self):
        def benchmark(call, quantiles):
            call()
            return [1.0, 1.0, 1.0]

        return benchmark
