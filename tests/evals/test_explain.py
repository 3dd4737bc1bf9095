"""``python -m kernels explain --live`` with a card that is a fake child, and what it refuses."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from evals.explain import explain_command as module
from tests.tools.evidence.exam import KERNELS
from tools.evidence.live import profiled_card

DRAM = "tests.tools.evidence.planted:Dram"


def run(*arguments):
    return CliRunner().invoke(module.explain, list(arguments))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((DRAM, "--ncu"), "add --live"),
        ((DRAM, "--live"), "--live needs a GPU"),
        ((DRAM, "--live", "--gpu", "A100"), "leave --gpu A100 out"),
    ],
)
def test_what_cannot_be_done_live_is_one_sentence(monkeypatch, arguments, sentence):
    monkeypatch.setattr("tools.harness.measuring.telemetry.gpus_present", lambda: 0)
    done = run(*arguments)
    assert done.exit_code == 2
    assert sentence in done.output
    assert "Traceback" not in done.output


@pytest.mark.process
@pytest.mark.compile
def test_the_cards_figures_are_in_page_and_answer(monkeypatch, one_cache, tmp_path):
    monkeypatch.setattr("tools.harness.measuring.telemetry.gpus_present", lambda: 1)
    monkeypatch.setattr(profiled_card, "CHILD", "tests.tools.evidence.fake_profilers:showing")
    monkeypatch.setenv("NCU", str(tmp_path / "none"))
    done = run(DRAM, "--live", "--ncu", "--json", "--keep", str(tmp_path / "kept"))
    found = json.loads(done.stdout)
    assert found["limit"]["name"] == KERNELS[0].limit == "DRAM"
    assert found["from"] == "card"
    assert found["measured_ms"] == 0.0639
    assert found["card"]["achieved"]["dram_tb_per_s"] == pytest.approx(4.2, rel=0.01)  # 268 MB in 63.9 us
    assert found["card"]["stalls"]["long_scoreboard"] == 0.95
    assert any("ncu was not found" in note for note in found["missing"])
    page = run(DRAM, "--live").output
    assert "from its code and the card" in page
    assert "planted.py:75@arithmetic: 15,089 samples" in page
    assert "note   no scope" in page
