"""Recording by itself: keys, limits, files that fail. The launch is a function of the test; nothing is compiled."""

from __future__ import annotations

import enum
import errno
import gc
import importlib.util
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import triton
import triton.language as tl
from torch.utils._python_dispatch import TorchDispatchMode

from kernels.capture import recorder as recorders
from kernels.capture.capture_file import NotACapture, append, begin, line_of, read
from kernels.capture.describing import first_launch
from kernels.capture.describing.values import SAMPLE, changed_tensors, checksum, memory_sums, summarise
from kernels.capture.reading.captured_launches import read_capture
from kernels.capture.reading.rebuilt_arguments import rebuild_arguments, refuse_unknown
from kernels.capture.reading.rebuilt_functions import CannotRebuild
from kernels.capture.recorder import Recorder
from kernels.tuned.compiler_variables import describe_overrides
from tests.kernels.capture.kernels_by_hand import arguments, closure, kernel


class Size(enum.IntEnum):
    SMALL = 16
    ROWS = 32


class Mode(enum.Enum):
    FAST = 1
    SLOW = 2


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setattr(first_launch, "describe_device", lambda tensors, function: {"kind": "test"})
    begin(str(tmp_path / "a.capture"), {})
    return str(tmp_path / "a.capture")


def launched(recorder, args=None, grid=(1,), run=lambda function, *args, grid, warmup, **kwargs: None, **kwargs):
    recorder.launch(run, kernel, args or arguments(), grid, kwargs)


def test_equal_launches_are_one_and_what_decides_is_told_apart(path):
    r = Recorder(path)
    x, y, out, n, eps = arguments()
    same = [(x, y, out, n, eps), arguments(), (x, y, out, n, 2e-6)]
    aliased, strided, other = (x, x, out, n, eps), (x.t(), y, out, n, eps), (x.half(), y, out, n, eps)
    shifted = (torch.ones(33)[1:].view(4, 8), y, out, n, eps)
    for args in (*same, aliased, strided, other, shifted):
        launched(r, args)
    launched(r, grid=(2,))
    launched(r, BLOCK=16)
    launched(r, num_warps=8)
    r.flush()
    capture = read_capture(path)
    assert sorted(x.count for x in capture.launches) == [1, 1, 1, 1, 1, 1, 1, 3]
    assert not capture.unseen


def test_a_capture_says_if_most_launches_were_compiled_with_pytorchs_assembler(path, tmp_path, monkeypatch):
    """Inductor names it in the environment when it first compiles, which may be in the middle of a program."""
    own = tmp_path / "torch" / "bin" / "ptxas"
    own.parent.mkdir(parents=True)
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    of_torch = SimpleNamespace(origin=str(tmp_path / "torch" / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: of_torch if name == "torch" else None)
    monkeypatch.delenv("TRITON_PTXAS_PATH", raising=False)
    r = Recorder(path)
    launched(r)
    r.flush()
    assert not read_capture(path).torch_assembler
    monkeypatch.setenv("TRITON_PTXAS_PATH", str(own))
    assert describe_overrides() is None
    for _ in range(2):
        launched(r)
    r.flush()
    assert read_capture(path).torch_assembler
    monkeypatch.setenv("TRITON_PTXAS_PATH", "/another/ptxas")
    assert describe_overrides() == "TRITON_PTXAS_PATH=/another/ptxas"
    launched(r)
    r.flush()
    assert not read_capture(path).torch_assembler


@pytest.mark.parametrize("assembler", [None, "/another/ptxas"])
@pytest.mark.parametrize("error", [ValueError("torch.__spec__ is None"), RuntimeError("a finder of the program's")])
def test_a_program_whose_torch_cannot_be_found_is_counted(path, assembler, error, monkeypatch):
    """As one that replaces ``sys.modules["torch"]`` by a module of its own."""

    def find_spec(name):
        raise error

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    monkeypatch.delenv("TRITON_PTXAS_PATH", raising=False)
    if assembler is not None:
        monkeypatch.setenv("TRITON_PTXAS_PATH", assembler)
    r = Recorder(path)
    for _ in range(3):
        launched(r)
    r.flush()
    assert [x.count for x in read_capture(path).launches] == [3]
    assert describe_overrides() == (assembler and f"TRITON_PTXAS_PATH={assembler}")


def test_a_callable_grid_is_asked_for_other_blocks(path):
    r = Recorder(path)

    def run(function, *args, grid, warmup, **kwargs):
        grid({"n": 32, "BLOCK": 4})

    launched(r, grid=lambda meta: (32 // meta["BLOCK"],), run=run)
    launched(r, grid=lambda meta: (32 // meta["BLOCK"], 2), run=run)
    r.flush()
    first, second = sorted(read_capture(path).launches, key=lambda x: len(x.grid["came_out"]))
    assert first.grid["came_out"] == [8]
    assert second.grid["came_out"] == [8, 2]
    assert first.grid["reads"] == ["BLOCK"]
    assert {"values": {"BLOCK": 8}, "grid": [4]} in first.grid["table"]


def test_a_launch_that_raises_raises_and_is_listed(path):
    r = Recorder(path)

    def run(function, *args, grid, warmup, **kwargs):
        raise KeyError("BLOCK")

    def interpret(function, *args, grid, warmup, **kwargs):
        raise RuntimeError("the interpreter's") from NameError("name 'op' is not defined")

    with pytest.raises(KeyError):
        launched(r, run=run)
    with pytest.raises(RuntimeError):
        launched(r, run=interpret)
    r.flush()
    assert read_capture(path).unseen == {
        ("the launch raised KeyError: 'BLOCK'", "kernel"): 1,
        ("the launch raised RuntimeError (NameError: name 'op' is not defined)", "kernel"): 1,
    }


def test_what_cannot_be_described_is_listed_and_launched(path, monkeypatch):
    ran = []
    monkeypatch.setattr(first_launch, "summarise", lambda tensor, whole: 1 / 0)
    r = Recorder(path)
    launched(r, run=lambda function, *args, grid, warmup, **kwargs: ran.append(1))
    r.flush()
    ((reason, name),) = read_capture(path).unseen
    assert "ZeroDivisionError" in reason
    assert name == "kernel"
    assert ran == [1]


def test_launches_over_the_limit_are_counted(path, monkeypatch):
    monkeypatch.setattr(recorders, "MOST_LAUNCHES", 3)
    r = Recorder(path, "no")
    for rows in range(1, 6):
        launched(r, arguments(rows))
    r.flush()
    capture = read_capture(path)
    assert capture.launched == 3
    assert capture.unseen == {("over 3 distinct launches of the function", "kernel"): 2}


def test_functions_that_a_program_makes_anew_in_each_step_are_let_go_and_counted(path, monkeypatch):
    monkeypatch.setattr(recorders, "MOST_FUNCTIONS", 4)
    r, alive = Recorder(path, "no"), []
    for _ in range(11):
        function = triton.jit(kernel.fn)
        r.launch(lambda function, *args, grid, warmup: None, function, arguments(), (1,), {})
        alive.append(weakref.ref(function))
    del function
    gc.collect()
    assert sum(f() is not None for f in alive) <= 4
    r.flush()
    assert [x.count for x in read_capture(path).launches] == [11]


def test_ten_thousand_launches_make_a_small_file(path):
    r = Recorder(path, "no")
    given = [arguments(rows) for rows in range(1, 61)]
    for i in range(10_000):
        launched(r, given[i % 60])
    r.flush()
    capture = read_capture(path)
    assert (capture.launched, len(capture.launches)) == (10_000, 60)
    assert len(Path(path).read_bytes()) < 300_000


def test_a_full_disk_is_one_sentence_and_the_program_goes_on(path, monkeypatch, capfd):
    r = Recorder(path)
    launched(r)
    r.flush()

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(recorders, "append", full)
    launched(r, arguments(2))
    launched(r, arguments(3))
    r.flush()
    assert capfd.readouterr().err.count("No space left on device") == 1
    assert read_capture(path).launched == 1


def test_a_write_that_does_not_fit_is_taken_back(path, monkeypatch):
    import os

    before = Path(path).read_bytes()
    write = os.write

    def half(descriptor, data):
        if len(data) < 100:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[:-50])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="No space"):
        append(path, line_of("note", {"text": "x" * 100})[1])
    assert Path(path).read_bytes() == before


def test_a_cut_off_file_keeps_what_is_whole_and_can_be_added_to(path):
    r = Recorder(path)
    launched(r)
    r.flush()
    whole = Path(path).read_bytes()
    append(path, line_of("note", {"text": "last"})[1])
    with open(path, "r+b") as f:
        f.truncate(len(whole) + 20)
    assert read_capture(path).damaged == 1
    assert read_capture(path).launched == 1
    append(path, line_of("note", {"text": "added"})[1])
    assert read_capture(path).notes == ["added"]


def test_a_missing_part_is_named(path):
    r = Recorder(path)
    launched(r)
    r.flush()
    lines = Path(path).read_bytes().splitlines(keepends=True)
    with open(path, "wb") as f:
        f.writelines(x for x in lines if b" function " not in x[:30])
    capture = read_capture(path)
    assert not capture.launches
    assert capture.missing[0].startswith("kernel (")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hello\n", "is no capture"),
        (line_of("capture", {"format": "autokernel-capture", "version": 99})[1], "capture of format 99"),
    ],
)
def test_another_file_is_refused_by_name(tmp_path, content, message):
    (tmp_path / "x").write_bytes(content)
    for use in (lambda p: begin(p, {}), read):
        with pytest.raises(NotACapture, match=message):
            use(str(tmp_path / "x"))
    assert (tmp_path / "x").read_bytes() == content


def test_closures_keep_their_values(path):
    r = Recorder(path, "no")
    r.launch(lambda *a, **k: None, closure(3), (torch.ones(16), 16), (1,), {})
    r.flush()
    (launch,) = read_capture(path).launches
    assert launch.function["bindings"]["power"] == {"constant": 3}
    assert not launch.function["importable"]


def test_integers_keep_structure_not_values():
    offsets = summarise(torch.tensor([0, 3, 7, 12], dtype=torch.int32), whole=False)
    assert (offsets["min"], offsets["max"], offsets["rises"], offsets["steps"]) == (0, 12, True, [3, 5])
    assert not any(isinstance(v, list) and len(v) > 2 for v in offsets.values())
    ids = summarise(torch.randint(0, 50000, (8, 2048)), whole=False)
    assert ids["kind"] == "int"
    assert "whole" not in ids
    assert ids["max"] < 50000
    assert "whole" in summarise(torch.arange(4), whole=True)


@pytest.mark.parametrize(
    ("numbers", "marks", "others"),
    [
        ([5, -100, 7, -100, 3], [[-100, 2]], [3, 7]),
        ([-1, -2, -1], [[-2, 1], [-1, 2]], None),
        ([0, 2**31 - 1, 9], [[2**31 - 1, 1]], [0, 9]),
        ([-1, 0, 4, 4, 9], [[-1, 1]], [0, 9]),
        ([3, -1, 0, 2, 1], [[-1, 1]], [0, 3]),
        (list(range(-20, 20, 2)), None, None),  # a range below zero as above it
        ([*range(-10, 5), 2**63 - 1], [[2**63 - 1, 1]], [-10, 4]),
        ([-(2**63), 2**63 - 1], [[-(2**63), 1], [2**63 - 1, 1]], None),
        ([3, 2**32 - 1, 5], [[2**32 - 1, 1]], [3, 5]),
        ([4, 5], None, None),
    ],
)
def test_marks_among_integers_are_no_part_of_their_range(path, numbers, marks, others):
    def kept(t):
        found = summarise(t, whole=False)
        return found.get("marks"), found.get("others")

    given = torch.tensor(numbers)
    assert kept(given) == (marks, others)
    r = Recorder(path, "summary")
    r.launch(lambda *a, **k: None, closure(3), (given, 16), (1,), {})
    r.flush()
    (launch,) = read_capture(path).launches
    name = next(n for n, a in launch.arguments.items() if a["type"] == "tensor")
    for seed in range(9):
        drawn = rebuild_arguments(launch, seed, lambda digest: None).tensors[name]
        assert kept(drawn)[0] == marks
        if others is not None:
            assert others[0] <= kept(drawn)[1][0] <= kept(drawn)[1][1] <= others[1]
        if len(set(numbers)) == len(numbers):
            assert drawn.unique().numel() == len(numbers)
        if numbers == sorted(numbers):
            assert drawn.tolist() == sorted(drawn.tolist())


@pytest.mark.parametrize(
    "numbers",
    [
        torch.randint(-(2**63), 2**63 - 1, (99,)),  # hashes
        torch.tensor([5, 10**12, 77]),  # identifiers, none of them twice
        torch.tensor([2**63 - 2, 3, 8]),
        torch.randint(-(2**31), 2**31, (99,), dtype=torch.int32),
        torch.tensor([0, 2**62, -(2**62), 2**62, -(2**62)]),
    ],
)
def test_integers_of_any_range_are_made_anew(path, numbers):
    r = Recorder(path, "summary")
    r.launch(lambda *a, **k: None, closure(3), (numbers, 16), (1,), {})
    r.flush()
    (launch,) = read_capture(path).launches
    drawn = next(iter(rebuild_arguments(launch, 1, lambda digest: None).tensors.values()))
    assert drawn.dtype == numbers.dtype
    assert numbers.min() <= drawn.min() <= drawn.max() <= numbers.max()
    assert (drawn.unique().numel() == drawn.numel()) == (numbers.unique().numel() == numbers.numel())
    assert not torch.equal(drawn, numbers)


def test_a_mask_of_minus_infinity_is_made_anew_as_one(path):
    r = Recorder(path)
    _, y, out, n, eps = arguments()
    mask = torch.where(torch.arange(256) % 4 == 0, 0.0, -float("inf")).view(8, 32)
    mask[0, 0] = float("inf")
    launched(r, (mask, y, out, n, eps))
    r.flush()
    (launch,) = read_capture(path).launches
    made = rebuild_arguments(launch, 3, lambda digest: None).tensors["x_ptr"]
    assert set(made.unique().tolist()) <= {0.0, -float("inf"), float("inf")}
    assert 0.6 < float(torch.isneginf(made).double().mean()) < 0.9
    assert int(torch.isposinf(made).sum()) < 8


def test_a_table_of_addresses_may_have_empty_places():
    for empty in (0, -1):
        assert summarise(torch.tensor([empty, 2**40, 2**40 + 64]), whole=False) == {
            "elements": 3,
            "kind": "addresses",
            "distinct": 3,
        }
    assert summarise(torch.tensor([0, -1, 0]), whole=False)["kind"] == "int"


def test_a_mark_that_a_sample_misses_is_kept():
    ids = torch.zeros(4, SAMPLE, dtype=torch.int32)
    ids[1, 1] = -7
    assert summarise(ids, whole=False)["marks"] == [[-7, 1]]


def test_of_large_floats_a_sample_is_kept():
    x = torch.randn(SAMPLE * 4).view(4, -1).t()
    x[7, 1] = float("nan")
    found = summarise(x, whole=False)
    assert found["elements"] == x.numel()
    assert "all" not in found
    assert abs(found["std"] - 1) < 0.05
    assert len(found["quantiles"]) == 9


@pytest.mark.parametrize("change", [lambda x: x[5].neg_(), lambda x: x.copy_(x.flip(0)), lambda x: x[-1].add_(1)])
def test_a_checksum_sees_a_change(change):
    x = torch.arange(1, 1001, dtype=torch.float16)
    before = checksum(x)
    assert before == checksum(x[10:20])
    change(x)
    assert checksum(x) != before


def test_a_write_behind_a_tensor_names_what_shares_its_memory():
    memory, other = torch.zeros(100), torch.zeros(5)
    tensors = [("head", memory[:10]), ("tail", memory[50:]), ("other", other)]
    before = memory_sums(tensors)
    memory[20] = 1
    assert changed_tensors(tensors, before) == ["head", "tail"]
    before = memory_sums(tensors)
    memory[3] = 1
    assert changed_tensors(tensors, before) == ["head"]


def test_table_values_are_known_for_addresses():
    x = torch.ones(64)
    table = torch.tensor([x.data_ptr(), x.data_ptr() + 64])
    found = summarise(table, whole=False)
    assert found["kind"] == "addresses"


def test_a_tensor_subclass_counts_as_what_it_holds(path):
    r = Recorder(path)
    x, y, out, n, eps = arguments()
    wrapped = SimpleNamespace(
        _local_tensor=x, data_ptr=lambda: 0, shape=(99,), stride=lambda: (1,), untyped_storage=x.untyped_storage
    )
    launched(r, (wrapped, y, out, n, eps))
    r.flush()
    (launch,) = read_capture(path).launches
    assert launch.arguments["x_ptr"]["shape"] == [4, 8]
    assert launch.arguments["x_ptr"]["unwrapped"] == "SimpleNamespace"


def test_numbers_of_other_classes_count_as_what_triton_takes_them_for(path):
    r = Recorder(path)
    x, y, out, n, eps = arguments()
    for lr in (eps, np.float64(0.5), np.float64(0.25), np.float32(0.25)):
        launched(r, (x, y, out, n, lr))
    for block in (16, Size.SMALL, np.int64(16)):
        launched(r, (x, y, out, Size.ROWS if block is Size.SMALL else n), eps=np.float64(2.0), BLOCK=block)
    r.flush()
    by_count = {x.count: x.arguments for x in read_capture(path).launches}
    assert sorted(by_count) == [3, 4]
    assert by_count[4]["eps"] == {"type": "float", "value": "1e-06"}
    assert by_count[3]["eps"] == {"type": "float", "value": "2.0"}
    assert by_count[3]["n"] == {"type": "int", "value": 32}
    assert by_count[3]["BLOCK"] == {"type": "int", "value": 16, "constexpr": True}


def test_members_of_an_enumeration_and_dtypes_are_told_apart(path):
    r = Recorder(path)
    for constant in (Mode.FAST, Mode.SLOW, torch.float16, torch.bfloat16):
        launched(r, BLOCK=constant)
    r.flush()
    named = [x.arguments["BLOCK"]["name"] for x in read_capture(path).launches]
    assert sorted(named) == ["FAST", "SLOW", "torch.bfloat16", "torch.float16"]


def test_a_reinterpreted_tensor_is_recorded_as_what_the_kernel_sees(path):
    r = Recorder(path)
    x, y, out, n, eps = arguments()
    for _ in range(2):
        launched(r, (triton.reinterpret(x, tl.int32), y, out, n, eps))
    r.flush()
    (launch,) = read_capture(path).launches
    assert launch.count == 2
    assert (launch.arguments["x_ptr"]["dtype"], launch.arguments["x_ptr"]["passed_as"]) == ("int32", "int32")
    assert launch.observed["values"]["x_ptr"]["kind"] == "int"
    refuse_unknown(launch)


def test_a_reinterpreted_tensor_of_an_older_capture_is_refused_by_name(path):
    r = Recorder(path)
    launched(r)
    r.flush()
    (launch,) = read_capture(path).launches
    base = launch.arguments["x_ptr"]
    launch.arguments["x_ptr"] = {"type": "reinterpreted", "dtype": "fp8e5", "base": base}
    with pytest.raises(CannotRebuild, match=r"x_ptr is triton\.reinterpret of a tensor, as fp8e5"):
        refuse_unknown(launch)


def test_complex_numbers_are_described_without_their_values(recwarn):
    assert summarise(torch.ones(3, dtype=torch.complex64), whole=False) == {"elements": 3}
    assert not recwarn.list


class Refusing(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        raise RuntimeError(f"{function} is refused")


@pytest.mark.parametrize("mode", [lambda: torch.device("meta"), Refusing])
def test_a_programs_modes_are_not_asked_about_what_describes_a_launch(path, mode):
    r = Recorder(path)
    given = arguments()
    with mode():
        launched(r, given)
    r.flush()
    capture = read_capture(path)
    assert not capture.unseen
    assert capture.launches[0].observed["values"]["x_ptr"]["kind"] == "float"
