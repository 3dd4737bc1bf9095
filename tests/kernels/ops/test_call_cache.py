"""Replayed calls of the ops: the C function that Triton's launcher ends in is given what it was given before, and what
has to take the normal road does. On the CPU, with Triton's own launcher and compiler, and a driver that notes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from kernels.ops import call_cache, launcher, recorded_call

pytestmark = pytest.mark.compile

ROOT = Path(__file__).parents[3]
NORMAL, REPLAYED = [1, 1], [0, 1]
OPS = (
    "softmax",
    "rms_norm",
    "layer_norm",
    "swiglu",
    "matmul by descriptors",
    "fused_matmul with a bias",
    "fused_matmul of columns",
    "fused_matmul by pointers",
    "attention",
    "conv2d by boxes",
    "conv2d by pointers",
)
ROADS = {
    "plain": REPLAYED,
    "parameter": REPLAYED,
    "inference": REPLAYED,
    "gradient": NORMAL,
    "misaligned": NORMAL,
    "no gradient wanted": REPLAYED,
    "no gradient wanted again": REPLAYED,
    "then wanted": NORMAL,
    "autocast": REPLAYED,
    "default device": NORMAL,
    "traced by make_fx": NORMAL,
    "keywords": NORMAL,
    "keywords again": REPLAYED,
    "keywords once more": REPLAYED,
    "other eps": NORMAL,
    "other eps again": REPLAYED,
    "other rows": NORMAL,
    "strided": NORMAL,
    "strided again": NORMAL,
    "subclass": NORMAL,
    "dispatch mode": NORMAL,
    "function mode": NORMAL,
    "profiler": NORMAL,
    "compiled": NORMAL,
    "forward gradient": NORMAL,
    "hook": NORMAL,
    "other device": NORMAL,
    "one tensor twice": NORMAL,
    "then two tensors": REPLAYED,
    "then one again": REPLAYED,
    "after use()": NORMAL,
    "other operations": [NORMAL] * 3,
    "fake": [0, 0],
}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AUTOKERNEL", "TRITON"))}
    child = subprocess.run(
        [sys.executable, "-m", "tests.kernels.ops.replayed"],
        env={**environment, "TRITON_CACHE_DIR": str(tmp_path_factory.mktemp("cache"))},
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=900,
    )
    assert child.returncode == 0, child.stderr[-2000:]
    return json.loads(child.stdout.splitlines()[-1])


@pytest.mark.parametrize("op", OPS)
def test_a_replay_gives_the_c_function_what_the_normal_road_gave_it(found, op):
    case = found["cases"][op]
    assert case["roads"] == [NORMAL, REPLAYED, REPLAYED, REPLAYED]
    assert case["quick"], "a call with the addresses of an earlier one was looked up by its key"
    assert case["same"], "another launch than that of the normal road"
    assert case["named"], "an input is missing"
    assert case["result"], "the result is missing"
    assert case["stream"], "the stream is missing"
    assert case["shapes"] == 1


@pytest.mark.parametrize("call", ROADS)
def test_what_has_to_take_the_normal_road_does(found, call):
    assert found["roads"][call] == ROADS[call]


def test_descriptors_are_encoded_for_new_addresses_only(found):
    counts = found["descriptors"]
    assert counts["others"] >= 2
    assert counts["same inputs"] == counts["results differ"]


def test_two_launches_by_way_of_fresh_memory_are_replayed(found):
    assert found["workspace"] == {"roads": [[2, 2], [0, 2], [0, 2]], "chained": True}


def keys(*calls):
    return [call_cache.key("op", args, {}) for args in calls]


def test_the_key_tells_apart_what_is_launched_differently(monkeypatch):
    monkeypatch.setattr(call_cache, "is_current", lambda device: True)
    x = torch.randn(8, 16).half()
    first, same, wider, strided, other, typed = keys(
        (x, 1.0), (x.clone(), 1.0), (torch.randn(8, 17).half(), 1.0), (x.t(), 1.0), (x, 2.0), (x, 1)
    )
    assert first[0] == same[0]
    assert len({k[0] for k in (first, wider, strided, other, typed, keys((x.bfloat16(), 1.0))[0])}) == 6
    assert keys((x.view(-1)[1:],), (x.neg().conj(), [1]), (torch.empty(0).half(),), ("text",)) == [None] * 4
    assert keys((torch._neg_view(x),), (x.to_sparse(),)) == [None] * 2
    seen = []
    torch.vmap(lambda row: (seen.extend(keys((row,))), row)[1])(x)
    assert seen == [None]


def test_a_tensor_on_the_cpu_or_another_device_is_not_replayed():
    assert keys((torch.randn(8, 16).half(),)) == [None]


def test_a_tensor_on_a_device_of_another_kind_with_the_current_index_is_not_replayed(monkeypatch):
    monkeypatch.setattr(call_cache, "current_device", lambda: 0)
    for kind in (True, False):
        assert call_cache.is_current(SimpleNamespace(is_cuda=kind, get_device=lambda: 0)) is kind
    assert not call_cache.is_current(SimpleNamespace(is_cuda=True, get_device=lambda: 1))


def test_a_launcher_of_another_form_is_said_once(monkeypatch):
    recorded_call._warn_once.cache_clear()
    kernel = SimpleNamespace(run=SimpleNamespace())
    with pytest.raises(launcher.UnknownLauncher, match="SimpleNamespace"):
        launcher.restart(kernel, (1, 1, 1, 0, 77, (4, 1, 0), None, None, None), {})
    x, out = torch.randn(8), torch.empty(8)
    noted = [(kernel, (1, 1, 1, 0, 77, (4, 1, 0), None, None, None))]
    monkeypatch.setattr(recorded_call, "launches", lambda: Noted(noted))
    for warns in (True, False):
        recorded = recorded_call.Recording([x])
        if warns:
            with pytest.warns(recorded_call.SlowLaunchWarning, match="cannot be replayed"):
                recorded.watch(lambda: None, (x,), out)
        else:
            recorded.watch(lambda: None, (x,), out)
        assert recorded.replay(out) is None


class Noted(list):
    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None


def test_only_so_many_calls_are_kept(monkeypatch):
    monkeypatch.setattr(call_cache, "is_current", lambda device: True)
    monkeypatch.setattr(call_cache, "MOST_CALLS", 3)
    monkeypatch.setattr(call_cache, "_calls", {})
    op = call_cache.replayed(lambda x, option: x)
    x = torch.randn(8)
    for option in range(5):
        assert op(x, option) is x
    assert [k[-2] for k in call_cache._calls] == [2, 3, 4]
