"""Launches are compiled with the assembler that their program had."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from agent.programs import compile_captured as compiling
from agent.programs import programs_assembler as module
from agent.programs.programs_assembler import programs_assembler
from kernels.capture.reading.captured_launches import Capture

BY_TRITON = Capture("a.capture", [], {}, [], 1, 1, 0)
BY_TORCH = replace(BY_TRITON, torch_assembler=True)
OWN = "/env/torch/bin/ptxas"


@pytest.mark.parametrize(
    ("capture", "before", "there", "within"),
    [
        (BY_TORCH, None, OWN, OWN),
        (BY_TORCH, "/mine", OWN, "/mine"),  # the user's choice
        (BY_TORCH, None, None, None),  # a PyTorch without one
        (BY_TRITON, None, OWN, None),
    ],
)
def test_the_programs_assembler_compiles_its_launches(capture, before, there, within, monkeypatch):
    monkeypatch.setattr(module, "torch_assembler", lambda: there)
    monkeypatch.delenv(module.ASSEMBLER, raising=False)
    if before is not None:
        monkeypatch.setenv(module.ASSEMBLER, before)
    lines = []
    with programs_assembler(capture, lines.append):
        assert os.environ.get(module.ASSEMBLER) == within
    assert os.environ.get(module.ASSEMBLER) == before
    assert [OWN in line for line in lines] == ([True] if within == OWN else [])


def test_it_is_the_programs_no_longer_if_the_command_fails(monkeypatch):
    monkeypatch.setattr(module, "torch_assembler", lambda: OWN)
    monkeypatch.delenv(module.ASSEMBLER, raising=False)
    with pytest.raises(KeyError), programs_assembler(BY_TORCH, print):
        raise KeyError
    assert module.ASSEMBLER not in os.environ


def test_a_captures_launches_are_compiled_for_their_figures_as_the_program_compiled_them(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "torch_assembler", lambda: OWN)
    monkeypatch.delenv(module.ASSEMBLER, raising=False)
    monkeypatch.setattr(compiling, "open_capture", lambda file: BY_TORCH)
    monkeypatch.setattr(compiling, "select_launches", lambda capture, only: [])
    monkeypatch.setattr(compiling, "_compile", lambda *about: {"with": os.environ[module.ASSEMBLER]})
    lines = []
    assert compiling.compile_captured(tmp_path, None, None, 1, lines.append) == {"with": OWN}
    assert len(lines) == 1
