"""Evidence from a card: what Proton's file says, what a failing profiler says, and on a GPU the real thing."""

from __future__ import annotations

import pytest

from tests.tools.evidence.exam import KERNELS
from tools.evidence.live import profiled_card as module
from tools.evidence.live.profiled_card import Card
from tools.harness.measuring.telemetry import gpus_present

TREE = [
    {
        "frame": {"name": "ROOT"},
        "metrics": {},
        "children": [
            {
                "frame": {"name": "arithmetic"},
                "metrics": {"time (ns)": 4000, "count": 2},
                "children": [
                    {
                        "frame": {"name": "planted.py:75@arithmetic"},
                        "metrics": {"num_samples": 7, "stalled_long_scoreboard": 5, "stalled_wait": 0},
                        "children": [],
                    }
                ],
            }
        ],
    },
    {"CUDA": {"0": {"arch": "90"}}},
]


def test_a_hatchet_tree_is_read():
    from tools.evidence.live.card_child import read_tree

    found = read_tree(TREE)
    assert found["kernels"] == {"arithmetic": [4000.0, 2.0]}
    assert found["samples"] == {"long_scoreboard": 5}
    assert found["frames"] == {"planted.py:75@arithmetic": 7}


def dying(init):
    import os

    return lambda job: os._exit(3)


def empty(init):
    return lambda job: {"kernels": {}, "samples": {}, "frames": {}}


@pytest.mark.process
@pytest.mark.parametrize(
    ("child", "sentence"),
    [("dying", "the profiler's process failed (the process died (exit code 3))"), ("empty", "Proton saw no kernel")],
)
def test_what_is_missing_is_said(monkeypatch, child, sentence):
    monkeypatch.setattr(module, "CHILD", f"tests.tools.evidence.test_card:{child}")
    spec = KERNELS[0]()
    with Card() as card:
        seen = card.see(spec, spec.default_problem(), spec.config_type())
    assert seen.ms is None
    assert any(sentence in note for note in seen.notes)
    assert len(seen.notes) == 2


@pytest.mark.gpu
@pytest.mark.skipif(not gpus_present(), reason="needs a GPU")
def test_proton_times_a_kernel():
    spec = KERNELS[0]()
    with Card() as card:
        seen = card.see(spec, spec.default_problem(), spec.config_type(), sampled=False)
    assert seen.notes == ()
    assert 0.03 < seen.ms < 1.0
