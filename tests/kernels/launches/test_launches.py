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


def test_a_config_that_is_made_for_one_size_is_not_made_for_another():
    kernel, whole, odd = own.PruneMakes(), own.Line(N=1024), own.Line(N=1023)
    even = next(kernel.candidates(whole, H200))
    assert even.EVEN
    assert kernel.not_made(whole, even, H200) is None
    assert kernel.not_made(odd, even, H200) == "its early_config_prune does not make this config there"
    listed = own.KeywordConstexpr()
    assert listed.not_made(odd, next(listed.candidates(whole, H200)), H200) is None
