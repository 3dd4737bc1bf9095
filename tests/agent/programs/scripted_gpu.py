"""A worker that plays a GPU for captured launches."""

import json

FASTEST, OTHERS, OWNER, TUNER = 0.08, 0.1, 0.1, 0.09
"""Milliseconds of launches of the example: configs of eight warps, all others, and the two baselines."""
EDITED = 0.05
"""The same of a variant."""


def worker(init):
    """Times by the config. The launch is loaded as the real worker loads it."""
    from tools.harness.measuring.choices import expand
    from tools.harness.process.identity import rebuild

    spec, problem = rebuild(init)
    baselines = [b.name for b in expand(spec.baselines(problem), problem)]

    def serve(job):
        if job["op"] == "info":
            return {"name": "NVIDIA H200", "torch": "none", "triton": "3.9.0"}
        if job["op"] == "ceilings":
            return {"copy_bytes_per_s": 4e12, "matmul_flops_per_s": 7e14}
        if job["op"] == "open":
            return {}
        if job["op"] == "stress":
            return {"status": "correct", "tried": ["large", "tiny", "negative"], "seconds": 0.0, **bits_of(job)}
        if job["op"] == "bits":
            return {"status": "correct", "seconds": 0.0, **bits_of(job)}
        if "baseline" in job:
            assert job["baseline"] in baselines, json.dumps(job)
            ms = {"owner": OWNER, "autotuner": TUNER}.get(job["baseline"], FASTEST)
        else:
            spec.config_type.model_validate(job["config"])
            ms = FASTEST if job["config"]["num_warps"] == 8 else OTHERS
            ms = EDITED if job["config"].get("edit") else ms
        samples = [ms * (1 + 1e-4 * i) for i in range(job["samples"])]
        return {"status": "correct", "samples_ms": samples, "error": 0.0, "bound": 1.0, "seconds": 0.0}

    return serve


def bits_of(job):
    """Bits depend on the number of warps."""
    if job["config"]["num_warps"] == 4:
        return {"bits": "same", "bits_why": ""}
    return {"bits": "differ", "bits_why": "3 of 300 elements of out_ptr"}
