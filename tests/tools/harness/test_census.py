"""What the profiler's events say of one launch."""

from types import SimpleNamespace

import pytest

from tools.harness.checking.census import Census, read_census

SPIN = "void at::cuda::(anonymous namespace)::spin_kernel(long)"


def event(name, start, end):
    return SimpleNamespace(name=name, time_range=SimpleNamespace(start=start, end=end))


def counted(*events):
    return read_census([event(SPIN, 0.0, 2000.0), *events, event(SPIN, 2100.0, 2120.0)], {"mine"})


@pytest.mark.parametrize(
    ("events", "says"),
    [
        ([event("mine", 2001.0, 2099.0)], Census([], [])),
        ([event("mine", 2001.0, 2099.0), event("gemm", 2001.0, 2050.0)], Census(["gemm"], [])),
        ([event("Memset (Device)", 2001.0, 2002.0), event("at::native::FillFunctor<float>", 2.0, 3.0)], Census([], [])),
        ([event("mine", 2001.0, 2100.5)], Census([], ["mine"])),
        ([event("mine", 2001.0, 2050.0), event("mine", 2110.0, 2300.0)], Census([], ["mine"])),
        ([event("mine", 2001.0, 2050.0), event("Memcpy (Device)", 2010.0, 2101.0)], Census([], ["Memcpy (Device)"])),
        ([event(SPIN, 2001.0, 2090.0), event("mine", 2001.0, 2050.0)], Census([SPIN], [])),
    ],
)  # fmt: skip
def test_what_is_not_its_own_and_what_goes_on_is_named(events, says):
    assert counted(*events) == says


def test_without_both_spins_nothing_is_called_late():
    """As with a profiler that names the spin otherwise."""
    assert read_census([event("mine", 0.0, 5.0)], {"mine"}) == Census([], [])
