"""Every family against the float64 reference in Triton's interpreter."""

from itertools import product

import pytest

from kernels.gemm.space import GemmConfig

pytestmark = pytest.mark.process

# The largest have six tiles of 64x64: enough for three SMs' persistent programs to walk over two each.
ODD = [(1, 1, 1), (17, 33, 65), (65, 129, 96), (1, 300, 40), (70, 1, 33)]
"""Shapes that only pointers can address, in 16-bit types as in fp8."""
ALIGNED = [(72, 136, 104), (1, 8, 8), (64, 64, 64)]
"""Ragged, tiny and even shapes whose rows are multiples of 16 bytes."""
ALIGNED_FP8 = [(72, 136, 112), (1, 8, 16), (64, 64, 128)]
ACTIVATIONS = ("none", "relu", "leaky_relu", "gelu", "silu")


def config(family, bm=64, bn=64, bk=32, **fields):
    values = {"GROUP_M": 4, "num_warps": 4, "num_stages": 3, **fields}
    return GemmConfig(family=family, BLOCK_M=bm, BLOCK_N=bn, BLOCK_K=bk, **values)


POINTER = config("pointer")
TMA = config("tma")
OVERLAP = config("tma", OVERLAP=True)
PERSISTENT = [
    config("persistent_tma", EPILOGUE_SUBTILE=subtile, FLATTEN=flatten)
    for subtile, flatten in product((1, 2, 4), (False, True))
]


def split(n, k, **fields):
    """A config whose `n` programs each have a step of this K, or ``None``."""
    return config("split_k", SPLIT_K=n, **fields) if k > 32 * (n - 1) else None


def cases():
    """(label, kernel, problem fields, config)."""
    for (m, n, k), layout, dtype in product(ODD + ALIGNED, ("row", "col"), ("fp16", "bf16")):
        problem = {"M": m, "N": n, "K": k, "b_layout": layout, "dtype": dtype}
        shape = f"{m}x{n}x{k}-{layout}-{dtype}"
        yield f"pointer-{shape}", "matmul", problem, POINTER
        if (m, n, k) in ALIGNED:
            yield f"tma-{shape}", "matmul", problem, TMA if layout == "row" else OVERLAP
            for c in PERSISTENT if (m, n, k) == ALIGNED[0] else PERSISTENT[-1:]:
                yield f"persistent-{c.EPILOGUE_SUBTILE}-{c.FLATTEN}-{shape}", "matmul", problem, c
    for activation, bias, dtype in product(ACTIVATIONS, (False, True), ("fp16", "bf16")):
        options = {"activation": activation, "bias": bias, "dtype": dtype}
        label = f"{activation}-{'bias' if bias else 'plain'}-{dtype}"
        yield f"pointer-{label}", "fused_matmul", {"M": 17, "N": 33, "K": 65, **options}, POINTER
        yield f"tma-{label}", "fused_matmul", {"M": 40, "N": 72, "K": 40, **options}, TMA
        yield f"persistent-{label}", "fused_matmul", {"M": 40, "N": 200, "K": 40, **options}, PERSISTENT[-1]
    for (m, n, k), layout, dtype, shares in product(ODD + ALIGNED, ("row", "col"), ("fp16", "bf16"), (2, 4)):
        if c := split(shares, k):
            problem = {"M": m, "N": n, "K": k, "b_layout": layout, "dtype": dtype}
            yield f"split-{shares}-{m}x{n}x{k}-{layout}-{dtype}", "matmul", problem, c
    for activation, (m, n, k) in product(ACTIVATIONS, [(17, 33, 65), (40, 72, 96)]):
        options = {"M": m, "N": n, "K": k, "activation": activation, "bias": True, "dtype": "bf16"}
        yield f"split-{activation}-{m}x{n}x{k}", "fused_matmul", options, split(2, k)
    for shape, scales, fused in product(ODD + ALIGNED_FP8, ("tensor", "row"), (False, True)):
        m, n, k = shape
        problem = {"M": m, "N": n, "K": k, "dtype": "fp8", "b_layout": "col", "scales": scales}
        kernel = "fused_matmul" if fused else "matmul"
        problem |= {"activation": "leaky_relu", "bias": True} if fused else {}
        families = [POINTER, split(2, k)] + ([TMA, PERSISTENT[-1]] if shape in ALIGNED_FP8 else [])
        for c in filter(None, families):
            yield f"fp8-{c.family}-{m}x{n}x{k}-{scales}-{kernel}", kernel, problem, c
    # The largest tiles, and a group that is wider than the tiles along M.
    for family, subtile in (("pointer", 1), ("tma", 1), ("persistent_tma", 4)):
        wide = config(family, 128, 256, 64, EPILOGUE_SUBTILE=subtile, num_warps=8, GROUP_M=16)
        yield f"{family}-128x256x64", "fused_matmul", {"M": 136, "N": 264, "K": 136, "bias": True}, wide


CASES = list(cases())


@pytest.mark.sampled(4)
@pytest.mark.parametrize("index", range(len(CASES)), ids=[label for label, *_ in CASES])
def test_result_is_within_the_tolerance_and_inputs_are_untouched(interpreted, index):
    _, kernel, problem, c = CASES[index]
    answer = interpreted(kernel, problem, c.model_dump(), seed=index)
    assert answer["error"] <= answer["bound"], answer
    assert answer["unchanged"]
