"""Device workers without a GPU that take their time and note it. Imports little: many of them are started."""

import fcntl
import json
import os
import signal
import time
from pathlib import Path

from tools.harness.process.gpu_lock import GpuLock

TIMES = {"unfused": 2.0, "compiled": 1.5, "config": 1.0}
CPU_S, GPU_S, JOB_S, ANSWERS_AFTER_S = 0.04, 0.02, 0.01, 1.0


def locked(path):
    """Whether somebody holds the lock."""
    with open(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def scripted(init):
    """A worker without a GPU that notes from when to when it had it, and prepares as the file `how` says."""
    folder, lock, ready = Path(os.environ["NOTES"]), GpuLock(init["lock"]), set()

    def note(what, began, job):
        line = {"what": what, "began": began, "ended": time.monotonic(), "pid": os.getpid(), "job": job}
        with (folder / "notes").open("a") as f:
            f.write(json.dumps(line) + "\n")

    def has_the_gpu(job, seconds):
        began = time.monotonic()
        assert locked(init["lock"])
        time.sleep(seconds)
        note("gpu", began, job)

    def prepare(job):
        began = time.monotonic()
        when, _, how = (folder / "how").read_text().partition(" ")
        broken = job["baseline"] == "compiled" and (when == "always" or job["shares_gpu"])
        if broken and how == "hangs":
            time.sleep(600)
        if broken and how == "dies":
            os.kill(os.getpid(), signal.SIGSEGV)
        if broken and how == "is killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if broken and how == "raises":
            raise ValueError("a fault of ours")
        if broken and how in ("fails", "breaks"):
            return {"status": "runtime", "reason": "no such operator", "broken": how == "breaks"}
        for _ in range(8 if job["shares_gpu"] else 1):
            time.sleep(CPU_S)
            if job["shares_gpu"]:
                with lock:
                    has_the_gpu(job, 600 if broken and how == "hangs on the GPU" else GPU_S)
            else:
                has_the_gpu(job, GPU_S)
        ready.add(job["baseline"])
        note("prepared", began, job)
        return {"status": "correct"}

    def serve(job):
        if job["op"] == "info":
            return {"name": "NVIDIA H200", "torch": "none"}
        if job["op"] == "open":
            has_the_gpu(job, GPU_S)
            return {}
        if job["op"] == "prepare":
            return prepare(job)
        assert job.get("baseline") in ready | {None}
        has_the_gpu(job, JOB_S)
        if job["op"] == "ceilings":
            return {"copy_bytes_per_s": 4e12, "matmul_flops_per_s": 7e14}
        ms = TIMES[job.get("baseline", "config")]
        return {"status": "correct", "samples_ms": [ms] * job.get("samples", 1), "error": 0.0, "bound": 1.0}

    return serve


def slow_to_answer(init):
    """Says when it was ready for its init: it imports before."""

    def serve(job):
        time.sleep(ANSWERS_AFTER_S)
        return {"name": "NVIDIA H200", "torch": init["kernel"]}

    return serve
