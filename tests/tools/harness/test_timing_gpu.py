"""Clocks on a real GPU: small kernels, close contenders, the two regimes."""

import pytest

from tests.exploits.axpy import Axpy, AxpyConfig, AxpyProblem
from tools.harness.devices.live import LiveDevice
from tools.harness.measuring.floor import floor_ms
from tools.harness.measuring.telemetry import gpus_present

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not gpus_present(), reason="needs a GPU")]


def median_ms(n, regime="burst"):
    device = LiveDevice.open("cuda:0", Axpy(), AxpyProblem(N=n))
    try:
        [m] = device.measure([AxpyConfig()], regime)
        assert m.status == "correct", m.reason
        return m
    finally:
        device.close()


def test_a_kernel_of_microseconds_is_timed_without_the_cost_of_its_events():
    m = median_ms(1 << 12)
    assert 0.0003 < m.ms < 0.004


def test_a_large_copy_takes_as_long_as_its_bytes_need_in_both_regimes():
    problem = AxpyProblem(N=1 << 28)
    device = LiveDevice.open("cuda:0", Axpy(), problem)
    try:
        floor, _ = floor_ms(Axpy(), problem, device.hardware)
        for regime in ("burst", "sustained"):
            [m] = device.measure([AxpyConfig(BLOCK=2048)], regime)
            assert m.status == "correct", m.reason
            assert floor < m.ms < 2 * floor
            assert m.telemetry.sm_mhz > 0
            assert (m.joules is not None) == (regime == "sustained")
    finally:
        device.close()


def test_contending_orders_configs_that_differ_and_keeps_those_that_do_not():
    device = LiveDevice.open("cuda:0", Axpy(), AxpyProblem(N=1 << 26))
    try:
        slow, fast = device.contend([AxpyConfig(BLOCK=32), AxpyConfig(BLOCK=1024)])
        assert fast.ms < slow.ms
        assert len(fast.samples_ms) >= 16
    finally:
        device.close()
