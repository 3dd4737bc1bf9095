"""Shapes around a problem's, as far as the problem type and the constraint take them."""

import subprocess
import sys
from typing import Literal

import pytest
import torch
from pydantic import Field, model_validator

from kernels.spec import Config, KernelSpec, Problem
from tools.harness.checking.held_out import NO_SIZES, held_out_shapes


class Heads(Problem):
    """Query heads are a multiple of key heads."""

    dims = ("Q", "K", "N")
    Q: int = 8
    K: int = 2
    N: int = Field(default=300, ge=1)

    @model_validator(mode="after")
    def _fits(self):
        if self.K and self.Q % self.K:
            raise ValueError("Q must be a multiple of K")
        return self


class Blocks(Config):
    BLOCK_N: Literal[64] = 64


class Attend(KernelSpec):
    name, problem_type, config_type = "attend", Heads, Blocks

    def inputs(self, p, g, d):
        return (torch.empty(p.Q, p.K, p.N, device=d),)

    def launch(self, p, c, inputs, out, hw):
        raise NotImplementedError


class Even(Attend):
    def constraint(self, problem, config, hardware):
        return "N is odd" if problem.N % 2 else None


class Made(Attend):
    def not_made(self, problem, config, hardware):
        return "there are no such configs" if problem.N % 2 else None


def shapes(spec, problem=Heads()):  # noqa: B008 -- frozen
    return {
        x.kind: [p.shape() for p in x.problems] or x.why_not for x in held_out_shapes(spec, problem, Blocks(), None)
    }


def test_dimensions_change_together_as_far_as_the_problem_type_takes_them():
    found = shapes(Attend())
    assert found["odd sizes"] == [(7, 1, 299)]
    assert found["one tile less"] == [(8, 2, 236)]  # Q is taken to be one tile
    assert found["one tile more"] == [(16, 4, 364)]


def test_one_element_and_zero_sizes_are_tried_alone_and_together():
    found = shapes(Attend())
    assert found["one-element sizes"] == [(8, 1, 300), (8, 2, 1), (1, 1, 1)]
    assert found["zero sizes"] == [(0, 2, 300), (8, 0, 300)]  # the type says that N is at least 1


def test_what_the_constraint_refuses_is_not_tried_and_the_refusal_is_the_reason():
    assert shapes(Even(), Heads(Q=1, K=1))["odd sizes"] == "the kernel refuses N=299: N is odd"
    kept = {x.kind: x.kept for x in held_out_shapes(Even(), Heads(), Blocks(), None)}
    assert kept["odd sizes"] == {
        "Q": "the kernel refuses Q=7: Q must be a multiple of K",
        "N": "the kernel refuses N=299: N is odd",
    }
    assert not kept["one tile more"]
    assert shapes(Even())["odd sizes"] == [(8, 1, 300)]  # an odd Q is no multiple of K as it is


def test_a_config_is_not_tried_where_its_owner_would_not_make_it():
    refused = shapes(Made(), Heads(Q=1, K=1))["odd sizes"]
    assert refused == "the kernel refuses N=299: there are no such configs"


def test_no_shape_is_the_problem_itself_or_comes_twice():
    found = [p for x in held_out_shapes(Attend(), Heads(Q=1, K=1, N=1), Blocks(), None) for p in x.problems]
    assert len(set(found)) == len(found)
    assert Heads(Q=1, K=1, N=1) not in found


@pytest.mark.parametrize(
    ("said", "why"), [("", NO_SIZES), ("a capture holds one launch", "a capture holds one launch")]
)
def test_a_problem_without_dimensions_has_no_other_shapes(said, why):
    class OneSize(Attend):
        one_size = said

    class Fixed(Problem):
        dims = ()

    assert set(shapes(OneSize(), Fixed()).values()) == {why}


@pytest.mark.process
def test_to_choose_shapes_imports_no_compiler():
    """A process that measures would import it before its last sitting: seconds."""
    code = (
        "import sys\n"
        "from kernels.hardware import hardware_named\n"
        "from kernels.registry import get\n"
        "from tools.harness.checking.stress import launches_elsewhere\n"
        "for name in ('fused_matmul', 'conv2d'):\n"
        "    spec, hardware = get(name), hardware_named('H200')\n"
        "    problem = spec.default_problem()\n"
        "    assert list(launches_elsewhere(spec, problem, spec.default_config(problem, hardware), hardware))\n"
        "assert not {'torch._dynamo', 'sympy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
