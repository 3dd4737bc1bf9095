"""Device workers without a GPU. In a file of their own, because their processes are many and import nothing heavy."""

import os
import signal
import time

TIMES = {"unfused": 2.0, "config": 1.0}
"""Milliseconds of the scripted worker's launches; far above any floor."""


def breaking(init):
    """A worker without a GPU: answers like the real one, breaks as the job's config says."""

    def serve(job):
        if job["op"] == "info":
            return {"name": "NVIDIA H200", "torch": "none"}
        if job["op"] == "open":
            return {"missing": "the GPU has gone"} if os.environ.get("GPU_GONE") else {}
        if job["op"] == "ceilings":
            return {"copy_bytes_per_s": 4e12, "matmul_flops_per_s": 7e14}
        fault = job.get("config", {}).get("fault", "none")
        if fault == "never_ends":
            time.sleep(600)
        if fault == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        if fault == "exit":
            os._exit(7)
        if fault == "out_of_bounds":
            return {"status": "runtime", "reason": "illegal memory access", "broken": True}
        if fault == "wrong":
            return {"status": "correctness", "reason": "off by one"}
        if fault == "out_of_memory":  # stands for a worker that somebody kills whenever it works
            os.kill(os.getpid(), signal.SIGKILL)
        if job["op"] == "stress":
            return {"status": "correct", "tried": ["large"], "seconds": 0.0}
        ms = TIMES.get(job.get("baseline", "config"), 3.0) * (1 + 1e-3 * job.get("config", {}).get("n", 0))
        samples = [ms * (1 + 1e-4 * i) for i in range(job.get("samples") or job["windows"])]
        return {"status": "correct", "samples_ms": samples, "error": 0.0, "bound": 1.0, "seconds": 0.0, "cache_hits": 1}

    return serve


JOULES = {256: 1.0, 512: 0.8, 1024: 0.9, 2048: 2.0}
MS = {256: 1.0, 512: 1.02, 1024: 1.01, 2048: 1.5}


def frugal(init):
    """A card on which the fastest config is not the most frugal one."""

    def serve(job):
        if job["op"] == "info":
            return {"name": "NVIDIA H200", "torch": "none"}
        if job["op"] in ("open", "counter"):
            return {}
        if job["op"] == "stress":
            return {"status": "correct", "tried": ["large"], "seconds": 0.0}
        block = job.get("config", {}).get("BLOCK")
        ms, joules = (MS[block], JOULES[block]) if block else (2.0, 1.6)
        if job.get("config", {}).get("n") == 7:
            joules = None
        samples = [ms * (1 + 1e-4 * i) for i in range(job.get("samples") or job["windows"])]
        answer = {"status": "correct", "samples_ms": samples, "error": 0.0, "bound": 1.0, "seconds": 0.0}
        return answer | ({"joules": joules} if job["op"] == "sustained" else {})

    return serve
