"""A worker that plays a GPU for captured launches."""

import json
import time

FASTEST, OTHERS, OWNER, TUNER = 0.08, 0.1, 0.11, 0.09
"""Milliseconds of launches of the example: configs of eight warps, all others, and the two baselines. The owner's
config takes longer in the baselines' process, at other addresses, than as a config."""
EDITED = 0.05
"""The same of a variant."""


def worker(init):
    """Times by the config. Neither PyTorch nor Triton is imported: a run starts three such processes."""

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
            ms = {"owner": OWNER, "autotuner": TUNER}.get(job["baseline"], FASTEST)
        else:
            ms = FASTEST if job["config"]["num_warps"] == 8 else OTHERS
            ms = EDITED if job["config"].get("edit") else ms
        samples = [ms * (1 + 1e-4 * i) for i in range(job["samples"])]
        return {"status": "correct", "samples_ms": samples, "error": 0.0, "bound": 1.0, "seconds": 0.0}

    return serve


def loading_worker(init):
    """The same, and the launch is loaded as the real worker loads it."""
    from tools.harness.measuring.choices import expand
    from tools.harness.process.identity import rebuild

    serve, (spec, problem) = worker(init), rebuild(init)
    baselines = [b.name for b in expand(spec.baselines(problem), problem)]

    def serve_loaded(job):
        if "baseline" in job:
            assert job["baseline"] in baselines, json.dumps(job)
        elif "config" in job:
            spec.config_type.model_validate(job["config"])
        return serve(job)

    return serve_loaded


def worker_of_wrong_results(init):
    """The same if no config gives what the reference gives, the owner's among them."""
    serve = worker(init)

    def serve_wrong(job):
        if job["op"] == "burst" and "config" in job:
            reason = "scale-relative error 1 is above the bound 4e-06"
            return {"status": "correctness", "reason": reason, "error": 1.0, "bound": 4e-6, "seconds": 0.0}
        return serve(job)

    return serve_wrong


WIDE = 1000
"""Elements from which launches of the sized program are fastest with two warps, and below with eight."""


def sized_worker(init):
    """The same for launches of one kernel with several sizes: the next best is not far behind."""
    serve, elements = worker(init), int(init["problem"]["what"].partition(":")[0])

    def serve_sized(job):
        answer = serve(job)
        if "samples_ms" in answer and "baseline" not in job:
            best, next_best = (2, 8) if elements >= WIDE else (8, 2)
            ms = {best: FASTEST, next_best: 0.085}.get(job["config"]["num_warps"], OTHERS)
            answer["samples_ms"] = [ms * (1 + 1e-4 * i) for i in range(job["samples"])]
        return answer

    return serve_sized


def bits_of(job):
    """Bits depend on the number of warps."""
    if job["config"]["num_warps"] == 4:
        return {"bits": "same", "bits_why": ""}
    return {"bits": "differ", "bits_why": "3 of 300 elements of out_ptr"}


def slow_worker(init):
    """The same if each reading takes long."""
    serve = worker(init)

    def serve_slowly(job):
        if job["op"] == "burst":
            time.sleep(0.4)
        return serve(job)

    return serve_slowly


EARLY_S = 4.0
"""Seconds for the inputs that nobody chose before a variant's final sitting, at most; a finalist gets more."""


def _wrong_on_tiny(init, when):
    """The same if variants are wrong on tiny inputs `when` so many seconds are given for those."""
    serve = worker(init)

    def serve_some_wrong(job):
        if job["op"] == "stress" and job["config"].get("edit") and when(job["most_s"]):
            reason = "on tiny inputs: result out_ptr: scale-relative error 0.1 is above the bound 4e-06"
            return {"status": "correctness", "reason": reason, "seconds": 0.0}
        return serve(job)

    return serve_some_wrong


def worker_of_wrong_variants(init):
    """The same if every variant is wrong on tiny inputs."""
    return _wrong_on_tiny(init, lambda seconds: True)


def worker_of_variants_found_out_late(init):
    """The same if that shows in the final sitting alone."""
    return _wrong_on_tiny(init, lambda seconds: seconds > EARLY_S)
