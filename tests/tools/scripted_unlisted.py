"""A scripted worker on a GPU that has no published facts."""

from tests.tools.scripted import breaking

FACTS = {
    "name": "NVIDIA H20", "device_names": ["NVIDIA H20"], "backend": "cuda", "arch": 90, "warp_size": 32, "sms": 78,
    "shared_per_block": 232448, "shared_per_sm": 233472, "registers_per_sm": 65536, "threads_per_sm": 2048,
    "blocks_per_sm": 32, "l2_bytes": 62914560, "memory_bytes": 102000000000, "bandwidth": 4.02e12,
    "peak": {"fp16": 632e12, "bf16": 632e12}, "sources": ["the driver"],
    "origins": {"bandwidth": "asked", "peak": "derived"},
}  # fmt: skip


def unlisted(init):
    serve = breaking(init)

    def answer(job):
        if job["op"] == "info":
            return {"name": "NVIDIA H20", "torch": "none", "facts": FACTS}
        if job["op"] == "ceilings":
            assert job["dtype"] == "float16"
            return {"copy_bytes_per_s": 3.5e12, "matmul_flops_per_s": 140e12}
        return serve(job)

    return answer
