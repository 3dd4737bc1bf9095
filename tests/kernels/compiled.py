"""Compile one config offline: kernel, problem, config and hardware as JSON on stdin, what the compiler made of it as
JSON on stdout. A child process of its own, because Triton keeps the first target it was given."""

import json
import sys

import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from kernels import registry
from kernels.hardware import hardware_named

COUNTED = ("wgmma.mma_async", "cp.async.bulk.tensor", "mma.sync", "v_mfma", "e4m3.e4m3", "atom.")


def waits_first(ptx: str) -> bool:
    """Whether a kernel waits for the one before it ahead of its first load from memory."""
    loads = [at for at in map(ptx.find, ("ld.global", "cp.async.bulk.tensor")) if at >= 0]
    return 0 <= ptx.find("griddepcontrol.wait") < min(loads)


class NoDevice:
    """A driver that knows its target and has no device."""

    def __init__(self, target: GPUTarget) -> None:
        self.target = target

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int = 0) -> int:
        return 0


def main() -> None:
    case = json.load(sys.stdin)
    hardware = hardware_named(case["hardware"])
    driver.set_active(NoDevice(GPUTarget(hardware.backend, hardware.arch, hardware.warp_size)))
    compiled = []
    run = JITFunction.run

    def compile_only(self, *args, grid, warmup, **options):
        compiled.append(run(self, *args, grid=grid, warmup=True, **options))
        return compiled[-1]

    JITFunction.run = compile_only
    answers = []
    for one in case["cases"]:
        compiled.clear()
        spec = registry.get(one["kernel"])
        problem = spec.problem_type.model_validate(one["problem"])
        config = spec.config_type.model_validate(one["config"])
        spec.launch(problem, config, spec.inputs(problem, None, "meta"), spec.output(problem, "meta"), hardware)
        kernels, same = list(compiled), None
        if one["allocate"]:
            generator = torch.Generator().manual_seed(0)
            out = spec.output(problem, "cpu")
            spec.launch(problem, config, spec.inputs(problem, generator, "cpu"), out, hardware)
            same = [k.hash for k in compiled[len(kernels) :]] == [k.hash for k in kernels]
        kernel = kernels[0]
        text = kernel.asm["ptx" if hardware.backend == "cuda" else "amdgcn"]
        answers.append(
            {
                "name": kernel.metadata.name,
                "same_with_data": same,
                "launches": [k.metadata.name for k in kernels],
                "waits_first": waits_first(kernels[-1].asm.get("ptx", "")),
                "shared": kernel.metadata.shared,
                **{key: text.count(key) for key in COUNTED},
            }
        )
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
