"""Clocks on a real GPU: small kernels, close contenders, the two regimes."""

import pytest

from tests.exploits.axpy import Axpy, AxpyConfig, AxpyProblem
from tools.harness.measuring.floor import floor_ms
from tools.harness.measuring.telemetry import gpus_present

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not gpus_present(), reason="needs a GPU")]


@pytest.fixture
def opened(ready_workers):
    """A function: the device for a problem of n elements."""
    devices = []

    def open_(n):
        devices.append(ready_workers.open(Axpy(), AxpyProblem(N=n)))
        return devices[-1]

    yield open_
    for device in devices:
        device.close()


def test_a_kernel_of_microseconds_is_timed_without_the_cost_of_its_events(opened):
    [m] = opened(1 << 12).measure([AxpyConfig()])
    assert m.status == "correct", m.reason
    assert 0.0003 < m.ms < 0.004


def test_a_large_copy_takes_as_long_as_its_bytes_need_in_both_regimes(opened):
    device = opened(1 << 28)
    floor, _ = floor_ms(Axpy(), device.problem, device.hardware)
    for regime in ("burst", "sustained"):
        [m] = device.measure([AxpyConfig(BLOCK=2048)], regime)
        assert m.status == "correct", m.reason
        assert floor < m.ms < 2 * floor
        assert m.telemetry.sm_mhz > 0
        assert (m.joules is not None) == (regime == "sustained")


def test_contending_orders_configs_that_differ_and_keeps_those_that_do_not(opened):
    slow, fast = opened(1 << 26).contend([AxpyConfig(BLOCK=32), AxpyConfig(BLOCK=1024)])
    assert fast.ms < slow.ms
    assert len(fast.samples_ms) >= 16
