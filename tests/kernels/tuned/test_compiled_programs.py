"""Rows in what ``torch.compile`` traces: Dynamo's graph holds the config that the row decides. The graph is looked at
and not run, so no GPU is needed; Triton's driver compiles and launches nothing."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl
from torch._higher_order_ops.triton_kernel_wrap import kernel_side_table

from agent.programs import apply
from kernels.tuned.applying.compiled_programs import INDUCTORS, NOTHING_COMPILED, PROGRAMS, CompiledPrograms
from kernels.tuned.tuned_table import Decision
from tests.kernels.tuned.test_applied_compiled import grid, in_place, launch_in_place, launch_tuned, tuned

pytestmark = pytest.mark.compile


@pytest.fixture(autouse=True)
def dynamo(monkeypatch):
    """Dynamo knows Triton's functions for what they are only where it finds a GPU."""
    monkeypatch.setattr("torch.utils._triton.has_triton", lambda: True)
    yield
    torch._dynamo.reset()


@triton.autotune([triton.Config({"BLOCK": 256}, num_warps=w) for w in (4, 8)], key=["n"])
@triton.heuristics({"EVEN": lambda a: True})
@triton.jit
def with_heuristics(x_ptr, n, BLOCK: tl.constexpr, EVEN: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x_ptr + at, 1.0, mask=at < n)


def traced(program, *tensors, dynamic=False):
    """(configs, constants, grids) of each launch in the graph that Dynamo makes of a program."""
    found = []

    def backend(graph, inputs):
        for node in graph.graph.nodes:
            if "kernel_idx" in node.kwargs:
                kernel = kernel_side_table.get_kernel(node.kwargs["kernel_idx"])
                configs = [{**c.kwargs, "num_warps": c.num_warps} for c in getattr(kernel, "configs", ())]
                constants = kernel_side_table.get_constant_args(node.kwargs["constant_args_idx"])
                found.append((configs, constants.get("BLOCK"), [g[0] for g in node.kwargs["grid"]]))
        return lambda *args: (args[-1],) if len(args) == 1 else (args[0],)

    torch._dynamo.reset()
    torch.compile(program, backend=backend, dynamic=dynamic)(*tensors)
    return found


def doubled(x):
    out = torch.empty_like(x)
    tuned[grid](x, out, x.numel())
    return out


def added(x):
    in_place[lambda meta: (triton.cdiv(meta["n"], meta["BLOCK"]),)](x, 1, x.numel(), BLOCK=512, num_warps=8)
    return x


def added_by_position(x):
    in_place[grid](x, 1, x.numel(), 512, num_warps=8)
    return x


def added_on_a_fixed_grid(x):
    in_place[lambda meta: (triton.cdiv(meta["n"], 512),)](x, 1, x.numel(), BLOCK=512, num_warps=8)
    return x


def test_an_autotuned_kernel_has_the_rows_config_alone(write):
    x = torch.randn(5000)
    path = write(launch_tuned, x, Decision({"BLOCK": 512}, {"num_warps": 2}))
    assert len(traced(doubled, x)[0][0]) == 4
    with apply(path) as applied:
        assert traced(doubled, x) == [([{"BLOCK": 512, "num_warps": 2}], None, [10])]
    (row,) = applied.report()["compiled"]["rows"]
    assert (row["kernel"], row["status"]) == ("tuned", "proven")
    assert len(traced(doubled, x)[0][0]) == 4


@pytest.mark.parametrize("program", [added, added_by_position])
def test_a_constant_that_the_program_passes_is_the_rows_and_the_grid_follows(write, program):
    x = torch.randn(5000)
    path = write(launch_in_place, x, Decision({"BLOCK": 256}, {"num_warps": 2}))
    assert traced(program, x) == [([{"num_warps": 8}], 512, [10])]
    with apply(path):
        assert traced(program, x) == [([{"num_warps": 2}], 256, [20])]


@pytest.mark.parametrize(
    ("decision", "program", "numel", "dynamic", "reason"),
    [
        (Decision({"BLOCK": 256}, {}), added, 5001, False, "no row for"),
        (Decision({"BLOCK": 256}, {}), added, 5000, True, "dynamic shapes"),
        (Decision({"BLOCK": 256}, {}), added_on_a_fixed_grid, 5000, False, "which the grid function does not read"),
        (Decision({"BLOCK": 300}, {}), added, 5000, False, "cannot be launched (CompilationError"),
        (Decision({}, {"maxnreg": 64}), added, 5000, False, "sets maxnreg, which torch.compile does not pass on"),
    ],
)
def test_what_does_not_fit_is_compiled_as_the_program_has_it(
    write,
    caplog,
    decision,
    program,
    numel,
    dynamic,
    reason,
):
    path = write(launch_in_place, torch.randn(5000), decision)
    with apply(path) as applied:
        ((configs, block, _),) = traced(program, torch.randn(numel), dynamic=dynamic)
        traced(program, torch.randn(numel), dynamic=dynamic)
    assert (configs, block) == ([{"num_warps": 8}], 512)
    assert caplog.text.count(reason) == 1
    (left,) = applied.report()["compiled"]["left"]
    assert left["kernel"] == "in_place"
    assert reason in left["reason"]
    assert applied.report()["compiled"]["rows"] == []


def test_a_kernel_with_heuristics_is_left(write, caplog):
    def filled(x):
        with_heuristics[grid](x, x.numel())
        return x

    path = write(filled, torch.randn(5000), Decision({"BLOCK": 512}, {"num_warps": 2}))
    with apply(path):
        ((configs, _, _),) = traced(filled, torch.randn(5000))
    assert [c["num_warps"] for c in configs] == [4, 8]
    assert "with_heuristics under torch.compile: it has heuristics" in caplog.text


def test_a_view_at_an_odd_offset_and_one_tensor_twice_have_keys_of_their_own(write):
    path = write(launch_tuned, torch.randn(5000), Decision({"BLOCK": 512}, {"num_warps": 2}))

    def shifted(x):
        out = torch.empty_like(x)
        tuned[grid](x[1:], out[1:], x.numel() - 1)
        return out

    def onto_itself(x):
        tuned[grid](x, x, x.numel())
        return x

    with apply(path):
        assert len(traced(shifted, torch.randn(5001))[0][0]) == 4
        assert len(traced(onto_itself, torch.randn(5000))[0][0]) == 4


def test_launches_of_compiled_code_are_told_apart():
    class Launcher:
        def __init__(self, kind, name):
            self.heuristic_type, self.inductor_meta = type("Kind", (), {"name": kind}), {"kernel_name": name}

    compiled = CompiledPrograms(None, None, None)
    assert compiled.report() == NOTHING_COMPILED
    users, inductors = Launcher("USER_AUTOTUNE", "tuned_0"), Launcher("POINTWISE", "triton_poi_fused_add_0")
    for launcher in (users, inductors, users):
        compiled.count(launcher)
    assert compiled.report()["launched"] == [
        {"kernel": "tuned_0", "whose": PROGRAMS, "launches": 2},
        {"kernel": "triton_poi_fused_add_0", "whose": INDUCTORS, "launches": 1},
    ]
    compiled.forked()
    assert compiled.report()["launched"] == []
