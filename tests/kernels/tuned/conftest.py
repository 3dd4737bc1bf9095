from __future__ import annotations

import pytest
import triton
from triton.runtime import driver

from agent.programs import capture
from kernels.capture.reading.captured_launches import read_capture
from kernels.tuned.applying import applied_table
from kernels.tuned.key import key_of_captured
from kernels.tuned.tuned_environment import assembler_of
from kernels.tuned.tuned_file import write_table
from kernels.tuned.tuned_table import TunedEnvironment, TunedFunction, TunedRow, TunedTable
from tests.kernels.capture.launching_driver import LaunchingDriver
from tools.harness.process.child import Child

DEADLINE_S = 120


@pytest.fixture(scope="package")
def scene(one_cache):
    """A function: what a scene of ``interpreted_scenes.py`` returns."""
    child = Child("tests.kernels.tuned.interpreted_scenes:scenes", {}, {"TRITON_INTERPRET": "1"})
    yield lambda name, *arguments: child.call({"scene": name, "arguments": list(arguments)}, DEADLINE_S)
    child.kill()


@pytest.fixture(scope="module")
def launching():
    """Triton compiles for an sm_90 and launches nothing."""
    before = driver._active
    driver.set_active(LaunchingDriver())
    yield driver.active
    driver._active = before


@pytest.fixture
def here(launching, monkeypatch):
    environment = TunedEnvironment("NVIDIA H200", triton.__version__, assembler_of("cuda", 90))
    monkeypatch.setattr(applied_table, "_environment_of_launch", lambda: environment)
    return environment


@pytest.fixture
def write(here, tmp_path):
    """A function: write a table with `decision` for what `launch` launches on `x`; its path."""

    def written(launch, x, decision):
        path = tmp_path / "run.capture"
        with capture(path, values="no"):
            launch(x)
        found = read_capture(str(path))
        (launched,) = found.launches
        f = launched.function
        function = TunedFunction(f["module"], f["qualname"], f["identity"])
        table = TunedTable()
        key = key_of_captured(launched, found.functions())
        table.add(TunedRow(function, here, key, "proven", decision), {"speedup": 1.1})
        write_table(table, tmp_path / "tuned.json")
        return tmp_path / "tuned.json"

    return written
