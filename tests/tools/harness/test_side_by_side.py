"""Config and owner's launch in turns on the same memory: what is restored before the flush, and what after it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from tools.harness.checking.side_by_side import PAIRS, PLACES, read_side_by_side

MS = {("owner", "cold"): 5.0, ("config", "cold"): 4.0, ("owner", "warm"): 2.0, ("config", "warm"): 2.5}


class Spec:
    """Adds to `x` in place and to `out`, which a launch of the owner's overwrites. Its time depends on where `x` is."""

    def __init__(self, gpu):
        self.gpu, self.launched, self.addresses = gpu, [], set()

    def owner_config(self):
        return "owner"

    def launch(self, problem, config, inputs, out, hardware):
        assert (inputs["x"] == 1).all(), "a launch must find the arguments as they were drawn"
        assert out["out"].data_ptr() != inputs["x"].data_ptr()
        self.gpu.arguments, self.gpu.out = inputs["x"], out["out"]
        self.addresses.add(inputs["x"].storage_offset())
        self.gpu.took = MS.get((config, self.gpu.state), 0.0)
        self.launched.append((self.gpu.state, config))
        if self.gpu.state != "before":
            inputs["x"] += 1
        out["out"] += 1


class Gpu:
    """The L2 is cold if what is flushed from it are arguments as they were drawn, and none were written since."""

    state, took, arguments, out = "before", 0.0, None, None
    spun = False

    def flush(self):
        self.state = "cold" if (self.arguments == 1).all() else "warm"
        self.spun = False

    def spin(self):
        self.spun = True

    def wait(self):
        pass

    def watch(self):
        def start():
            assert self.spun, "the host must be ahead of the GPU"

        kept = {}
        return SimpleNamespace(start=start, stop=lambda: kept.update(ms=self.took), ms=lambda: kept["ms"])


def test_what_a_config_saves_is_read_with_a_cold_and_with_a_warm_l2():
    gpu = Gpu()
    spec = Spec(gpu)
    problem = SimpleNamespace(paths=lambda field: ("out",) if field == "overwritten" else ())
    drawn = {"x": torch.ones(8), "out": torch.zeros(8)}
    found = read_side_by_side(spec, problem, "config", drawn, gpu)
    assert found["cold"] == {"owner_ms": 5.0, "ms": 4.0, "saved_ms": pytest.approx([1.0] * 3)}
    assert found["warm"] == {"owner_ms": 2.0, "ms": 2.5, "saved_ms": pytest.approx([-0.5] * 3)}
    assert (drawn["x"] == 1).all()
    assert not drawn["out"].any()
    at_a_place = 2 + 4 * PAIRS
    assert gpu.out[0] == at_a_place, "what is overwritten whole is not restored"
    assert len(spec.launched) == PLACES * at_a_place
    assert len(spec.addresses) == PLACES
    pairs = [spec.launched[i : i + 2] for i in range(2, at_a_place, 2)]
    assert len(pairs) == 2 * PAIRS
    assert all({c for _, c in pair} == {"owner", "config"} for pair in pairs)
    assert len({pair[0][1] for pair in pairs}) == 2, "neither is always the first"
