"""What is put into memory before a timed launch and looked at after it, with a launch that PyTorch computes on the CPU
and a clock that stands still: no time is measured here."""

import pytest
import torch

from kernels.defaults import normal
from kernels.launches.bound import Bound, copied
from kernels.launches.effects import Effects
from kernels.launches.leaves import PointerTable
from kernels.spec import Config, KernelSpec, Problem
from tools.harness.measuring import arena as arenas
from tools.harness.measuring import timing
from tools.harness.measuring.arena import Arena, Refused, Wrong


class Clock:
    def __init__(self, enable_timing=True): ...


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    monkeypatch.setattr(timing, "_Event", Clock)
    monkeypatch.setattr(timing, "_record", lambda event: None)
    monkeypatch.setattr(timing, "_elapsed", lambda start, end: 1.0)
    monkeypatch.setattr(timing, "synchronize", lambda: None)
    monkeypatch.setattr(arenas, "_sleep", lambda cycles: None)
    monkeypatch.setattr(arenas, "FLUSH_BYTES", 1)


class Line(Problem):
    dims = ("N",)
    N: int = 64


class Scale(Config):
    SCALE: int = 1


class Both(KernelSpec):
    """Two outputs, an input in place, a table and a number."""

    name, metric, problem_type, config_type = "both", "gbps", Line, Scale
    inplace = (0,)

    def inputs(self, p, g, d):
        x, y, z = (normal((2 * p.N,), p.torch_dtype, g, d)[::2] for _ in range(3))
        return x, y, PointerTable([z]), 0 if g is None else int(torch.randint(1, 99, (), generator=g))

    def output(self, p, d):
        return torch.empty(p.N, dtype=p.torch_dtype, device=d), torch.empty((p.N, 2), device=d)[:, 0]

    def launch(self, p, c, inputs, out, hw):
        x, y, table, number = inputs
        assert table.addresses.tolist() == [table.tensors[0].data_ptr()]
        out[0].copy_(x + y)
        out[1].copy_(y.float() * number)
        x.mul_(0.5)

    def eager(self, p, inputs):
        x, y, _, number = inputs
        return x + y, y.to(torch.promote_types(y.dtype, torch.float32)) * number, 0.5 * x


class ForgetsInput(Both):
    def launch(self, p, c, inputs, out, hw):
        super().launch(p, c, inputs, out, hw)
        inputs[0].mul_(2)


class WritesBetween(Both):
    def launch(self, p, c, inputs, out, hw):
        super().launch(p, c, inputs, out, hw)
        out[1].as_strided((1,), (1,), out[1].storage_offset() + 1).zero_()


class WritesBehind(Both):
    def launch(self, p, c, inputs, out, hw):
        super().launch(p, c, inputs, out, hw)
        out[0].as_strided((1,), (1,), out[0].storage_offset() + p.N).zero_()


class ChangesAnother(Both):
    def launch(self, p, c, inputs, out, hw):
        super().launch(p, c, inputs, out, hw)
        inputs[1].zero_()


class SecondOutputWrong(Both):
    def launch(self, p, c, inputs, out, hw):
        super().launch(p, c, inputs, out, hw)
        out[1].mul_(1.5)


class KnowsAddress(Both):
    """Works where it was first launched."""

    known = None

    def launch(self, p, c, inputs, out, hw):
        super().launch(p, c, inputs, out, hw)
        type(self).known = type(self).known or inputs[0].data_ptr()
        if inputs[0].data_ptr() != self.known:
            out[0].zero_()


def run(kind, moved=False):
    spec, problem = kind(), Line()
    arena = Arena(spec, problem, "cpu")
    config = Scale()
    arena.use(config)

    def call():
        spec.launch(problem, config, arena.bound.inputs, arena.bound.out, None)
        return arena.bound.results

    first = timing.burst(arena, call, 3, 2, repeatable=True)
    if moved:
        arena.move()
        return timing.burst(arena, call, 3, 2, repeatable=True)
    return first


def test_every_result_of_a_timed_launch_is_verified_wherever_its_memory_lies():
    samples, verified = run(Both, moved=True)
    assert samples == [1.0] * 3
    assert 0 <= verified.error <= verified.bound


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (ForgetsInput, "result input 0: scale-relative error"),
        (SecondOutputWrong, "result 1: scale-relative error"),
        (WritesBetween, "between their elements"),
        (WritesBehind, "behind them"),
        (ChangesAnother, "changed its input 1"),
    ],
)
def test_what_is_wrong_is_named(kind, says):
    with pytest.raises(Wrong, match=says):
        run(kind)


def test_a_launch_that_works_at_one_address_alone_is_found_by_moving_it():
    run(KnowsAddress)
    KnowsAddress.known = None
    with pytest.raises(Wrong, match="result 0"):
        run(KnowsAddress, moved=True)


def test_what_was_computed_before_the_clock_started_is_of_other_inputs(monkeypatch):
    spec, problem, config = Both(), Line(N=4096), Scale()
    arena = Arena(spec, problem, "cpu")
    arena.use(config)
    ready = []

    def during_the_spin(cycles):
        given, made = copied(arena.bound.inputs), spec.output(problem, "cpu")
        spec.launch(problem, config, given, made, None)
        ready[:] = [*made, given[0]]

    def call():
        if not ready:
            spec.launch(problem, config, arena.bound.inputs, arena.bound.out, None)
        else:
            for result, made in zip((*arena.bound.out, arena.bound.inputs[0]), ready, strict=True):
                result.copy_(made)
        return arena.bound.results

    monkeypatch.setattr(arenas, "_sleep", during_the_spin)
    with pytest.raises(Wrong, match="result"):
        timing.burst(arena, call, 3, 2, repeatable=False)


def test_numbers_change_from_job_to_job_and_not_within_one():
    arena = Arena(Both(), Line(), "cpu")
    seen = set()
    for _ in range(4):
        arena.use(Scale())
        number = arena.inputs[3]
        arena.refresh()
        assert arena.inputs[3] == number == arena.draw(1)[3]
        seen.add(number)
    assert len(seen) > 1


def test_launches_back_to_back_are_refused_if_each_changes_its_inputs():
    arena = Arena(Both(), Line(), "cpu")
    with pytest.raises(Refused, match="burst"):
        timing.sustained(arena, lambda: None, 0.1, 1, 1)


def test_a_baselines_results_may_be_a_tuple():
    spec, problem = Both(), Line()
    arena = Arena(spec, problem, "cpu")
    timing.burst(arena, lambda: spec.eager(problem, arena.inputs), 2, 1, repeatable=False)


@pytest.mark.parametrize("stride", [2, 3, 4, 7, 10])
def test_elements_of_a_strided_view_are_held_back(stride):
    x = torch.ones(8192 * stride)[::stride]
    bound = Bound(Effects(), (x,), torch.empty(4))
    (view,) = bound.inputs
    before = view.clone()
    complete = bound.hold_back()
    assert (view != before).any()
    complete()
    assert torch.equal(view, before)
