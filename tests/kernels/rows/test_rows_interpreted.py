"""Memory-bound kernels and attention against float64 references in Triton's interpreter."""

from itertools import product

import pytest

pytestmark = pytest.mark.process

SHAPES = [(1, 1), (3, 17), (5, 1023), (2, 1024), (33, 65), (7, 4097)]
WHOLE = [{"family": "row", "ROWS": r, "num_warps": 16} for r in (1, 4)]
LOOPED = [{"family": "loop", "ROWS": r, "num_warps": 4, "BLOCK_N": 512, "STREAM": s} for r, s in ((1, 2), (4, 0))]
WALKING_ROWS = [
    {"family": "walk", "ROWS": r, "num_warps": 16, "PER_SM": 1, "num_stages": s, "STREAM": t}
    for r, s, t in ((1, 1, 1), (2, 2, 2))
]
FLAT = [{"family": "flat", "BLOCK": 512, "num_warps": 4}]
WALKING = [{"family": "loop", "BLOCK": 256, "num_warps": 4, "PER_SM": 2, "num_stages": 2}]
HEADS = [((1, 1, 1, 64, 1), (64, 64)), ((2, 4, 70, 64, 2), (64, 32)), ((1, 2, 129, 128, 2), (32, 64))]


def cases():
    for kernel, dtype, (m, n) in product(("softmax", "rms_norm", "layer_norm", "swiglu"), ("fp16", "bf16"), SHAPES):
        for c in FLAT + WALKING if kernel == "swiglu" else WHOLE + LOOPED + WALKING_ROWS:
            label = f"{kernel}-{dtype}-{m}x{n}-{c['family']}-{c.get('ROWS', '')}"
            yield label, kernel, {"M": m, "N": n, "dtype": dtype}, c
    for dtype, causal, family in product(("fp16", "bf16"), (True, False), ("pointer", "tma")):
        for (b, h, s, d, group), blocks in HEADS:
            c = {"family": family, "BLOCK_M": blocks[0], "BLOCK_N": blocks[1], "num_warps": 4, "num_stages": 2}
            problem = {"B": b, "H": h, "S": s, "D": d, "GROUP": group, "causal": causal, "dtype": dtype}
            yield f"attention-{dtype}-{causal}-{family}-{b}x{h}x{s}x{d}", "attention", problem, c
    yield "rms_norm-eps", "rms_norm", {"M": 3, "N": 100, "eps": 0.5}, WHOLE[0]
    yield "layer_norm-eps", "layer_norm", {"M": 3, "N": 1500, "eps": 0.5}, LOOPED[0]


CASES = list(cases())


@pytest.mark.sampled(4)
@pytest.mark.parametrize("index", range(len(CASES)), ids=[label for label, *_ in CASES])
def test_result_is_within_the_tolerance_and_inputs_are_untouched(interpreted, index):
    _, kernel, problem, config = CASES[index]
    answer = interpreted(kernel, problem, config, seed=index)
    assert answer["error"] <= answer["bound"], answer
    assert answer["unchanged"]
