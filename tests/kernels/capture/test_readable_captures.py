"""What a recorder writes can be read: one odd launch does not make a capture useless."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

from kernels.capture.capture_file import begin
from kernels.capture.describing import first_launch
from kernels.capture.describing.captured_arguments import Storages
from kernels.capture.describing.decorators import describe_config
from kernels.capture.describing.launch_grid import Probe
from kernels.capture.reading.captured_launches import read_capture
from kernels.capture.reading.rebuilt_arguments import refuse_unknown
from kernels.capture.reading.rebuilt_functions import CannotRebuild
from kernels.capture.recorder import Recorder
from tests.kernels.capture.kernels_by_hand import arguments, kernel

GRID = (1,)


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setattr(first_launch, "describe_device", lambda tensors, function: {"kind": "test"})
    begin(str(tmp_path / "a.capture"), {})
    return str(tmp_path / "a.capture")


def asking(function, /, *args, grid, warmup, **kwargs):
    if callable(grid):
        grid({"BLOCK": 32, **kwargs})


def launched(path, args, grid, **kwargs):
    """The capture of a launch, and of a plain one beside it."""
    recorder = Recorder(path)
    recorder.launch(asking, kernel, arguments(2, 16), GRID, {})
    recorder.launch(asking, kernel, args, grid, kwargs)
    recorder.flush()
    return read_capture(path)


def freed():
    x, *others = arguments()
    x.untyped_storage().resize_(0)
    return (x, *others)


def of_one_bit():
    x, *others = arguments()
    return (x.view(torch.uint8).view(torch.uint1), *others)


@pytest.mark.parametrize(
    ("args", "grid", "options", "reason"),
    [
        (arguments, (-1,), {}, "the grid is (-1,)"),
        (arguments, (), {}, "the grid is ()"),
        (arguments, lambda meta: (-3, 2), {}, "the grid is (-3, 2)"),
        (arguments, lambda meta: 4, {}, "the grid is ()"),
        (arguments, GRID, {"num_warps": 4.0}, "num_warps is 4.0, which is no whole number"),
        (arguments, GRID, {"num_stages": "2"}, "num_stages is '2', which is no whole number"),
        (arguments, GRID, {"num_warps": -1}, "num_warps is -1"),
        (freed, GRID, {}, "x_ptr ends at byte 128 of a storage that has 0"),
        (of_one_bit, GRID, {}, "x_ptr is a tensor of uint1"),
    ],
)
def test_a_launch_that_no_reader_takes_is_listed_and_the_others_are_read(path, args, grid, options, reason):
    found = launched(path, args(), grid, **options)
    assert len(found.launches) == 1
    (((why, name), count),) = found.unseen.items()
    assert (reason in why, name, count) == (True, "kernel", 1)


@pytest.mark.parametrize(
    "written",
    [np.int64(4), np.int32(4), tl.constexpr(4), torch.tensor(4)],
    ids=["int64", "int32", "constexpr", "tensor"],
)
def test_an_option_may_be_a_whole_number_of_any_kind(path, written):
    found = launched(path, arguments(), GRID, num_warps=written)
    assert {entry.options.get("num_warps") for entry in found.launches} == {None, 4}
    assert describe_config(triton.Config({}, num_warps=written))["num_warps"] == 4


def test_a_constant_of_over_64_bits_is_told_apart_and_cannot_be_made_anew(path):
    found = launched(path, arguments(), GRID, BLOCK=2**70)
    (entry,) = [e for e in found.launches if e.arguments["BLOCK"]["type"] == "unknown"]
    with pytest.raises(CannotRebuild, match=f"BLOCK is {2**70}, and a capture holds whole numbers of at most 64 bits"):
        refuse_unknown(entry)
    assert describe_config(triton.Config({"C": -(2**64), "D": 1}))["unkept"] == {"C": str(-(2**64))}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_config_keeps_no_number_that_json_lacks(value):
    assert describe_config(triton.Config({"C": value, "D": 1.5})) | {"num_ctas": 1} == {
        "kwargs": {"D": 1.5},
        "unkept": {"C": str(value)},
        "num_warps": 4,
        "num_stages": 3,
        "num_ctas": 1,
    }


def test_a_grid_function_may_have_no_programs_for_another_constant(path):
    (entry,) = [
        e for e in launched(path, arguments(), lambda m: (64 // m["BLOCK"] - 1,)).launches if e.grid["callable"]
    ]
    asked = {row["values"]["BLOCK"]: row.get("grid", "none") for row in entry.grid["table"]}
    assert asked == {8: [7], 16: [3], 64: [0], 128: "none"}


def test_a_program_gets_tritons_word_on_its_grid():
    probe = Probe(lambda meta: math.pi)
    assert (probe({}), probe.came_out) == (math.pi, None)


def test_memory_with_two_storages_is_as_large_as_the_larger_one():
    """Arrays of another library that begin at one address come as storages of their own, as large as each view."""

    def storage(count):
        return SimpleNamespace(
            untyped_storage=lambda: SimpleNamespace(data_ptr=lambda: 4096, nbytes=lambda: count),
            device=SimpleNamespace(type="cuda"),
        )

    storages = Storages()
    assert [storages.number(storage(count)) for count in (40, 400, 80)] == [0, 0, 0]
    assert storages.described == [{"bytes": 400, "device": "cuda"}]
