"""Checks a config in Triton's interpreter: real kernel code on the CPU, on a reduced problem that keeps the edges."""

from __future__ import annotations

import math
import os
import secrets
import tempfile
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tools.harness.device import MachineTrouble
from tools.harness.process.child import ONE_THREAD, Child, ChildDied, ChildKilled, ChildTimeout, ChildUnborn
from tools.harness.process.identity import describe, rebuild
from tools.harness.process.refusal import Refusal
from tools.harness.results import CheckResult, StressResult

if TYPE_CHECKING:
    from kernels.spec import Config, KernelSpec, Problem

DEADLINE_S = 120.0
SAMPLED_S = 10.0
"""For a launch that is judged by a sample of its programs, if the caller sets no limit."""
ON_A_GPU = ": check it on a GPU (--device cuda:0)"
CARD_DECIDES = "; the card decides"
"""Behind the reason for no verdict, without a GPU and with one."""
FACTORY = "tools.harness.checking.interpreter:interpreter"


class Interpreter:
    """One child with ``TRITON_INTERPRET=1``: Triton reads the variable when a kernel is defined, so it needs a process
    of its own."""

    def __init__(self, shut_in: bool = False) -> None:
        """`shut_in`: whether the child has no network and writes to a folder of its own alone."""
        self._child: Child | None = None
        self._closed = False
        self._scratch = tempfile.TemporaryDirectory(prefix="autokernel-") if shut_in else None

    def check(
        self,
        spec: KernelSpec[Any, Any],
        problem: Problem,
        configs: Sequence[Config],
        hardware: str,
        limit_s: float | None = None,
    ) -> list[CheckResult]:
        """Run each config on ``spec.reduced(problem, config)`` for the GPU model named `hardware` and compare with the
        float64 reference. Configs that ``spec.interpretable`` excludes are judged by a sample of their programs
        (:mod:`tools.harness.checking.sampling.sampled_check`), unless ``spec.samplable`` excludes them too: then they
        are `infrastructure`, nothing was found out.

        `limit_s`: seconds for each config. If not all of its programs can be run in them, edited code is judged by a
        sample as well. What takes too long all the same is `infrastructure`. Without a limit a sample may take
        SAMPLED_S, and any other check that takes over DEADLINE_S is a `timeout`.

        Raises MachineTrouble if the interpreter does not start or cannot import the kernel."""
        return [self._check(spec, problem, c, hardware, limit_s=limit_s) for c in configs]

    def stress(self, spec: KernelSpec[Any, Any], problem: Problem, config: Config, hardware: str) -> StressResult:
        """The same for one config, a finalist, on inputs that nobody chose (:mod:`tools.harness.checking.stress`)."""
        found = self._check(spec, problem, config, hardware, stress=True)
        return StressResult.model_validate(found.model_dump())

    def _check(
        self,
        spec: KernelSpec[Any, Any],
        problem: Problem,
        config: Config,
        hardware: str,
        stress: bool = False,
        limit_s: float | None = None,
    ) -> CheckResult:
        values = config.model_dump(mode="json")
        why_not, sampled = spec.interpretable(config), False
        if why_not is not None and not stress:
            why_not, sampled = spec.samplable(config), True
        if why_not is not None:
            reason = f"{why_not}{ON_A_GPU}"
            return CheckResult(config=values, status="infrastructure", reason=reason, where="interpreter", seconds=0.0)
        reduced = spec.reduced(problem, config)
        where = f"interpreter {reduced.label()}"
        job = {**describe(spec, reduced), "config": values, "hardware": hardware, "seed": secrets.randbits(62)}
        job |= {"stress": stress, "limit_s": limit_s or (SAMPLED_S if sampled else None), "sampled": sampled}
        deadline_s = DEADLINE_S if limit_s is None else limit_s
        started = time.perf_counter()
        try:
            try:
                answer = self._call(job, deadline_s)
            except ChildKilled:  # from outside (the system was out of memory, say): not the config's doing
                if self._closed:
                    raise
                answer = self._call(job, deadline_s)
        except ChildTimeout:
            answer = {"status": "timeout", "reason": f"the interpreter needed more than {DEADLINE_S:g} s"}
            if job["limit_s"] is not None:
                answer = {"status": "infrastructure", "undecided": describe_not_enough(deadline_s)}
        except ChildKilled as e:
            often = "closed" if self._closed else "killed twice"
            answer = {"status": "infrastructure", "reason": f"the interpreter was {often}: {e}"}
        except (ChildUnborn, Refusal) as e:
            raise MachineTrouble(str(e)) from e
        except ChildDied as e:
            answer = {"status": "runtime", "reason": f"in the interpreter {e}"}
        if "trouble" in answer:
            raise MachineTrouble(answer["trouble"])
        if "undecided" in answer:
            undecided = answer.pop("undecided") or describe_not_enough(job["limit_s"])
            answer["reason"] = undecided + (ON_A_GPU if limit_s is None else CARD_DECIDES)
        kind = StressResult if stress else CheckResult
        return kind(config=values, where=where, seconds=time.perf_counter() - started, **answer)

    def start(self) -> Child:
        """The child, which is begun if there is none: it imports while others work."""
        if self._child is None or not self._child.alive:
            environment = {"TRITON_INTERPRET": "1", "TRITON_DEFAULT_FP_FUSION": "1", **ONE_THREAD}
            writable = [self._scratch.name] if self._scratch else None
            self._child = Child(FACTORY, {}, environment, writable, forked=writable is None)
        return self._child

    def _call(self, job: dict[str, Any], deadline_s: float) -> dict[str, Any]:
        return self.start().call(job, deadline_s)

    def close(self) -> None:
        """End the child, from any thread; a check under way is ``infrastructure``."""
        self._closed = True
        if self._child is not None:
            self._child.kill()
        if self._scratch is not None:
            self._scratch.cleanup()


def before_fork() -> None:
    """What every interpreter needs."""
    import tools.harness.checking.stress
    import tools.harness.checking.verify
    import tools.harness.compiling.compiler  # noqa: F401


def interpreter(init: dict[str, Any]) -> Any:
    """Serve check jobs in the child."""
    from dataclasses import replace

    import torch
    from triton.runtime import driver

    from kernels.editing.editable import FIELD, Editable
    from kernels.hardware import hardware_named
    from kernels.launches.bound import Bound, copied
    from kernels.spec import sentence
    from kernels.triton.interpreter_arguments import numpy_advice, patch_scalars
    from kernels.triton.interpreter_bf16 import patch_bf16
    from kernels.triton.interpreter_libdevice import NotEmulated, patch_libdevice
    from kernels.triton.stub_driver import StubDriver
    from tools.harness.checking.float64.promoted_reference import PromotingInterpreter, Question, Reference
    from tools.harness.checking.races import RACES, watch_accesses
    from tools.harness.checking.sampling.sampled_check import check_in_time
    from tools.harness.checking.stress import stress
    from tools.harness.checking.verify import judge, stray_write
    from tools.harness.compiling.compiler import reason
    from tools.harness.process.machine_trouble import causes, describe_trouble
    from tools.harness.process.sandbox import INSIDE

    patch_bf16()
    patch_scalars()
    patch_libdevice()
    torch.set_num_threads(1)  # the interpreter's arrays are small; threads only fight over the cores

    promoting = PromotingInterpreter()

    def answer(question: Question) -> Reference:
        if INSIDE in os.environ:
            return Reference("a process that is shut in starts no other")
        return question.answer(promoting)

    def serve(job: dict[str, Any]) -> dict[str, Any]:
        try:
            spec, problem = rebuild(job)
            config = spec.config_type.model_validate(job["config"])
        except ValueError as e:
            why = f"under TRITON_INTERPRET=1 the file of {job['kernel']} is another than without it: {sentence(e)}"
            return {"status": "infrastructure", "reason": f"{why}; check it on a GPU (--device cuda:0)"}
        driver.set_active(StubDriver(hardware_named(job["hardware"])))
        # three SMs, so that a persistent kernel's programs walk over several tiles of the reduced problem
        hardware = replace(hardware_named(job["hardware"]), sms=3)
        try:
            if job["stress"]:
                return stress(spec, problem, config, "cpu", hardware, answer=answer)
            if job["sampled"] or (job["limit_s"] is not None and isinstance(spec, Editable)):
                return check_in_time(spec, problem, config, hardware, job["seed"], job["limit_s"])
            inputs = spec.inputs(problem, torch.Generator().manual_seed(job["seed"]), "cpu")
            before = copied(spec.arrange(problem, config, inputs))

            def launch(given: Any) -> tuple[Bound, bool]:
                """What `config` is launched on, and whether its programs race."""
                bound = Bound(spec.effects(problem), before, spec.output(problem, "cpu"))
                bound.poison(with_nan=True)
                if not isinstance(spec, Editable):
                    spec.launch(problem, given, bound.inputs, bound.out, hardware)
                    return bound, False
                with watch_accesses() as launches:
                    spec.launch(problem, given, bound.inputs, bound.out, hardware)
                return bound, any(accesses.race() for accesses in launches)

            bound, races = launch(config)
        except Exception as e:  # noqa: BLE001 -- whatever a kernel raises is its verdict
            if trouble := describe_trouble(e):
                return {"trouble": trouble}
            if refusal := next((c for c in causes(e) if isinstance(c, NotEmulated)), None):
                why = f"it cannot be interpreted: {refusal}"
                return {"status": "infrastructure", "reason": f"{why}; check it on a GPU (--device cuda:0)"}
            advice = numpy_advice(str(e))
            return {"status": "infrastructure" if advice else "runtime", "reason": advice or reason(e)}
        stray = stray_write(spec, bound.untouched(before))
        if stray:
            return {"status": "correctness", "reason": stray}
        if races and not launch(config.model_copy(update={FIELD: ""}))[1]:
            return {"status": "correctness", "reason": RACES}
        try:
            why, error, accepted = judge(spec, problem, bound.results, inputs, self_test=True)
        except Exception as e:  # noqa: BLE001 -- a reference that works on meta tensors may still fail on numbers
            return {"status": "runtime", "reason": f"the reference: {reason(e)}"}
        return {
            "status": "correctness" if why else "correct",
            "reason": why,
            "error": error if math.isfinite(error) else None,
            "bound": accepted,
        }

    return serve


def describe_not_enough(limit_s: float) -> str:
    """Why there is no verdict after `limit_s` seconds."""
    return f"not interpreted: {float(f'{limit_s:.2g}'):g} s were not enough"
