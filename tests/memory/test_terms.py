"""The words that every room shares are the same objects everywhere, and cost nothing to import."""

import math
import subprocess
import sys

import pytest

from agent.goal.objective import Setting
from kernels.hardware import hardware_named
from kernels.registry import get
from memory.attempt import ENVIRONMENT
from memory.shared_models import Closed, DeviceInfo
from memory.terms import ENERGY_UNITS, UNITS, canonical, count_of, energy_in, speed_in
from tools.harness.landscapes.readings import config_key
from tools.session.task import Task


def test_terms_import_the_standard_library_alone():
    code = "import sys, memory.terms; print({'pydantic', 'sqlite_utils', 'torch', 'click'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_config_has_one_text_everywhere():
    class Values(Closed):
        b: bool = True
        a: int = 1

    assert Values().key() == canonical({"b": True, "a": 1}) == config_key({"a": 1, "b": True}) == '{"a":1,"b":true}'
    assert config_key({"a": math.nan}) == '{"a":NaN}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical({"a": math.inf})


def test_memory_keeps_every_field_of_a_device():
    assert set(ENVIRONMENT) == set(DeviceInfo.model_fields)


def test_one_is_no_plural():
    assert [count_of(n, "process", "processes") for n in (0, 1, 2)] == ["0 processes", "1 process", "2 processes"]
    assert count_of(1, "row") + count_of(3, "row") == "1 row3 rows"


def test_units_are_the_field_s():
    assert [speed_in(m, 0.5, 10**12, 10**9) for m in UNITS] == pytest.approx([2000, 2000, 0.5])
    assert [energy_in(m, 0.5, 10**12, 10**9) for m in ENERGY_UNITS] == pytest.approx([2, 2, 500])


@pytest.mark.parametrize("metric", [*UNITS, *ENERGY_UNITS])
def test_the_loop_and_the_tools_reckon_alike(metric):
    spec = get("matmul")
    problem = spec.default_problem()
    task = Task.of(spec, problem, hardware_named("H200"), metric)
    setting = Setting(
        kernel="matmul", problem={}, label="", metric=task.metric, unit=task.unit, regime="burst", energy=task.energy,
        energy_unit=task.energy_unit, flops=spec.flops(problem), bytes=spec.bytes(problem), floor_ms=None, bound=None,
        hardware="H200", device={},
    )  # fmt: skip
    assert setting.value(0.2) == task.value(0.2)
    assert setting.energy_value(0.1) == task.energy_value(0.1)
    assert setting.tflops(0.2) == speed_in("tflops", 0.2, spec.flops(problem), 0)
