from __future__ import annotations

import pytest

from agent.errors import UsageError
from agent.goal.goal import Given, read_goal
from agent.goal.words.vocabulary import KernelWords

FUSED = KernelWords(
    "fused_matmul",
    ("fused", "fused gemm", "linear"),
    ("M", "N", "K"),
    {
        "dtype": ("fp16", "bf16"),
        "b_layout": ("row", "col"),
        "activation": ("none", "relu", "leaky_relu", "gelu", "silu"),
        "bias": (True, False),
    },
)
MATMUL = KernelWords(
    "matmul",
    ("gemm", "matrix multiplication"),
    ("M", "N", "K"),
    {"dtype": ("fp16", "bf16"), "b_layout": ("row", "col")},
)
KERNELS = (MATMUL, FUSED)


def read(goal, **given):
    return read_goal(goal, Given(**given), KERNELS)


@pytest.mark.parametrize(
    ("goal", "kernel", "shape", "options", "metric"),
    [
        ("maximise fused TFLOPS", "fused_matmul", None, {}, "tflops"),
        ("Maximize fused-matmul TFLOP/s", "fused_matmul", None, {}, "tflops"),
        ("maximise fused_matmul throughput", "fused_matmul", None, {}, None),
        ("tune a fused GEMM 8192x4096x1024 in bf16", "fused_matmul", (8192, 4096, 1024), {"dtype": "bf16"}, None),
        ("matmul of 512 x 512 x 64, half precision", "matmul", (512, 512, 64), {"dtype": "fp16"}, None),
        ("gemm 4096³ bfloat16 bandwidth", "matmul", (4096, 4096, 4096), {"dtype": "bf16"}, "gbps"),
        ("fastest matmul 1024^3", "matmul", (1024, 1024, 1024), {}, "latency"),
        ("fastest matmul by TFLOPS", "matmul", None, {}, "tflops"),
        ("maximise fused TFLOPS per watt", "fused_matmul", None, {}, "tflops_per_watt"),
        ("fused TFLOP/s/W", "fused_matmul", None, {}, "tflops_per_watt"),
        ("gemm memory bandwidth per watt", "matmul", None, {}, "gbps_per_watt"),
        ("matmul GB/s per W", "matmul", None, {}, "gbps_per_watt"),
        ("fused matmul with the least energy", "fused_matmul", None, {}, "joules"),
        ("minimise joules per launch of a gemm", "matmul", None, {}, "joules"),
        ("maximise fused energy efficiency", "fused_matmul", None, {}, "joules"),
        ("best fused performance per watt", "fused_matmul", None, {}, "joules"),
        ("an efficient matmul, efficiency by TFLOPS", "matmul", None, {}, "tflops"),
        (
            "lowest latency of a linear with bias and gelu",
            "fused_matmul",
            None,
            {"bias": True, "activation": "gelu"},
            "latency",
        ),
        (
            "fused matmul without bias, leaky relu",
            "fused_matmul",
            None,
            {"bias": False, "activation": "leaky_relu"},
            None,
        ),
        ("fused matmul + swish, column-major b", "fused_matmul", None, {"activation": "silu", "b_layout": "col"}, None),
        ("a fused matrix multiplication with relu", "fused_matmul", None, {"activation": "relu"}, None),
        ("fused, no activation", "fused_matmul", None, {"activation": "none"}, None),
        ("matmul M=64 N=4096 K=4096", "matmul", None, {"M": 64, "N": 4096, "K": 4096}, None),
        ("MATMUL 4096×4096×512", "matmul", (4096, 4096, 512), {}, None),
    ],
)
def test_a_goal_is_read(goal, kernel, shape, options, metric):
    objective, notices = read(goal)
    assert (objective.kernel, objective.shape, objective.options, objective.metric) == (kernel, shape, options, metric)
    assert notices == []
    assert objective.goal == goal


@pytest.mark.parametrize(
    ("goal", "says"),
    [
        ("make tea", "no kernel"),
        ("", "no kernel"),
        ("maximise TFLOPS", "no kernel"),
        ("42", "no kernel"),
        ("fused attention in fp16", "attention"),
        ("matmul with softmax", "softmax"),
        ("fused matmul with sigmoid", "sigmoid"),
        ("gemm with bias and leaky relu", "matmul has no leaky_relu, bias: say fused_matmul"),
        ("matmul fp16 bf16", "more than one dtype"),
        ("matmul 64x64x64 128x128x128", "more than one shape"),
        ("fused with relu and gelu", "more than one activation"),
        ("fused with bias, no bias", "say one"),
        ("matmul latency and bandwidth", "more than one metric"),
        ("matmul latency and joules", "more than one metric"),
        ("matmul in fp8", "no dtype fp8"),
        ("matmul float32", "no dtype fp32"),
        ("matmul 0x64x64", "positive"),
        ("matmul in 0 evaluations", "at least one"),
        ("matmul " * 1000, "characters"),
    ],
)
def test_a_goal_that_cannot_be_read_is_one_sentence(goal, says):
    with pytest.raises(UsageError) as refused:
        read(goal)
    message = str(refused.value)
    assert says in message
    assert "\n" not in message
    assert len(message) < 600


def test_the_sentence_lists_what_is_known_or_the_nearest_names():
    with pytest.raises(UsageError) as refused:
        read("make tea")
    for word in ("fused_matmul", "matmul", "bf16", "TFLOPS", "docs/GOALS.md"):
        assert word in str(refused.value)
    with pytest.raises(UsageError, match=r"did you mean matmul\?") as refused:
        read("maximise matmull TFLOPS")
    assert len(str(refused.value)) < 200


def test_options_win_over_words_and_the_contradiction_is_said():
    given = {"shape": "64x64x128", "dtype": "bfloat16", "device": "cuda:1", "max_evals": 7}
    objective, notices = read("fused 4096x4096x4096 fp16 on cuda:0 in 20 evaluations", **given)
    assert objective.shape == (64, 64, 128)
    assert objective.options == {"dtype": "bf16"}
    assert objective.device == "cuda:1"
    assert objective.limits.max_evals == 7
    assert len(notices) == 4
    assert "--dtype bf16 overrules fp16 in the goal" in notices


def test_options_that_agree_with_the_words_are_not_remarked_on():
    _, notices = read("fused 64x64x64 fp16", shape="64X64X64", dtype="half")
    assert notices == []


def test_the_kernel_option_wins_and_needs_no_goal():
    objective, notices = read_goal("fused TFLOPS", Given(kernel="matmul"), KERNELS, MATMUL)
    assert (objective.kernel, notices) == ("matmul", ["--kernel matmul overrules fused_matmul in the goal"])
    objective, _ = read_goal("", Given(kernel="matmul"), KERNELS, MATMUL)
    assert objective.kernel == "matmul"


def test_a_kernel_of_the_users_own_keeps_its_address():
    own = KernelWords("mine", (), ("M",), {})
    objective, _ = read_goal("", Given(kernel="my/file.py:Mine", shape="4096"), KERNELS, own)
    assert (objective.kernel, objective.shape) == ("my/file.py:Mine", (4096,))


def test_the_kernel_option_does_not_excuse_a_goal_without_sense():
    with pytest.raises(UsageError):
        read_goal("brew tea", Given(kernel="matmul"), KERNELS, MATMUL)


def test_words_that_change_nothing_are_named():
    objective, notices = read("maximise fused TFLOPS for llama inference", yes=True)
    assert objective.kernel == "fused_matmul"
    assert "llama, inference" in notices[0]


def test_device_gpu_regime_and_limits_are_read():
    objective, notices = read("sustained fused TFLOPS on cuda:2, an H100, within 20 evaluations and 5 minutes")
    assert (objective.device, objective.gpu, objective.regime) == ("cuda:2", "h100", "sustained")
    assert (objective.limits.max_evals, objective.limits.max_seconds) == (20, 300)
    assert notices == []


@pytest.mark.parametrize("shape", ["4096x", "axb", "64x-1x64", "64x0x64", "1e3x4x4", "x", "", "64.5x1x1"])
def test_a_shape_that_is_none_is_refused(shape):
    with pytest.raises(UsageError, match="positive whole numbers"):
        read("matmul", shape=shape)


def test_a_shape_that_is_too_large_is_refused():
    with pytest.raises(UsageError, match="9999999999x1x1 is too large"):
        read("matmul", shape="9999999999x1x1")
