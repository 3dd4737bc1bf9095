"""What a compile child of the tests does: compile a config offline and say what the compiler made of it.

A process of its own for each GPU model, because Triton keeps the first target it was given."""

import torch
from triton.runtime import driver

from kernels import registry
from kernels.hardware import hardware_named
from kernels.triton.stub_driver import StubDriver
from tools.harness.compiling.compiler import before_fork as before_fork
from tools.harness.compiling.compiler import warm_ups_only

COUNTED = ("wgmma.mma_async", "cp.async.bulk.tensor", "mma.sync", "v_mfma", "e4m3.e4m3", "atom.")


def waits_first(ptx: str) -> bool:
    """Whether a kernel waits for the one before it ahead of its first load from memory."""
    loads = [at for at in map(ptx.find, ("ld.global", "cp.async.bulk.tensor")) if at >= 0]
    return 0 <= ptx.find("griddepcontrol.wait") < min(loads)


def compiled(init):
    """A child's factory (:class:`tools.harness.process.child.Child`). `init`: the GPU model; a case: kernel, problem,
    config, whether it is compiled once more from a launch on data (`allocate`), and whether `sass` is wanted."""
    hardware = hardware_named(init["hardware"])
    driver.set_active(StubDriver(hardware))

    def launch(case, device):
        """The kernels of one launch on meta tensors or on data."""
        spec = registry.get(case["kernel"])
        problem = spec.problem_type.model_validate(case["problem"])
        config = spec.config_type.model_validate(case["config"])
        generator = None if device == "meta" else torch.Generator().manual_seed(0)
        with warm_ups_only() as launches:
            inputs, out = spec.inputs(problem, generator, device), spec.output(problem, device)
            spec.launch(problem, config, inputs, out, hardware)
        return [kernel for kernel, _ in launches]

    def serve(case):
        kernels, same = launch(case, "meta"), None
        if case["allocate"]:
            same = [k.hash for k in launch(case, "cpu")] == [k.hash for k in kernels]
        text = kernels[0].asm["ptx" if hardware.backend == "cuda" else "amdgcn"]
        return {
            "name": kernels[0].metadata.name,
            "same_with_data": same,
            "launches": [k.metadata.name for k in kernels],
            "waits_first": waits_first(kernels[-1].asm.get("ptx", "")),
            "shared": kernels[0].metadata.shared,
            "sass": kernels[0].asm["sass"] if case["sass"] else None,
            **{key: text.count(key) for key in COUNTED},
        }

    return serve
