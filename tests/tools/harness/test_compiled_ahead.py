"""A run's compile pool that knows what was begun before it."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from kernels.hardware import hardware_named
from kernels.registry import get
from tools.harness.compiling.compiled_ahead import CompiledAhead
from tools.harness.device import NO_LIMIT, CompileLimit, MachineTrouble
from tools.harness.results import CompileResult

SPEC = get("softmax")
PROBLEM = SPEC.default_problem()


def result(config, status="correct"):
    return CompileResult(config=config.model_dump(mode="json"), status=status, registers=40)


class OwnPool:
    """The run's own, which says what it was asked."""

    parallel = True

    def __init__(self):
        self.asked, self.closed = [], False

    def compile(self, spec, problem, configs, limit=NO_LIMIT):
        self.asked.append(list(configs))
        return [result(c) for c in configs]

    def close(self):
        self.closed = True


def test_what_was_begun_is_waited_for_and_the_rest_is_compiled_in_the_order_asked():
    right, wrong, slow, new = list(SPEC.space(PROBLEM, hardware_named("H200")))[:4]
    begun = {c.key(): Future() for c in (right, wrong, slow)}
    begun[right.key()].set_result(result(right))
    begun[wrong.key()].set_result(result(wrong, "compile"))
    assert begun[slow.key()].set_running_or_notify_cancel()
    own = OwnPool()
    pool = CompiledAhead(own, SPEC, PROBLEM, begun)
    found = pool.compile(SPEC, PROBLEM, [slow, new, wrong, right], CompileLimit(0.05))
    assert [r.status for r in found] == ["infrastructure", "correct", "compile", "correct"]
    assert [r.config for r in found] == [c.model_dump(mode="json") for c in (slow, new, wrong, right)]
    assert own.asked == [[new]]
    begun[slow.key()].set_result(result(slow))
    assert pool.compile(SPEC, PROBLEM, [slow])[0].status == "correct"
    assert own.asked == [[new]]
    assert pool.compile(SPEC, SPEC.parse_problem((64, 128), {}), [wrong])[0].status == "correct"
    assert own.asked == [[new], [wrong]], "on another problem it is another compilation"
    pool.close()
    assert own.closed


def test_what_still_waits_for_its_turn_elsewhere_is_compiled_here():
    config = next(iter(SPEC.space(PROBLEM, hardware_named("H200"))))
    begun, own = {config.key(): Future()}, OwnPool()
    assert CompiledAhead(own, SPEC, PROBLEM, begun).compile(SPEC, PROBLEM, [config])[0].status == "correct"
    assert own.asked == [[config]]
    assert begun[config.key()].cancelled()


def test_a_machine_that_cannot_compile_is_said_as_by_any_pool():
    config = next(iter(SPEC.space(PROBLEM, hardware_named("H200"))))
    broken: Future[CompileResult] = Future()
    broken.set_exception(MachineTrouble("the disk is full"))
    with pytest.raises(MachineTrouble, match="disk is full"):
        CompiledAhead(OwnPool(), SPEC, PROBLEM, {config.key(): broken}).compile(SPEC, PROBLEM, [config])
