"""GPUs without a GPU: cards of one model, every second one 10 % slower, driven through real children of real actors."""

import os
import signal
import time
from pathlib import Path

SLOWER = 1.1
TIMES = {"unfused": 2.0, "config": 1.0}
"""Milliseconds on a fast card."""


def card():
    """0 or 1: whether the GPU that Ray shows to this process is a slow one."""
    return int(os.environ.get("CUDA_VISIBLE_DEVICES", "0")) % 2


def worker(init, name="NVIDIA H200", deadly=False):
    """Answers like the real one; breaks as the job's config says. ``exit`` takes the actor with it: once, or every time
    where it is `deadly`."""

    def serve(job):
        if job["op"] == "info":
            return {"name": name, "torch": "none", "triton": "none"}
        if job["op"] == "open":
            return {}
        if job["op"] == "ceilings":
            return {"copy_bytes_per_s": 4e12, "matmul_flops_per_s": 7e14}
        if job["op"] == "stress":
            return {"status": "correct", "tried": ["large"], "seconds": 0.0}
        config = job.get("config", {})
        if config.get("fault") == "never_ends":
            time.sleep(600)
        if config.get("fault") == "exit":
            end_the_actor(Path(os.environ["AUTOKERNEL_TEST_FLAGS"]) / f"died-{config['n']}", deadly)
        speed = SLOWER if card() else 1.0
        ms = speed * TIMES.get(job.get("baseline", "config"), 3.0) * (1 + 1e-3 * config.get("n", 0))
        time.sleep(0.01)
        samples = [ms * (1 + 1e-4 * i) for i in range(job.get("samples") or job["windows"])]
        return {"status": "correct", "samples_ms": samples, "error": 0.0, "bound": 1.0, "seconds": 0.01}

    return serve


def mixed(init):
    """The fast cards are H200s, the slow ones H100s."""
    return worker(init, "NVIDIA H100 80GB HBM3" if card() else "NVIDIA H200")


def deadly(init):
    return worker(init, deadly=True)


def end_the_actor(flag, again):
    """Kill the actor that this child belongs to; a second time only `again`."""
    if flag.exists() and not again:
        return
    flag.touch()
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)
