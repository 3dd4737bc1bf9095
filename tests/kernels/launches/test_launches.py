"""A launch as it really is: each kernel is accepted as it is described, and its twin is rejected."""

import pytest

from kernels.check_spec import examine
from kernels.hardware import hardware_named
from tests.kernels.launches import own_kernels as own

pytestmark = pytest.mark.process

H200 = hardware_named("H200")


def checked(kind, interpreter):
    spec = kind()
    problem = spec.default_problem()
    return interpreter.check(spec, problem, spec.space(problem, H200)[:1], "H200")[0]


@pytest.mark.parametrize("kind", own.HONEST, ids=lambda k: k.__name__)
def test_a_kernel_is_accepted_as_it_is_described(kind, interpreter):
    examine(kind())
    result = checked(kind, interpreter)
    assert result.status == "correct", result.reason


@pytest.mark.parametrize("kind", own.TWINS, ids=lambda k: k.__name__)
def test_its_twin_is_rejected(kind, interpreter):
    examine(kind())
    result = checked(kind, interpreter)
    assert result.status == "correctness", result
