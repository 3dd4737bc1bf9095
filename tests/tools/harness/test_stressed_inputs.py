"""What the kinds of inputs leave as it was drawn."""

from __future__ import annotations

import math
import time

import pytest
import torch
import triton

from kernels.hardware import hardware_named
from tests.exploits.axpy import AxpyProblem
from tests.faults.broken import Faulty
from tools.harness.checking.stressed_inputs import CHANGES, changed
from tools.harness.measuring import worker
from tools.harness.process.identity import describe

INF = float("inf")
CAUSAL = torch.ones(32, 32, dtype=torch.bool).triu(1)


@pytest.mark.parametrize("kind", CHANGES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_masks_whole_numbers_and_infinite_places_stay(kind, dtype):
    inputs = {
        "mask": torch.where(CAUSAL, torch.finfo(dtype).min, 0.0).to(dtype),
        "infinite": torch.where(CAUSAL, -INF, 0.0).to(dtype),
        "bias": torch.where(CAUSAL, -INF, torch.randn(32, 32)).to(dtype),
        "tokens": torch.randperm(32),
        "x": torch.randn(32, 32).to(dtype),
    }
    before = {n: t.clone() for n, t in inputs.items()}
    changed(inputs, CHANGES[kind], torch.Generator().manual_seed(0))
    for name in ("mask", "infinite", "tokens"):
        assert torch.equal(inputs[name], before[name])
    assert torch.equal(inputs["bias"][CAUSAL], before["bias"][CAUSAL])
    assert not torch.equal(inputs["x"], before["x"])
    assert not torch.equal(inputs["bias"], before["bias"])
    if "infinite" not in kind:
        assert torch.equal(inputs["bias"] == -INF, CAUSAL)


def test_scales_are_no_mask():
    inputs = {"scales": torch.tensor([1.0, 2.0, 1.0])}
    changed(inputs, CHANGES["large"], torch.Generator())
    assert inputs["scales"].tolist() == [256.0, 512.0, 256.0]


@pytest.mark.parametrize(("seconds_to_end", "most_s"), [(math.inf, 6.0), (100.0, 6.0), (2.0, 2.0)])
def test_stress_inputs_end_with_the_run(seconds_to_end, most_s, tmp_path, monkeypatch):
    monkeypatch.setattr(triton.knobs.compilation, "listener", None)  # which a worker replaces

    def stressing(*about):
        yield from ()
        return {"status": "runtime", "most_s": about[-2]}

    monkeypatch.setattr(worker, "stressing", stressing)
    ours = worker.Worker({**describe(Faulty(), AxpyProblem()), "index": 0, "lock": str(tmp_path / "lock")})
    ours.hardware = hardware_named("H200")
    job = {"config": {}, "most_s": 6.0, "ends_at": time.monotonic() + seconds_to_end}
    assert ours.stress(job)["most_s"] == pytest.approx(most_s, abs=0.2)
