"""What a real driver says, beside the published facts; and a run on a card whose entry is hidden."""

import pytest
import torch

from kernels.hardware import kept_gpus, known_hardware
from kernels.hardware.asked_gpu import ask
from tests.exploits.axpy import Axpy, AxpyConfig, AxpyProblem
from tools.harness.devices.live import LiveDevice
from tools.harness.measuring import unlisted_gpu
from tools.harness.measuring.telemetry import gpus_present

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not gpus_present(), reason="needs a GPU")]
SAME = ("arch", "warp_size", "sms", "shared_per_block", "shared_per_sm", "registers_per_sm", "threads_per_sm",
        "blocks_per_sm", "l2_bytes")  # fmt: skip


def test_the_driver_agrees_with_the_published_facts():
    known = known_hardware(torch.cuda.get_device_name(0))
    if known is None:
        pytest.skip("this card has no published facts")
    asked = ask(0)
    assert {fact: getattr(asked, fact) for fact in SAME} == {fact: getattr(known, fact) for fact in SAME}
    assert asked.bandwidth == pytest.approx(known.bandwidth, rel=0.05)
    assert all(known.peak[dtype] < 1.05 * asked.peak[dtype] for dtype in known.peak)


def test_a_card_whose_entry_is_hidden_is_asked_measured_once_and_used(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(unlisted_gpu, "known_hardware", lambda name: None)

    def opened():
        return LiveDevice.open("cuda:0", Axpy(), AxpyProblem(N=1 << 28), factory="tests.tools.hidden_card:worker")

    live = opened()
    try:
        assert live.info.hardware == torch.cuda.get_device_name(0)
        assert "measured on" in live.hardware.sources[-1]
        [m] = live.measure([AxpyConfig(BLOCK=2048)])
        assert m.status == "correct", m.reason
    finally:
        live.close()
    [kept] = kept_gpus.folder().iterdir()
    written = kept.stat().st_mtime_ns
    opened().close()
    assert kept.stat().st_mtime_ns == written
