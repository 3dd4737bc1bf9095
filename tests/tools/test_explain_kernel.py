"""The tool ``explain_kernel`` in a session: from the code, and live on a GPU that a fake child stands for."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.tools.evidence.exam import KERNELS
from tests.tools.test_session import H200
from tools import explain_kernel
from tools.evidence.answer import MOST_BYTES
from tools.evidence.live import profiled_card
from tools.harness.devices.live import LiveDevice
from tools.harness.results import Measurement

pytestmark = pytest.mark.compile


@pytest.fixture
def session(compile_pool, tmp_path):
    """As much of a session as the tool needs: a planted kernel, measured on a device that is live."""
    spec = KERNELS[0]()
    config = spec.config_type(planted=True)
    device = object.__new__(LiveDevice)
    device.workers = SimpleNamespace(index=0, lock=tmp_path / "lock")
    device.cache = Path(tmp_path)
    measured = Measurement(config=config.model_dump(mode="json"), status="correct", ms=0.066)
    return SimpleNamespace(
        task=SimpleNamespace(spec=spec, problem=spec.default_problem(), hardware=H200),
        device=device,
        pool=compile_pool("H200"),
        measured={config: measured},
        best=lambda: None,
    )


def ask(session, config, live):
    arguments = explain_kernel.arguments(session.task.spec)
    args = arguments.model_validate({"config": config.model_dump(mode="json"), "live": live})
    return explain_kernel.run(session, args, "call")


@pytest.mark.process
def test_live_holds_the_timings_lock_and_says_what_the_card_showed(session, monkeypatch):
    monkeypatch.setattr(profiled_card, "CHILD", "tests.tools.evidence.fake_profilers:showing")
    asked = []
    real = profiled_card.Card.__init__
    monkeypatch.setattr(profiled_card.Card, "__init__", lambda self, *a: (asked.append(a), real(self, *a))[1])
    answer = ask(session, session.task.spec.config_type(planted=True), live=True)
    assert asked == [(0, session.device.workers.lock, session.device.cache)]
    assert answer["from"] == "card"
    assert answer["limit"]["name"] == "DRAM"
    assert answer["measured_ms"] == 0.0639
    assert len(json.dumps(answer)) <= MOST_BYTES


def test_what_was_not_measured_correctly_is_not_run(session):
    assert "call run_benchmark first" in ask(session, session.task.spec.config_type(planted=False), live=True)["error"]


def test_a_recorded_device_answers_from_the_code_and_says_so(session):
    session.device = SimpleNamespace(info=SimpleNamespace(kind="recorded"))
    answer = ask(session, session.task.spec.config_type(planted=True), live=True)
    assert answer["from"] == "code"
    assert answer["missing"] == ["nothing was run under a profiler: the device is recorded"]
    assert answer["limit"]["name"] == "DRAM"
