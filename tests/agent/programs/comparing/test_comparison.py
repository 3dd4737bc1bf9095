from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from agent.programs.comparing.comparison import compare_pairs, render_comparison
from agent.programs.comparing.program_runs import Plan, ProgramRun, order_of
from agent.programs.comparing.same_files import compare_files
from kernels.capture.kernel_times import read_times


def runs(*pairs):
    return [
        (ProgramRun(False, 1.0, 1.0, kernels=dict(without)), ProgramRun(True, 1.0, 1.0, kernels=dict(with_)))
        for without, with_ in pairs
    ]


def test_kernels_are_listed_by_what_they_save_and_the_sum_comes_first():
    noise = (0.0, 0.01, -0.01, 0.02, -0.02)
    pairs = runs(*(({"a": 5 + e, "b": 2.0, "gone": 1.0}, {"a": 4 + e, "b": 2.5 + e, "new": 0.5}) for e in noise))
    found = compare_pairs(pairs, Plan(("true",), Path("t")), False, 0.0).kernels
    assert [(k.kernel, k.word) for k in found] == [
        ("all kernels", "faster"),
        ("a", "faster"),
        ("gone", "faster"),
        ("b", "slower"),
        ("new", "slower"),
    ]
    assert found[0].saved.value == pytest.approx(8 - 7)
    assert "all kernels" in render_comparison(compare_pairs(pairs, Plan(("true",), Path("t")), False, 0.0))


def test_turns_are_balanced():
    assert sum(a < b for a, b in order_of(6)) == 3


def test_times_of_all_processes_are_added(tmp_path):
    lines = [{"pid": 1, "ms": {"a": 1.5, "b": 1.0}}, {"pid": 2, "ms": {"a": 0.5}}]
    (tmp_path / "times").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_times(str(tmp_path / "times")) == {"a": 2.0, "b": 1.0}
    assert read_times(str(tmp_path / "none")) == {}


BASE = {"w": [torch.tensor([1.0, float("nan"), float("inf")])], "step": 3, "i": torch.tensor([1, 2])}


@pytest.mark.parametrize(
    ("other", "tolerance", "same", "how"),
    [
        ({**BASE, "i": torch.tensor([1, 2])}, 0.0, True, ""),
        ({**BASE, "w": [torch.tensor([1.001, float("nan"), float("inf")])]}, 1e-2, True, "w[0]"),
        ({**BASE, "w": [torch.tensor([1.001, float("nan"), float("inf")])]}, 1e-4, False, "w[0]"),
        ({**BASE, "w": [torch.tensor([1.0, float("nan"), float("-inf")])]}, 1.0, False, "w[0] has another value"),
        ({**BASE, "w": [torch.tensor([1.0, 2.0, float("inf")])]}, 1.0, False, "w[0] has another value"),
        ({**BASE, "i": torch.tensor([1, 3])}, 1.0, False, "i has another value"),
        ({**BASE, "step": 4}, 1.0, False, "step has another value"),
        ({**BASE, "more": 1}, 1.0, False, "more is in only one of them"),
        ({**BASE, "i": torch.tensor([1, 2, 3])}, 1.0, False, "i has another value, type or shape"),
    ],
)
def test_tensors_are_compared_with_a_stated_tolerance(tmp_path, other, tolerance, same, how):
    torch.save(BASE, tmp_path / "a")
    torch.save(other, tmp_path / "b")
    found = compare_files(tmp_path / "a", tmp_path / "b", tolerance)
    assert found.same == same
    assert how in found.how


def test_files_that_are_no_tensors_are_compared_by_their_bytes(tmp_path):
    for name, text in (("a", "one"), ("b", "one"), ("c", "two")):
        (tmp_path / name).write_text(text)
    assert compare_files(tmp_path / "a", tmp_path / "b", 0.0).same
    assert not compare_files(tmp_path / "a", tmp_path / "c", 1.0).same
