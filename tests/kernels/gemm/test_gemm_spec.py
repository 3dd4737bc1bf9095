"""Inputs, reference, tolerance and baselines of the matmul kernels on the CPU."""

import pytest
import torch

from kernels import registry
from kernels.hardware import hardware_named

SHAPES = [(1, 1, 1), (1, 1, 2), (3, 1, 1), (17, 33, 65), (64, 64, 4096), (8, 8, 65536), (256, 256, 1024)]


def make(m, n, k, seed=0, kernel="fused_matmul", **options):
    spec = registry.get(kernel)
    problem = spec.parse_problem((m, n, k), options)
    return spec, problem, spec.inputs(problem, torch.Generator().manual_seed(seed), "cpu")


def error(out, reference):
    return ((out.double() - reference).abs().max() / reference.abs().max()).item()


@pytest.mark.sampled(3)
@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
@pytest.mark.parametrize("activation", ["none", "relu", "leaky_relu", "gelu", "silu"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))
def test_an_honest_result_is_within_the_tolerance_on_many_seeds(shape, activation, dtype):
    for seed in range(20 if max(shape) < 4096 else 2):
        spec, problem, (a, b, bias) = make(*shape, seed=seed, activation=activation, bias=True, dtype=dtype)
        reference = spec.reference(problem, (a, b, bias))
        honest = (a.float() @ b.float() + bias.float()).to(a.dtype)
        # Round once, after the activation, as the kernel does.
        single = spec.reference(problem, (a.float(), b.float(), bias.float())).to(a.dtype)
        assert error(single, reference) <= spec.tolerance(problem)
        if activation == "none":
            assert error(honest, reference) <= spec.tolerance(problem)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
@pytest.mark.parametrize("activation", ["none", "relu", "leaky_relu", "gelu", "silu"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))
def test_zeros_half_a_result_and_stale_output_are_rejected(shape, activation, dtype):
    for seed in range(5):
        spec, problem, inputs = make(*shape, seed=seed, activation=activation, dtype=dtype)
        reference, bound = spec.reference(problem, inputs), spec.tolerance(problem)
        assert reference.abs().max() > 0.01
        assert error(torch.zeros_like(reference), reference) > bound
        assert error(reference / 2, reference) > bound
        assert error(torch.full_like(reference, 0.5), reference) > bound or reference.numel() == 1
        if reference.numel() > 1:
            stale = reference.clone()
            stale.view(-1)[: reference.numel() // 2] = 0
            assert error(stale, reference) > bound


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
@pytest.mark.parametrize(("shape", "tail"), [((64, 64, 4128), 32), ((64, 64, 65), 1), ((64, 64, 16448), 64)])
def test_a_skipped_tail_of_k_is_rejected(shape, tail, dtype):
    spec, problem, (a, b, bias) = make(*shape, activation="leaky_relu", dtype=dtype)
    reference = spec.reference(problem, (a, b, bias))
    skipped = spec.reference(problem, (a[:, :-tail], b[:-tail], bias))
    assert error(skipped, reference) > spec.tolerance(problem)


def test_fp16_accumulation_over_a_long_k_is_rejected():
    spec, problem, (a, b, bias) = make(64, 64, 4096)
    accumulator = torch.zeros(64, 64, dtype=torch.float16)
    for k in range(0, 4096, 16):
        block = a[:, k : k + 16].float() @ b[k : k + 16].float()
        accumulator = (accumulator.float() + block).half()
    reference = spec.reference(problem, (a, b, bias))
    assert error(accumulator, reference) > spec.tolerance(problem)


def test_a_forgotten_bias_or_activation_is_rejected():
    spec, problem, (a, b, bias) = make(64, 64, 256, activation="leaky_relu", bias=True)
    reference = spec.reference(problem, (a, b, bias))
    assert error(spec.reference(problem, (a, b, None)), reference) > spec.tolerance(problem)
    linear = problem.model_copy(update={"activation": "none"})
    assert error(spec.reference(linear, (a, b, bias)), reference) > spec.tolerance(problem)


@pytest.mark.parametrize("layout", ["row", "col"])
def test_inputs_have_the_layout_asked_for_and_follow_the_seed(layout):
    _, problem, (a, b, bias) = make(24, 40, 56, b_layout=layout, bias=True)
    assert (a.shape, b.shape, bias.shape) == ((24, 56), (56, 40), (40,))
    assert a.stride() == (56, 1)
    assert b.stride() == ((40, 1) if layout == "row" else (1, 56))
    again = make(24, 40, 56, b_layout=layout, bias=True)[2]
    other = make(24, 40, 56, b_layout=layout, bias=True, seed=1)[2]
    assert all(torch.equal(x, y) for x, y in zip((a, b, bias), again, strict=True))
    assert not any(torch.equal(x, y) for x, y in zip((a, b, bias), other, strict=True))
    meta = registry.get("fused_matmul").inputs(problem, None, "meta")
    assert [(t.shape, t.stride(), t.dtype) for t in meta] == [(t.shape, t.stride(), t.dtype) for t in (a, b, bias)]


@pytest.mark.parametrize("k", [1, 64, 65536])
def test_outputs_are_of_order_one_for_any_k(k):
    spec, problem, inputs = make(32, 32, k)
    largest = spec.reference(problem, inputs).abs().max().item()
    assert 1 < largest < 30


def test_work_is_counted_once():
    spec, problem, _ = make(2, 3, 5, activation="silu", bias=True)
    assert spec.flops(problem) == 60
    assert spec.bytes(problem) == 2 * (10 + 15 + 6 + 3)


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("activation", ["none", "relu", "leaky_relu", "gelu", "silu"])
def test_baselines_that_claim_to_be_equivalent_compute_the_same(activation, bias, dtype):
    spec, problem, inputs = make(16, 24, 32, activation=activation, bias=bias, dtype=dtype)
    reference = spec.reference(problem, inputs)
    baselines = spec.baselines(problem)
    assert baselines[0].name == "unfused"
    assert len({b.name for b in baselines}) == len(baselines)
    for baseline in baselines:
        if baseline.name == "compiled" or baseline.missing(problem) is not None:
            continue
        out = baseline.prepare(problem, inputs)()
        assert (out.shape, out.dtype) == (reference.shape, problem.torch_dtype)
        # Eager PyTorch rounds once per operation, so it may err by a few units where the kernel errs by one.
        close = error(out, reference) <= 4 * spec.tolerance(problem)
        if baseline.equivalent:
            assert close, baseline.title
        elif dtype == "fp16":  # in bf16 four units hide the slope of a leaky relu
            assert not close, baseline.title


def fp8(shape, seed=0, **options):
    spec = registry.get("fused_matmul")
    problem = spec.parse_problem(shape, {"dtype": "fp8", **options})
    return spec, problem, spec.inputs(problem, torch.Generator().manual_seed(seed), "cpu")


@pytest.mark.parametrize("scales", ["tensor", "row"])
def test_fp8_inputs_use_the_range_of_e4m3_and_their_scales_undo_it(scales):
    spec, problem, (a, b, bias, a_scale, b_scale) = fp8((96, 160, 128), scales=scales, bias=True)
    assert (a.dtype, b.dtype, bias.dtype) == (torch.float8_e4m3fn, torch.float8_e4m3fn, torch.bfloat16)
    assert (a.stride(), b.stride()) == ((128, 1), (1, 128))
    assert (a_scale.numel(), b_scale.numel()) == ((96, 160) if scales == "row" else (1, 1))
    assert 150 < a.float().abs().max() <= 448
    assert not b.float().isnan().any()
    assert 1 < spec.reference(problem, (a, b, None, a_scale, b_scale)).abs().max() < 30
    meta = spec.inputs(problem, None, "meta")
    assert [(t.shape, t.stride(), t.dtype) for t in meta] == [
        (t.shape, t.stride(), t.dtype) for t in (a, b, bias, a_scale, b_scale)
    ]
    assert spec.output(problem, "meta").dtype == torch.bfloat16


@pytest.mark.parametrize("scales", ["tensor", "row"])
@pytest.mark.parametrize(
    ("shape", "activation"), [((32, 48, 64), "none"), ((32, 48, 64), "silu"), ((17, 33, 65), "relu")]
)
def test_fp8_baselines_compute_the_same_and_the_ceiling_does_not(shape, activation, scales):
    spec, problem, inputs = fp8(shape, activation=activation, scales=scales, bias=True)
    reference = spec.reference(problem, inputs)
    baselines = [b for b in spec.baselines(problem) if b.name != "compiled"]
    assert [b.name for b in baselines] == ["unfused", "cublas"]
    for b in baselines:
        out = b.prepare(problem, inputs)()
        assert (out.shape, out.dtype) == (reference.shape, torch.bfloat16)
        assert (error(out, reference) <= 4 * spec.tolerance(problem)) is b.equivalent, b.title


def truncated(x, exponents):
    """`x` cut off, towards zero, 13 bits below 2^exponent."""
    unit = torch.exp2(exponents - 13)
    return (x / unit).trunc() * unit


def test_fp8_tolerance_admits_the_tensor_core_and_little_more():
    """The accumulation that the tolerance is derived from, step by step, and what must not pass."""
    spec, problem, inputs = fp8((64, 64, 4096), activation="leaky_relu")
    reference, bound = spec.reference(problem, inputs), spec.tolerance(problem)
    a, b, _, a_scale, b_scale = inputs
    acc = torch.zeros(64, 64, dtype=torch.float64)
    for k in range(0, 4096, 32):
        products = a[:, k : k + 32].double()[:, :, None] * b[k : k + 32].double()[None, :, :]
        terms = torch.cat([products, acc[:, None, :]], dim=1)
        largest = terms.abs().amax(dim=1, keepdim=True).clamp_min(2.0**-126).log2().floor()
        acc = truncated(terms, largest).sum(dim=1)
    out = torch.nn.functional.leaky_relu(acc * a_scale.double() * b_scale.double(), 0.01).bfloat16()
    assert error(out, reference) <= bound
    assert bound < 0.05
    halved = (a, b, None, a_scale * 1.1, b_scale)
    assert error(spec.reference(problem, halved), reference) > bound
    skipped = spec.reference(problem, (a[:, :-32], b[:-32], None, a_scale, b_scale))
    assert error(skipped, reference) > bound
    linear = spec.reference(problem.model_copy(update={"activation": "none"}), inputs)
    assert error(linear, reference) > bound


def test_fp8_work_counts_bytes_by_type():
    spec, problem, _ = fp8((16, 32, 64), scales="row", bias=True)
    assert spec.bytes(problem) == 16 * 64 + 64 * 32 + 2 * (16 * 32 + 32) + 4 * (16 + 32)


def test_matmul_alone_has_no_baseline_that_repeats_another():
    spec = registry.get("matmul")
    assert [b.name for b in spec.baselines(spec.default_problem())] == ["unfused", "compiled"]


def test_gluon_configs_say_why_they_cannot_be_interpreted():
    spec = registry.get("matmul")
    space = spec.space(spec.default_problem(), hardware_named("H200"))
    assert {c.family for c in space if spec.interpretable(c)} == {"warp_specialized"}
    assert all("Gluon" in (spec.interpretable(c) or "Gluon") for c in space)
