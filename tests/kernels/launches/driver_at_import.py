"""A file that asks Triton for the active device when it is imported, as Triton's tutorials do. Where there is no GPU it
cannot be imported by name: the registry opens it."""

from typing import Literal

import triton
import triton.language as tl

from kernels.defaults import normal
from kernels.spec import Config, KernelSpec, Problem

DEVICE = triton.runtime.driver.active.get_active_torch_device()


@triton.jit
def twice(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, 2 * tl.load(x_ptr + at, mask=at < n), mask=at < n)


class Line(Problem):
    dims = ("N",)
    N: int = 300


class Block(Config):
    BLOCK: Literal[64, 128]


class DriverAtImport(KernelSpec):
    """The twin launches one block fewer."""

    name, metric, wrong = "driver_at_import", "gbps", False
    problem_type, config_type = Line, Block

    def inputs(self, p, g, d):
        assert d in ("cpu", "meta") or d.startswith(DEVICE.type)
        return (normal((p.N,), p.torch_dtype, g, d),)

    def launch(self, p, c, inputs, out, hw):
        grid = (triton.cdiv(p.N, c.BLOCK) - self.wrong,)
        twice[grid](inputs[0], out, p.N, BLOCK=c.BLOCK)

    def eager(self, p, inputs):
        return 2 * inputs[0]


class DriverAtImportTwin(DriverAtImport):
    name, wrong = "driver_at_import_twin", True
