"""A whole program is captured as it is: processes, threads, decorators, kernels of every origin."""

from __future__ import annotations

import pytest
import torch

from kernels.capture.reading.described_arguments import described_arguments
from kernels.capture.reading.rebuilt_functions import CannotRebuild
from kernels.capture.seen_launches import MOST_VALUES
from kernels.launches.drawn import draw

pytestmark = pytest.mark.process


def of(capture, name):
    return [x for x in capture.launches if x.name == name]


def test_exit_code_and_their_own_sitecustomize_are_the_programs(captured):
    code, _, out = captured
    assert code == 7
    assert out.split() == ["cpu", "theirs"]


def test_every_process_and_thread_is_counted(captured):
    _, capture, _ = captured
    assert capture.processes == 3
    # 40 in the thread, two in the main thread, one in the forked and one in the spawned process
    assert sum(x.count for x in of(capture, "doubled")) == 44


def test_a_number_that_changes_with_every_launch_is_no_distinct_launch(captured):
    _, capture, _ = captured
    in_thread = [x for x in of(capture, "doubled") if x.grid["came_out"] == [2]]
    assert MOST_VALUES <= len(in_thread) <= MOST_VALUES + 4  # what Triton specialises on stays apart
    assert sum(x.count for x in in_thread) == 40
    varying = [x for x in in_thread if x.arguments["seed"].get("varies")]
    assert varying
    assert all("value" not in x.arguments["seed"] for x in varying)


def test_decorators_config_and_grid_are_kept(captured):
    _, capture, _ = captured
    (summed,) = of(capture, "summed")
    assert [d["kind"] for d in summed.decorators] == ["autotune", "heuristics"]
    assert summed.config["kwargs"] == {"BLOCK": 16}
    assert summed.autotune["reset_to_zero"] == ["out_ptr"]
    assert "local" in summed.autotune["configs"][0]["pre_hook"]
    assert summed.grid["came_out"] == [4]
    assert summed.grid["reads"] == ["BLOCK"]
    assert {"values": {"BLOCK": 32}, "grid": [2]} in summed.grid["table"]
    assert summed.arguments["EVEN"] == {"type": "bool", "value": True, "constexpr": True}


def test_a_hooks_launch_is_told_apart(captured):
    _, capture, _ = captured
    assert not of(capture, "fill")
    assert capture.unseen["a launch from a hook or a heuristic", "fill"] == 1


def test_local_kernels_and_function_arguments_are_kept(captured):
    _, capture, _ = captured
    (applied,) = of(capture, "applied")
    assert not applied.function["importable"]
    assert applied.arguments["other"] == {"type": "none"}
    twice = capture.functions()[applied.arguments["function"]["function"]]
    assert twice["name"] == "twice"
    assert twice["bindings"]["SCALE"] == {"constexpr": {"constant": "2.0", "type": "float"}}


def test_aliases_and_strides_are_kept(captured):
    _, capture, _ = captured
    aliased = next(x for x in of(capture, "doubled") if x.arguments["n"].get("value") == 16 and len(x.storages) == 1)
    assert aliased.arguments["out_ptr"]["offset"] == 32
    assert aliased.writes == {"out_ptr": ["store"]}
    strided = next(x for x in of(capture, "doubled") if x.arguments["n"].get("value") == 1)
    assert strided.arguments["out_ptr"]["stride"] == [16]


def test_what_is_written_shows_in_the_interpreters_stores(captured):
    _, capture, _ = captured
    assert of(capture, "summed")[0].writes == {"out_ptr": ["atomic"]}
    assert of(capture, "applied")[0].writes == {"x_ptr": ["store"]}


def test_a_store_of_what_was_there_is_a_write(captured):
    _, capture, _ = captured
    (unchanged,) = of(capture, "unchanged")
    assert unchanged.writes == {"x_ptr": ["store"], "pair": ["atomic"]}
    assert unchanged.observed["changed"] == []


def test_float_values_are_distributions(captured):
    _, capture, _ = captured
    values = of(capture, "applied")[0].observed["values"]["x_ptr"]
    assert values["mean"] == 1.0
    assert values["std"] == 0.0
    assert values["all"] == ["1.0"] * 16


def test_launches_are_described_in_the_words_of_hand_written_ones(captured):
    _, capture, _ = captured
    (summed,) = of(capture, "summed")
    described = described_arguments(summed, capture.functions())
    assert described["out_ptr"].role == "inout"
    assert described["x_ptr"].role == "in"
    assert described["n"].value == 64
    drawn, _ = draw(described, torch.Generator().manual_seed(1), "cpu")
    assert drawn["x_ptr"].shape == (64,)
    assert set(drawn["x_ptr"].tolist()) == {1.0, 2.0}  # few floats are kept whole
    varying = [x for x in of(capture, "doubled") if x.arguments["seed"].get("varies")]
    assert described_arguments(varying[0], capture.functions())["seed"].kind == "seed"
    aliased = next(x for x in of(capture, "doubled") if x.arguments["n"].get("value") == 16 and len(x.storages) == 1)
    found = described_arguments(aliased, capture.functions())
    assert found["x_ptr"].storage == found["out_ptr"].storage != ""
    with pytest.raises(CannotRebuild, match="function"):
        described_arguments(of(capture, "applied")[0], capture.functions())
