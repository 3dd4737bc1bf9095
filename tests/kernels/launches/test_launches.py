"""A launch as it really is: each kernel is accepted as it is described, and its twin is rejected."""

import pytest

from kernels.check_spec import KernelError, examine
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


class TwoOfOut(own.KeywordConstexpr):
    """Its ``arguments`` takes the two results for one tensor."""

    name = "two_of_out"

    def arguments(self, p, inputs, out):
        assert out.dtype
        return (inputs[0], out, p.N), {}

    def eager(self, p, inputs):
        return inputs[0], inputs[0]


def test_a_mistake_in_arguments_is_said_of_arguments():
    with pytest.raises(KernelError) as e:
        examine(TwoOfOut())
    line = str(e.value)
    assert line.startswith(__file__)
    assert "TwoOfOut.arguments() raised AttributeError: 'tuple' object has no attribute 'dtype'" in line
    assert line.endswith("; out holds the 2 results as eager() gives them")
    assert "undeclared" not in line
