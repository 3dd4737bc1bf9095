"""A launch as it really is: each kernel is accepted as it is described, and its twin is rejected."""

import inspect

import pytest

from kernels.check_spec import KernelError, examine
from kernels.hardware import hardware_named
from tests.kernels.launches import own_kernels as own
from tests.kernels.launches.pairs import PAIRS
from tools.harness.measuring.telemetry import gpus_present

pytestmark = pytest.mark.process

H200 = hardware_named("H200")


MOST_LINES = 30
"""Of a description."""


def opened(kind):
    spec = kind()
    problem = spec.default_problem()
    return spec, problem, spec.space(problem, H200)[0]


def names(pair):
    return pair[0].__name__


each_pair = pytest.mark.parametrize("pair", PAIRS, ids=names)


def test_there_are_thirty_six_pairs():
    assert len(PAIRS) == len({names(pair) for pair in PAIRS}) == 36


def lines_of(member):
    member = getattr(member, "__func__", member)
    return inspect.getsource(member).rstrip().count("\n") + 1 if inspect.isfunction(member) else 1


@each_pair
def test_a_description_is_short(pair):
    """All that it says, what it takes over from another one of these kernels included."""
    kinds = [
        c for c in type(pair[0]()).__mro__ if not c.__module__.startswith(("kernels.", "builtins", "typing", "abc"))
    ]
    said = {name: member for c in reversed(kinds) for name, member in vars(c).items() if not name.startswith("_")}
    lines = sum(map(lines_of, said.values()))
    assert 5 < lines <= MOST_LINES


@each_pair
def test_a_kernel_is_accepted_as_it_is_described(pair, interpreter):
    spec, problem, config = opened(pair[0])
    examine(spec)
    (result,) = interpreter.check(spec, problem, [config], "H200")
    assert result.status == "correct", result.reason


@each_pair
def test_its_twin_is_rejected(pair, interpreter):
    spec, problem, config = opened(pair[1])
    examine(spec)
    (result,) = interpreter.check(spec, problem, [config], "H200")
    assert result.status == "correctness", result


@pytest.mark.gpu(measures=False)
@pytest.mark.skipif(not gpus_present(), reason="needs a GPU")
@each_pair
def test_the_same_on_a_gpu(pair, shared_worker):
    for kind, status in zip(pair, ("correct", "correctness"), strict=True):
        spec, problem, config = opened(kind)
        (result,) = shared_worker.open(spec, problem).check([config])
        assert result.status == status, (spec.name, result)


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


class NoSquare(own.KeywordConstexpr):
    name = "no_square"

    def arguments(self, p, inputs, out):
        return inputs[0], out, p.N


def test_a_parameter_that_nobody_gives_is_named_before_anything_is_launched():
    with pytest.raises(KernelError) as e:
        examine(NoSquare())
    line = str(e.value)
    assert line.startswith(__file__)
    assert 'NoSquare.arguments gives no SQUARE of power: return a dict by name, or (arguments, {"SQUARE"' in line


def test_a_config_that_is_made_for_one_size_is_not_made_for_another():
    kernel, whole, odd = own.PruneMakes(), own.Line(N=1024), own.Line(N=1023)
    even = next(kernel.candidates(whole, H200))
    assert even.EVEN
    assert kernel.not_made(whole, even, H200) is None
    assert kernel.not_made(odd, even, H200) == "its early_config_prune does not make this config there"
    listed = own.KeywordConstexpr()
    assert listed.not_made(odd, next(listed.candidates(whole, H200)), H200) is None
