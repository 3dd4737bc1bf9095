"""Rows reach Triton's compiled path: ``JITFunction.run`` and ``Autotuner.run``. The driver launches nothing."""

from __future__ import annotations

import gc
import logging
import weakref
from dataclasses import replace

import pytest
import torch
import triton
import triton.language as tl
from triton.compiler import ASTSource, CompiledKernel

from agent.errors import UsageError
from agent.programs import apply, capture
from kernels.capture.reading.captured_launches import read_capture
from kernels.editing.argument_values import value_of
from kernels.editing.owner_function import owner_of
from kernels.editing.variants import make_variant
from kernels.tuned.applying import applied_table, compiled_apart
from kernels.tuned.applying.served import describe_miss
from kernels.tuned.tuned_table import Decision, TunedEnvironment, TunedFunction, TunedRow

pytestmark = pytest.mark.compile


@triton.autotune([triton.Config({"BLOCK": b}, num_warps=w) for b in (256, 1024) for w in (4, 8)], key=["n"])
@triton.jit
def tuned(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + at, mask=at < n) * 2, mask=at < n)


@triton.jit
def in_place(x_ptr, one, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x_ptr + at, tl.load(x_ptr + at, mask=at < n) + one, mask=at < n)


SEEN = []
"""What heuristics were given."""


def is_even(named):
    SEEN.append(dict(named))
    named.clear()  # each is given a dictionary of its own
    return SEEN[-1]["n"] % 2 == 0


def is_half(named):
    SEEN.append(dict(named))
    return named["EVEN"]


HEURISTICS = triton.heuristics({"EVEN": is_even, "HALF": is_half})
AUTOTUNE = triton.autotune([triton.Config({"BLOCK": b}, num_warps=4) for b in (256, 1024)], key=["n"])


@triton.jit
def decided(x_ptr, n, factor, BLOCK: tl.constexpr, EVEN: tl.constexpr, HALF: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x_ptr + at, tl.load(x_ptr + at, mask=at < n) * factor, mask=at < n)


outside, inside = HEURISTICS(AUTOTUNE(decided)), AUTOTUNE(HEURISTICS(decided))
between = triton.heuristics({"EVEN": is_even})(AUTOTUNE(triton.heuristics({"HALF": is_half})(decided)))


def grid(meta):
    return (triton.cdiv(meta["n"], meta["BLOCK"]),)


def launch_tuned(x):
    return tuned[grid](x, torch.empty_like(x), x.numel())


def launch_in_place(x):
    return in_place[grid](x, 1, x.numel(), BLOCK=512, num_warps=8)


def config_of(compiled, *constants):
    return *(compiled.src.constants[(i,)] for i in constants or (3,)), compiled.metadata.num_warps


def test_an_autotuned_kernel_is_compiled_once_as_its_row_says(write, monkeypatch):
    x = torch.randn(5000)
    path = write(launch_tuned, x, Decision({"BLOCK": 512}, {"num_warps": 2}))
    tuned.cache.clear()
    monkeypatch.setattr(type(tuned), "_bench", lambda *a, **k: pytest.fail("the autotuner timed a config"))
    with apply(path) as applied:
        assert [config_of(launch_tuned(x)) for _ in range(3)] == [(512, 2)] * 3
    assert [(r["kernel"], r["launches"]) for r in applied.report()["used"]] == [("tuned", 3)]
    assert tuned.best_config.kwargs == {"BLOCK": 512}


@pytest.mark.parametrize("kernel", [outside, inside, between], ids=["outside", "inside", "between"])
def test_heuristics_see_in_every_launch_what_triton_gives_them(write, kernel):
    x = torch.randn(5000)

    def launch(x):
        return kernel[grid](x, factor=2.0, n=x.numel())

    path = write(launch, x, Decision({"BLOCK": 1024}, {"num_warps": 4}))
    tuner = kernel if hasattr(kernel, "configs") else kernel.fn
    tuner.cache.clear()
    tuner.configs, every = tuner.configs[1:], tuner.configs  # Triton then decides as the row does
    SEEN.clear()
    launch(x)
    tuner.configs, expected = every, list(SEEN)
    assert len(expected) == 2
    with apply(path) as applied:
        for _ in range(3):
            SEEN.clear()
            assert config_of(launch(x), 3, 4, 5) == (1024, True, True, 4)
            assert [sorted(map(str, s)) for s in SEEN] == [sorted(map(str, s)) for s in expected]
            assert [s["n"] for s in SEEN] == [5000, 5000]
            assert all(s["x_ptr"] is x and s["grid"] is grid for s in SEEN)
    assert [r["launches"] for r in applied.report()["used"]] == [3]


@pytest.mark.parametrize("kernel", [outside, inside, tuned], ids=["outside", "inside", "autotuned"])
def test_what_a_decorator_launches_in_turn_is_not_asked_for_again(write, kernel):
    x = torch.randn(5000)
    path = write(launch_in_place, x, Decision({"BLOCK": 256}, {}))
    more = {"factor": 2.0} if kernel is not tuned else {"out_ptr": torch.empty_like(x)}
    with apply(path) as applied:
        for _ in range(3):
            kernel[grid](x, n=5000, **more)
        assert config_of(launch_in_place(x))[0] == 256
        inner = [kernel.fn, kernel.fn.fn] if kernel is not tuned else [kernel.fn]
        every = {"BLOCK": 256, "EVEN": True, "HALF": True} if kernel is not tuned else {"BLOCK": 256}
        inner[-1][grid](x, n=5000, **more, **every)  # the program may launch it as well
    assert sum(m["launches"] for m in applied.report()["missed"]) == 3 + 1


def test_decorators_that_a_program_makes_anew_in_each_step_are_let_go_and_counted(write, monkeypatch):
    monkeypatch.setattr(applied_table, "MOST_STATES", 4)
    x, alive = torch.randn(5000), []

    def launch(x):
        made = triton.autotune([triton.Config({"BLOCK": b}) for b in (256, 1024)], key=["n"])(in_place)
        alive.append(weakref.ref(made))
        return made[grid](x, 1, x.numel())

    with apply(write(launch, x, Decision({"BLOCK": 512}, {"num_warps": 2}))) as applied:
        assert [config_of(launch(x)) for _ in range(11)] == [(512, 2)] * 11
        in_place[grid](x, 1, 5000, BLOCK=256)
        gc.collect()
        assert sum(f() is not None for f in alive) <= 4
    assert [r["launches"] for r in applied.report()["used"]] == [11]
    assert [r["launches"] for r in applied.report()["missed"]] == [1]


def test_a_kernel_in_place_takes_constant_and_options(write):
    x = torch.randn(5000)
    path = write(launch_in_place, x, Decision({"BLOCK": 256}, {"num_warps": 2, "num_stages": 1}))
    applied = apply(path)
    assert config_of(launch_in_place(x)) == (256, 2)
    assert launch_in_place(x).metadata.num_stages == 1
    assert config_of(launch_in_place(torch.randn(5001))) == (512, 8)
    applied.take_back()
    assert config_of(launch_in_place(x)) == (512, 8)
    assert not hasattr(triton.JITFunction.run, "__wrapped__")


def test_a_config_that_triton_refuses_is_the_owners_launch(write, caplog):
    x = torch.randn(5000)
    path = write(launch_in_place, x, Decision({"BLOCK": 300}, {}))
    with apply(path) as applied:
        assert [config_of(launch_in_place(x)) for _ in range(2)] == [(512, 8)] * 2
    assert [r["launches"] for r in applied.report()["missed"]] == [2]
    assert caplog.text.count("cannot be launched (CompilationError") == 1


@pytest.fixture
def launched(launching, monkeypatch):
    """What is launched: the grid, the constants and num_warps of each."""
    found = []

    def run(kernel):
        constants = [kernel.src.constants[(p.num,)] for p in kernel.src.fn.params if p.is_constexpr]
        return lambda x, y, z, *rest: found.append((x, *constants, kernel.metadata.num_warps))

    monkeypatch.setattr(CompiledKernel, "run", property(run))
    return found


def test_a_kernel_that_the_program_keeps_is_launched_with_the_programs_constants(write, launched):
    x = torch.randn(5000)
    path = write(launch_in_place, x, Decision({"BLOCK": 256}, {"num_warps": 2}))
    launched.clear()
    with apply(path) as applied:
        for _ in range(2):  # the first launch of a row, and later ones
            kept = launch_in_place(x)
            assert isinstance(kept, CompiledKernel)
            assert config_of(kept) == (256, 2)
            kept[(10, 1, 1)](x, 1, 5000)  # ceil(5000 / 512)
            kept[(10, 1, 1)](x, 1, 5000, 512)
            kept.run(10, 1, 1, 0, kept.function, kept.packed_metadata, None, None, None, x, 1, 5000, 512)
            assert launched == [(20, 256, 2)] + [(10, 512, 2)] * 3
            assert kept.name == "in_place"
            launched.clear()
    assert [r["launches"] for r in applied.report()["used"]] == [2]
    kept[(10, 1, 1)](x, 1, 5000)
    assert launched == [(10, 512, 2)]


@pytest.mark.parametrize("kernel", [outside, inside], ids=["outside", "inside"])
def test_a_kept_kernel_has_the_autotuners_constants_of_the_row_and_what_heuristics_set(kernel, write, launched):
    x = torch.randn(5000)

    def launch(x):
        return kernel[lambda meta: (triton.cdiv(meta["n"], meta["BLOCK"]) + meta["EVEN"],)](x, factor=2.0, n=x.numel())

    with apply(write(launch, x, Decision({"BLOCK": 1024, "EVEN": False}, {"num_warps": 4}))):
        kept = launch(x)
        assert config_of(kept, 3, 4) == (1024, False, 4)
        launched.clear()
        kept[(5, 1, 1)](x, 5000, 2.0)
        kept[(5, 1, 1)](x, 5000, 2.0, 1024, True, True)
    assert launched == [(5, 1024, True, False, 4)] * 2  # HALF is what the row's EVEN made of it


def test_a_row_serves_a_compiled_kernel_that_the_program_launches(write, launched):
    x = torch.randn(5000)
    kept = in_place.warmup(x, 1, 5000, BLOCK=512, num_warps=8, grid=(1,))

    def launch(x):
        kept[(10, 1, 1)](x, 1, x.numel())

    path = write(launch, x, Decision({}, {"num_warps": 2}))
    launched.clear()
    with apply(path) as applied:
        launch(x)
        launch(x)
        kept[(11, 1, 1)](x, 1, 5000)
    launch(x)
    assert launched == [(10, 512, 2), (10, 512, 2), (11, 512, 8), (10, 512, 8)]
    report = applied.report()
    assert [r["launches"] for r in report["used"]] == [2]
    assert [r["launches"] for r in report["missed"]] == [1]


EDITED = """
def in_place(x_ptr, one, n, BLOCK: tl.constexpr, HOW: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x_ptr + at, one + tl.load(x_ptr + at, mask=at < n), mask=at < n, cache_modifier=HOW)
"""


@pytest.fixture
def write_edited(write, monkeypatch):
    """A function: write a table whose row holds edited code, which chooses between `how` caches; its path."""
    # A worker's function that an earlier test called in this process changes Triton's key, and the child's is Triton's.
    monkeypatch.setattr(triton.knobs.runtime, "add_stages_inspection_hook", None)

    def written(*how, block=256):
        x = torch.randn(5000)
        values = {"x_ptr": x, "one": 1, "n": 5000, "BLOCK": 512}
        owner = owner_of(in_place, {n: value_of(v, n == "BLOCK") for n, v in values.items()})
        variant = make_variant(owner, EDITED, {"HOW": list(how)})
        source = {**variant.recorded(), "hash": variant.hash, "values": {"HOW": how[0]}}
        return write(launch_in_place, x, Decision({"BLOCK": block}, {"num_warps": 2}, source))

    return written


def test_edited_code_is_compiled_by_a_process_of_its_own(write_edited, monkeypatch, tmp_path):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    x, here = torch.randn(5000), []
    path = write_edited(".cg", ".cs")
    monkeypatch.setattr(ASTSource, "make_ir", lambda *about, **more: here.append(about) or pytest.fail("compiled here"))
    with apply(path, edits=True) as applied:
        assert [config_of(launch_in_place(x)) for _ in range(2)] == [(256, 2)] * 2
        assert launch_in_place(x).src.constants[(4,)] == ".cg"
    assert [r["launches"] for r in applied.report()["used"]] == [3]
    assert not here


@pytest.mark.parametrize(
    ("block", "deadline_s", "most_memory", "reason"),
    [
        (256, 0.01, 24 << 30, "its edited code was not compiled within 0.01 s"),
        (300, 60, 24 << 30, "its edited code does not compile ("),
        (256, 60, 40 << 20, "its edited code does not compile ("),
    ],
)
def test_edited_code_that_is_not_compiled_within_its_limits_is_the_owners_launch(
    write_edited, monkeypatch, tmp_path, caplog, block, deadline_s, most_memory, reason
):
    monkeypatch.setattr(compiled_apart, "DEADLINE_S", deadline_s)
    monkeypatch.setattr(compiled_apart, "MOST_MEMORY", most_memory)
    x, path = torch.randn(5000), write_edited(".ca", block=block)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    with apply(path, edits=True) as applied:
        assert [config_of(launch_in_place(x)) for _ in range(2)] == [(512, 8)] * 2
    (missed,) = applied.report()["missed"]
    assert (missed["launches"], missed["reason"].startswith(reason)) == (2, True), missed
    assert caplog.text.count(reason) == 1


def test_another_assembler_is_named(write, monkeypatch, caplog):
    x = torch.randn(5000)
    path = write(launch_in_place, x, Decision({"BLOCK": 256}, {}))
    other = TunedEnvironment("NVIDIA H200", triton.__version__, "ptxas 1.0")
    monkeypatch.setattr(applied_table, "_environment_of_launch", lambda: other)
    with apply(path):
        assert config_of(launch_in_place(x)) == (512, 8)
    assert f"and this is NVIDIA H200, Triton {triton.__version__}, ptxas 1.0" in caplog.text


def test_one_table_at_a_time(write):
    path = write(launch_in_place, torch.randn(5000), Decision({"BLOCK": 256}, {}))
    with apply(path), pytest.raises(UsageError, match="applied to this process already"):
        apply(path)
    with apply(path):
        pass


def test_a_capture_inside_sees_what_is_launched(write, tmp_path):
    x = torch.randn(5000)
    path = write(launch_in_place, x, Decision({"BLOCK": 256}, {}))
    with apply(path), capture(tmp_path / "applied.capture", values="no"):
        launch_in_place(x)
    (launch,) = read_capture(str(tmp_path / "applied.capture")).launches
    assert launch.count == 1


def test_a_file_is_announced_once_until_it_changes(write, caplog):
    x = torch.randn(5000)
    path = write(launch_in_place, x, Decision({"BLOCK": 256}, {}))
    caplog.set_level(logging.INFO, "autokernel")
    for other in (5001, 5002, 5003):
        with apply(path):
            launch_in_place(x)
            launch_in_place(torch.randn(other))
    lines = caplog.messages
    assert [line.split(",")[0] for line in lines if "1 row, digest" in line] == [f"apply: {path}"]
    assert [r.levelname for r in caplog.records if r.name == "autokernel"] == ["INFO", "WARNING"]
    caplog.clear()
    (miss,) = [line for line in lines if "no row for" in line]
    assert miss.startswith("apply: in_place: no row for x_ptr=5001:float32 n=5001; the nearest one, ")
    assert " has x_ptr=5000:float32 n=5000: it is launched as the program has it. " in miss
    write(launch_in_place, x, Decision({"BLOCK": 128}, {}))
    with apply(path):
        assert config_of(launch_in_place(x))[0] == 128
    assert caplog.text.count("1 row, digest") == 1


def test_a_miss_names_the_nearest_row_by_its_sizes():
    def key(tokens, aligned=True):
        tensor = {"dtype": "bfloat16", "aligned": aligned, "shape": [tokens, 2048]}
        return {"grid": None, "arguments": {"a": tensor, "valid": tokens, "BLOCK": {"constexpr": 64}}, "options": {}}

    here = TunedEnvironment("NVIDIA H200", "3.6.0", None)
    rows = [TunedRow(TunedFunction("m", "f", "0"), here, key(n), "proven", Decision({}, {})) for n in (64, 16, 4096)]
    names = {n: row.name for n, row in zip((64, 16, 4096), rows, strict=True)}
    assert describe_miss(key(14), rows) == (
        f"no row for a=14x2048:bfloat16 valid=14; the nearest one, {names[16]}, has a=16x2048:bfloat16 valid=16"
    )
    assert names[4096] in describe_miss(key(3000), rows)
    assert describe_miss(key(64, aligned=False), rows) == (
        f"no row for a=64x2048:bfloat16 (address no multiple of 16); the nearest one, {names[64]}, has "
        "a=64x2048:bfloat16"
    )
    other = replace(rows[0], key={**key(64), "options": {"launch_pdl": True}})
    assert describe_miss(key(64), [other]) == (
        f"no row for a launch without launch_pdl; the nearest one, {other.name}, has launch_pdl=True"
    )


def test_a_miss_is_readable_whatever_the_program_passes():
    base = {"dtype": "float16", "aligned": True}
    here = {"flag": {"bool": True}, "text": {"str": "a"}, "pair": [3, "float"], "none": None}
    here |= {"seed": {"varies": True}, "call": {"function": "0123456789abcdef"}}
    here |= {"tile": {"descriptor": base, "shape": [64, 32], "strides": [32, 1], "block_shape": [16, 16]}}
    here |= {"bits": {"reinterpreted": "int16", "base": base}}
    there = dict.fromkeys(here, 5)
    row = TunedRow(
        TunedFunction("m", "f", "0"),
        TunedEnvironment("NVIDIA H200", "3.6.0", None),
        {"grid": None, "arguments": there, "options": {}},
        "proven",
        Decision({}, {}),
    )
    found = {}
    for name, part in here.items():
        line = describe_miss({"grid": None, "arguments": {**there, name: part}, "options": {}}, [row])
        found[name] = line.removeprefix(f"no row for {name}=").removesuffix(
            f"; the nearest one, {row.name}, has {name}=5"
        )
    assert found == {
        "flag": "True",
        "text": "a",
        "pair": "[3, float]",
        "none": "None",
        "seed": "any",
        "call": "function 01234567",
        "tile": "a descriptor of [64, 32] float16, blocks of [16, 16]",
        "bits": "float16 as int16",
    }
