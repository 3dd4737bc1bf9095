"""attention_backward: reference and space on the CPU, the kernels in Triton's interpreter, offline compilation, and
every family on a GPU."""

import pytest
import torch
import torch.nn.functional as F

from kernels import registry
from kernels.attention_backward.space import AttentionBackwardConfig
from kernels.hardware import ALL, hardware_for, hardware_named
from tools.harness.checking.verify import fault

pytestmark = pytest.mark.compile

SPEC = registry.get("attention_backward")
H200 = hardware_named("H200")
SMALL = {"BLOCK_KV": 32, "BLOCK_Q": 16, "num_warps": 4, "num_stages": 2, "DQ_BLOCK_Q": 32, "DQ_BLOCK_KV": 16}
HOPPER = {"BLOCK_KV": 128, "BLOCK_Q": 64, "num_warps": 8, "num_stages": 3}
QUERIES = {"DQ_BLOCK_Q": 128, "DQ_BLOCK_KV": 64, "DQ_WARPS": 8, "DQ_STAGES": 3}
CASES = {
    "causal": ((1, 2, 70, 64), {"causal": True}),
    "whole": ((1, 2, 70, 64), {"causal": False}),
    "shared keys": ((1, 4, 64, 64), {"GROUP": 2, "dtype": "bf16"}),
    "wide heads": ((2, 2, 33, 128), {"GROUP": 2, "dtype": "bf16", "causal": False}),
}


def problem(shape, options):
    return SPEC.parse_problem(shape, options)


def errors(found, references):
    pairs = zip(found, references, strict=True)
    return [((a.double() - r).abs().max() / r.abs().max()).item() for a, r in pairs]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("family", ["pointer", "tma"])
@pytest.mark.parametrize("name", CASES)
def test_every_family_is_within_the_tolerance_and_leaves_its_inputs(interpreted, family, name):
    answer = interpreted("attention_backward", problem(*CASES[name]).model_dump(), {**SMALL, "family": family}, seed=1)
    assert answer["error"] <= answer["bound"], answer
    assert answer["unchanged"]


def test_blocks_of_queries_may_be_larger_than_blocks_of_keys(interpreted):
    config = {**SMALL, "family": "tma", "BLOCK_KV": 16, "BLOCK_Q": 64, "DQ_BLOCK_Q": 16, "DQ_BLOCK_KV": 64}
    answer = interpreted("attention_backward", problem(*CASES["causal"]).model_dump(), config, seed=2)
    assert answer["error"] <= answer["bound"], answer


@pytest.mark.parametrize("name", CASES)
def test_the_reference_is_autograds_gradient(name):
    p = problem(*CASES[name])
    inputs = SPEC.inputs(p, torch.Generator().manual_seed(3), "cpu")
    q, k, v = (t.double().requires_grad_() for t in inputs[:3])
    out = F.scaled_dot_product_attention(q, k, v, is_causal=p.causal, enable_gqa=p.GROUP > 1)
    wanted = torch.autograd.grad(out, (q, k, v), inputs[5].double())
    reference, bound = SPEC.reference(p, inputs), SPEC.tolerance(p)
    assert max(errors(reference, wanted)) < bound / 2  # out is rounded in the inputs
    assert max(errors(SPEC.eager(p, inputs), reference)) <= bound
    assert [tuple(t.shape) for t in SPEC.output(p, "meta")] == [tuple(t.shape) for t in reference]


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_a_forgotten_part_of_the_formula_is_rejected(dtype):
    p = problem((1, 2, 64, 64), {"dtype": dtype})
    q, k, v, out, lse, dout = SPEC.inputs(p, torch.Generator().manual_seed(4), "cpu")
    reference, bound = SPEC.reference(p, (q, k, v, out, lse, dout)), SPEC.tolerance(p)
    whole = p.model_copy(update={"causal": False})
    wrong = {
        "the inner product": SPEC.reference(p, (q, k, v, torch.zeros_like(out), lse, dout))[:2],
        "the mask": SPEC.reference(whole, (q, k, v, out, lse, dout)),
        "a block of queries": SPEC.reference(p, (q, k, v, out, lse, dout * (torch.arange(64) < 48)[:, None])),
    }
    for what, found in wrong.items():
        assert min(errors(found, reference[: len(found)])) > bound, what


@pytest.mark.parametrize("hardware", ALL, ids=lambda h: h.name)
def test_spaces_are_legal_without_repeats_and_not_too_large(hardware):
    for shape, options in ((None, {}), ((1, 8, 1000, 64), {"causal": False, "GROUP": 8})):
        p = problem(shape, options)
        space = SPEC.space(p, hardware)
        assert 5 <= len(set(space)) == len(space) <= 600
        assert SPEC.constraint(p, SPEC.default_config(p, hardware), hardware) is None


@pytest.mark.parametrize(
    ("broken", "name"),
    [
        ({"family": "fused", "DQ_WARPS": 8}, "unused_field"),
        ({"family": "tma", "BLOCK_Q": 128}, "registers"),
        ({"family": "tma", "DQ_BLOCK_KV": 128, "DQ_WARPS": 4, "DQ_BLOCK_Q": 128}, "registers"),
        ({"family": "fused", "num_stages": 4}, "shared_memory"),
        ({"family": "warp_specialized"}, "shared_memory"),
        ({"family": "warp_specialized", "BLOCK_KV": 64}, "consumers"),
        ({"family": "warp_specialized", "num_stages": 1, "AHEAD": True}, "ahead_stages"),
        ({"family": "fused", "num_stages": 2, "AHEAD": True}, "unused_field"),
    ],
)
def test_what_a_config_breaks_has_a_name(broken, name):
    p = SPEC.default_problem()
    assert SPEC.constraint(p, AttentionBackwardConfig(**{**HOPPER, **broken}), H200).startswith(f"{name}: ")


def test_warp_specialized_names_what_it_lacks(monkeypatch):
    chosen = AttentionBackwardConfig(**{**HOPPER, "family": "warp_specialized", "num_stages": 2})
    assert SPEC.constraint(SPEC.default_problem(), chosen, H200) is None
    assert SPEC.constraint(problem((1, 2, 700, 64), {}), chosen, H200).startswith("whole_blocks: ")
    assert SPEC.constraint(SPEC.default_problem(), chosen, hardware_named("B200")).startswith("gluon_hardware: ")
    monkeypatch.setattr("kernels.attention_backward.space.has_gluon", lambda: False)
    assert SPEC.constraint(SPEC.default_problem(), chosen, H200).startswith("gluon_missing: ")


@pytest.mark.sampled(3)
@pytest.mark.parametrize("family", ["tma", "fused", "warp_specialized"])
def test_hopper_kernels_use_its_instructions(compile_pool, family):
    more = {"tma": QUERIES, "warp_specialized": {"num_stages": 2, "AHEAD": True}}.get(family, {})
    chosen = AttentionBackwardConfig(**{**HOPPER, "family": family, **more})
    (found,) = compile_pool("H200").compile(SPEC, SPEC.default_problem(), [chosen])
    assert found.status == "correct", found.reason
    assert found.tensor_core == "wgmma"
    assert found.tma
    if family == "warp_specialized":  # registers decide whether its matrix instructions may overlap
        assert not [w for w in found.warnings if "serialized" in w]


ON_GPU = {
    "causal": ((2, 4, 700, 128), {"causal": True}),
    "whole": ((1, 4, 333, 128), {"causal": False, "dtype": "bf16"}),
    "shared keys": ((1, 8, 512, 128), {"GROUP": 4, "dtype": "bf16"}),
    "narrow heads": ((2, 4, 1025, 64), {"GROUP": 2}),
    "short": ((1, 2, 65, 64), {"causal": True}),
    "whole blocks": ((2, 9, 640, 128), {"causal": True}),
    "whole blocks, not causal": ((1, 6, 384, 128), {"GROUP": 3, "causal": False, "dtype": "bf16"}),
    "narrow whole blocks": ((1, 4, 512, 64), {"GROUP": 2}),
}


FAMILIES = [
    AttentionBackwardConfig(**{**HOPPER, **config})
    for config in (
        {"family": "pointer", "num_stages": 1, "DQ_BLOCK_Q": 64, "DQ_BLOCK_KV": 64},
        {"family": "tma", **QUERIES},
        {"family": "fused"},
        {"family": "fused", "BLOCK_KV": 64, "num_warps": 4, "num_stages": 2},
        {"family": "warp_specialized", "num_stages": 2},
        {"family": "warp_specialized", "num_stages": 2, "AHEAD": True},
        {"family": "warp_specialized", "num_stages": 1},
    )
]


def here():
    return hardware_for(torch.cuda.get_device_name())


@pytest.fixture(scope="module")
def ahead(compile_ahead):
    problems = [problem(*case) for case in ON_GPU.values()]
    return compile_ahead(SPEC, [(p, c) for p in problems for c in FAMILIES if SPEC.constraint(p, c, here()) is None])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("config", FAMILIES, ids=lambda c: " ".join(map(str, c.model_dump().values())))
@pytest.mark.parametrize("name", ON_GPU)
def test_every_family_is_right_on_a_gpu(ahead, name, config):
    p, hardware = problem(*ON_GPU[name]), here()
    why_not = SPEC.constraint(p, config, hardware)
    if why_not:
        pytest.skip(why_not)
    ahead.wait(p, config)
    inputs = SPEC.inputs(p, torch.Generator("cuda").manual_seed(5), "cuda")
    out = SPEC.output(p, "cuda")
    for _ in range(3):
        for t in out:
            t.fill_(float("nan"))
        SPEC.launch(p, config, inputs, out, hardware)
    why, found, bound = fault(SPEC, p, out, inputs)
    assert not why, (why, found, bound)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ON_GPU)
def test_every_baseline_is_right_on_a_gpu(name):
    p = problem(*ON_GPU[name])
    inputs = SPEC.inputs(p, torch.Generator("cuda").manual_seed(6), "cuda")
    for baseline in SPEC.baselines(p):
        if baseline.missing(p) is None:
            why, found, bound = fault(SPEC, p, baseline.prepare(p, inputs)(), inputs)
            assert not why, (baseline.name, why, found, bound)
