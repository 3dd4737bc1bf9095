"""Launches in the manner of widely used programs become kernels with all the configs that they allow."""

from __future__ import annotations

import json

import pytest
import torch

from kernels.capture.reading.captured_launches import read_capture
from kernels.captured.captured_kernels import captured_kernel, reference_of
from kernels.hardware import hardware_named
from kernels.launches.leaves import tensors_in

H200 = hardware_named("H200")


@pytest.fixture(scope="module")
def found(scene, tmp_path_factory):
    path = tmp_path_factory.mktemp("styles") / "run.capture"
    scene("capture_styles", str(path))
    capture = read_capture(str(path))
    assert not capture.unseen
    return [captured_kernel(reference_of(str(path), x.digest)) for x in capture.launches]


def named(found, name):
    return [k for k in found if k.captured.name == name]


def test_every_launch_is_captured_and_can_be_launched_anew(found):
    names = sorted(k.captured.name for k in found)
    assert names == sorted(
        [
            "with_lambdas",
            "with_defaults",
            "with_annotations",
            "behind_an_entry",
            "with_descriptor",
            *["copied"] * 3,
            *["with_options"] * 2,
        ]
    )
    for kernel in found:
        tensors = tensors_in(kernel.inputs(kernel.default_problem(), torch.Generator().manual_seed(0), "cpu"))
        assert set(kernel.written) <= set(tensors)


def test_constants_move_if_the_decorators_of_an_importable_kernel_hold_lambdas(found):
    (kernel,) = named(found, "with_lambdas")
    assert {c.BLOCK for c in kernel.space(kernel.default_problem(), H200)} == {16, 32, 64}
    places = json.dumps(kernel.captured.decorators)
    assert '"local"' not in places
    assert kernel.has_hook
    (heuristics, above) = kernel._heuristics[0]
    assert (above, heuristics["EVEN"]({"n": 160, "BLOCK": 64})) == (False, False)
    out = torch.ones(3)
    assert {kwargs["BLOCK"] for kwargs, _ in kernel._hooks} == {32, 64}
    for _, hook in kernel._hooks:
        hook({"out": out.fill_(1.0)})
        assert not out.any()


def test_a_default_may_be_an_attribute_of_what_holds_constants(found):
    (kernel,) = named(found, "with_defaults")
    constants = {n: a["value"] for n, a in kernel.captured.arguments.items() if a.get("constexpr")}
    assert constants == {"BLOCK": 32, "LOW": "-448.0", "HIGH": "448.0"}
    assert kernel.function.fn.__globals__["EIGHT_BITS"].min == -448.0


def test_a_parameter_named_like_an_option_moves_with_it_if_it_is_passed_by_name(found):
    by_name, by_place = sorted(named(found, "with_options"), key=lambda k: -len(k.captured.options))
    options = [{(c.num_warps, c.num_stages) for c in k.launch_space.configs} for k in (by_name, by_place)]
    assert {(8, 2), (16, 2), (8, 4)} <= options[0]
    assert options[1] == {(4, 3)}
    assert (by_name.owner_config().num_warps, by_name.owner_config().num_stages) == (8, 2)
    launched = {}
    by_name.function = {by_name.captured.grid["came_out"][0]: None}

    class Recording(dict):
        def __getitem__(self, grid):
            return lambda **given: launched.update(given)

    by_name.function = Recording()
    problem = by_name.default_problem()
    inputs = by_name.inputs(problem, torch.Generator().manual_seed(0), "cpu")
    by_name.launch(problem, by_name.config_type(num_warps=16, num_stages=2), inputs, {}, None)
    assert (launched["num_warps"], launched["num_stages"]) == (16, 2)


@pytest.mark.compile
@pytest.mark.long
def test_every_style_compiles_for_a_gpu_that_is_not_here(found, compile_pool):
    for kernel in found:
        (result,) = compile_pool("H200").compile(kernel, kernel.default_problem(), [kernel.owner_config()])
        assert result.status == "correct", (kernel.captured.name, result.reason)
