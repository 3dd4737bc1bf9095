"""What the interpreter child does: run a case through Triton's interpreter and compare it with the reference.

A process of its own, because TRITON_INTERPRET counts only if it is set before a kernel's module is imported."""

from dataclasses import replace

import torch

from kernels import registry
from kernels.hardware import hardware_named
from kernels.launches.expected import bounds, expected, results_of
from kernels.launches.leaves import tensors_in
from kernels.triton.interpreter_arguments import patch_scalars
from kernels.triton.interpreter_bf16 import patch_bf16
from tools.harness.checking.verify import scale_error

UNWRITTEN = 12345.0


def interpreted(init):
    """A child's factory (:class:`tools.harness.process.child.Child`).

    A case: kernel, problem, config, and the inputs' seed."""
    torch.set_num_threads(1)
    patch_bf16()
    patch_scalars()
    # Three SMs: a persistent program walks over several tiles even on a small shape.
    hardware = replace(hardware_named("H200"), sms=3)

    def serve(case):
        spec = registry.get(case["kernel"])
        problem = spec.problem_type.model_validate(case["problem"])
        config = spec.config_type.model_validate(case["config"])
        assert spec.constraint(problem, config, hardware) is None, (problem, config)
        inputs = spec.inputs(problem, torch.Generator().manual_seed(case["seed"]), "cpu")
        before = [None if t is None else t.clone() for t in inputs]
        out = spec.output(problem, "cpu")
        for t in tensors_in(out).values():
            t.fill_(UNWRITTEN)
        spec.launch(problem, config, inputs, out, hardware)
        results = results_of(spec.effects(problem), inputs, out)
        references, accepted = expected(spec, problem, inputs, list(results)), bounds(spec, problem, results)
        errors = {name: scale_error(result, references[name]) for name, result in results.items()}
        worst = max(errors, key=lambda name: errors[name] / accepted[name])
        unchanged = all(t is None or torch.equal(t, b) for t, b in zip(inputs, before, strict=True))
        return {"error": errors[worst], "bound": accepted[worst], "result": worst, "unchanged": unchanged}

    return serve
