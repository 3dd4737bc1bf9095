"""Small files of our own in the exact form of other projects' files: (format, name, text)."""

from __future__ import annotations

import json

from agent.programs.foreign.fla_cache import key_hash

MOE = {
    "1": {
        "BLOCK_SIZE_M": 16,
        "BLOCK_SIZE_N": 64,
        "BLOCK_SIZE_K": 128,
        "GROUP_SIZE_M": 1,
        "num_warps": 4,
        "num_stages": 4,
    },
    "64": {
        "BLOCK_SIZE_M": 32,
        "BLOCK_SIZE_N": 64,
        "BLOCK_SIZE_K": 128,
        "GROUP_SIZE_M": 8,
        "num_warps": 4,
        "num_stages": 3,
    },
    "4096": {
        "BLOCK_SIZE_M": 128,
        "BLOCK_SIZE_N": 128,
        "BLOCK_SIZE_K": 64,
        "GROUP_SIZE_M": 16,
        "num_warps": 8,
        "num_stages": 4,
    },
}
AITER = {
    "M_LEQ_16": {
        "BLOCK_SIZE_M": 16,
        "NUM_KSPLIT": 4,
        "waves_per_eu": 2,
        "matrix_instr_nonkdim": 16,
        "cache_modifier": ".cg",
    },
    "M_LEQ_256": {
        "BLOCK_SIZE_M": 64,
        "NUM_KSPLIT": 1,
        "waves_per_eu": 0,
        "matrix_instr_nonkdim": 16,
        "cache_modifier": None,
    },
    "M_GEQ_4096": {
        "BLOCK_SIZE_M": 256,
        "NUM_KSPLIT": 1,
        "waves_per_eu": 2,
        "matrix_instr_nonkdim": 32,
        "cache_modifier": None,
    },
    "any": {
        "BLOCK_SIZE_M": 128,
        "NUM_KSPLIT": 1,
        "waves_per_eu": 2,
        "matrix_instr_nonkdim": 16,
        "cache_modifier": None,
    },
}
KEY = [5000, "torch.float32", "torch.float32"]
CONFIG = {"kwargs": {"BLOCK": 512}, "num_warps": 2, "num_stages": 2}
WHOLE = {**CONFIG, "num_ctas": 1, "maxnreg": None, "pre_hook": None, "ir_override": None}
FLA = {
    "kernel_name": "tuned",
    "triton_version": "3.9.0",
    "autotune_entries": {key_hash(KEY): {"autotune_key": KEY, "config": {**CONFIG, "num_ctas": 1}}},
}
MEGATRON = {
    "arch": "sm_90",
    "triton": "3.9.0",
    "packages": {"flash-linear-attention": "0.6.0"},
    "source": "train.py",
    "kernels": {"tuned": {"n=5000|torch.float32|torch.float32": CONFIG}},
}
TRITON = {
    "key": KEY,
    "configs_timings": [[{**WHOLE, "kwargs": {"BLOCK": 64}}, [0.3, 0.2, 0.4]], [WHOLE, [0.1, 0.1, 0.2]]],
}
INDUCTOR = {
    "NVIDIA H200+((torch.float16, [64, 64], [64, 1]), (torch.float16, [64, 64], [64, 1]))+alpha=1&beta=1+addmm": [
        {
            "template_id": "triton::mm",
            "BLOCK_M": 32,
            "BLOCK_N": 64,
            "num_warps": 4,
            "num_stages": 3,
            "template_hash": "ab",
        },
        {
            "template_id": "triton::mm",
            "BLOCK_M": 64,
            "BLOCK_N": 64,
            "num_warps": 8,
            "num_stages": 3,
            "template_hash": "ab",
        },
    ]
}


def dumped(value, indent=None, end=""):
    return json.dumps(value, indent=indent) + end


FILES = [
    ("moe", "E=8,N=7168,device_name=NVIDIA_H200.json", dumped(MOE, 4, "\n")),
    (
        "moe",
        "E=8,N=7168,device_name=NVIDIA_H200,dtype=fp8_w8a8,block_shape=[128,128].json",
        dumped({"triton_version": "3.7.1", **MOE}, 4, "\n"),
    ),
    (
        "moe",
        "E=8,N=7168,device_name=NVIDIA_H200,dtype=fp8_w8a8,block_shape=[128, 128]_down.json",
        dumped({**MOE, "triton_version": "3.5.1"}, 4, "\n"),
    ),
    ("moe", "E=16,N=1024,device_name=Intel(R)_Data_Center_GPU_Max_1550.json", dumped(MOE, 4, "\n")),
    ("moe", "N=1536,K=7168,device_name=NVIDIA_H200,dtype=fp8_w8a8,block_shape=[128,128].json", dumped(MOE, 4, "\n")),
    ("aiter", "gfx942-GEMM-A8W8-N=7168-K=2048.json", dumped(AITER, 2, "\n")),
    ("aiter", "gfx950-BATCHED_GEMM-A16W16.json", dumped({"any": AITER["any"]}, 2, "\n")),
    ("megatron", "tuning.json", dumped(MEGATRON, 2, "\n")),
    ("fla", "tuned.json", dumped(FLA, 2, "\n")),
    ("fla", "tuned.json", dumped({**FLA, "default_config": CONFIG}, 2, "\n")),
    ("fla", "older.json", dumped(CONFIG, 2, "\n")),
    ("triton", "tuned.autotune.json", dumped(TRITON)),
    ("inductor", "inductor_lut_20261128_120000_001.json", dumped(INDUCTOR, 2)),
]
