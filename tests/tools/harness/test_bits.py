"""Bits are compared with those of the owner's launch, the default config's, on equal inputs."""

from typing import Literal

import pytest
import torch

from kernels.spec import Config, KernelSpec, Problem
from tools.harness.checking.bits import compare_bits


class Sums(Problem):
    dims = ("N",)
    N: int = 300
    dtype: Literal["fp32"] = "fp32"


class Order(Config):
    order: Literal["forward", "forward too", "backward", "half", "atomic", "fails"]


class Sum(KernelSpec):
    """Partial sums: what is added first is the config's choice."""

    name, problem_type, config_type, metric = "sum", Sums, Order, "gbps"
    scratch = ("scratch",)

    def default_config(self, problem, hardware):
        return Order(order="forward")

    def inputs(self, p, g, d):
        return (torch.randn(p.N, generator=g, device=d),)

    def output(self, p, d):
        return {"sums": torch.empty(p.N), "scratch": torch.empty(p.N)}

    def launch(self, p, c, inputs, out, hw):
        x, at = inputs[0], p.N // 2 if c.order == "half" else p.N
        if c.order == "fails":
            raise RuntimeError("out of resources")
        sums = x.flip(0).cumsum(0).flip(0)[:1] + (x.cumsum(0) - x.sum()) if c.order == "backward" else x.cumsum(0)
        out["sums"][:at] = sums[:at]
        out["scratch"].copy_(torch.randn(p.N))


class Atomics(Sum):
    """Every launch adds in another order."""

    def launch(self, p, c, inputs, out, hw):
        out["sums"].copy_(inputs[0] + 1e-3 * torch.rand(()))


def test_equal_bits_are_the_same_and_scratch_is_not_looked_at():
    assert compare_bits(Sum(), Sums(), Order(order="forward"), "cpu", None) == ("same", "")
    assert compare_bits(Sum(), Sums(), Order(order="forward too"), "cpu", None) == ("same", "")


def test_another_order_of_sums_differs_in_some_elements():
    bits, why = compare_bits(Sum(), Sums(), Order(order="backward"), "cpu", None)
    assert bits == "differ"
    assert why.endswith(" of 300 elements of sums")


def test_what_a_launch_leaves_as_it_is_must_be_so_in_both():
    bits, why = compare_bits(Sum(), Sums(), Order(order="half"), "cpu", None)
    assert (bits, why) == ("differ", "150 of 300 elements of sums")


def test_a_launch_that_differs_from_itself_has_no_bits():
    bits, why = compare_bits(Atomics(), Sums(), Order(order="forward"), "cpu", None)
    assert bits == "differ"
    assert why.startswith("two of the owner's own launches on equal inputs differ")


def test_a_launch_that_fails_raises():
    with pytest.raises(RuntimeError, match="out of resources"):
        compare_bits(Sum(), Sums(), Order(order="fails"), "cpu", None)
