"""Children that do not start, or end whenever they work. Imports nothing heavy: many of them are started."""

import os
import signal
import time


def killed_at_work(init):
    def serve(job):
        os.kill(os.getpid(), signal.SIGKILL)

    return serve


def exits_at_start(init):
    os._exit(3)


def killed_at_start(init):
    os.kill(os.getpid(), signal.SIGKILL)


def crashes_at_start(init):
    os.kill(os.getpid(), signal.SIGSEGV)


def hangs_at_start(init):
    time.sleep(600)


def lacks_a_package(init):
    import a_package_that_is_not_there  # noqa: F401


def refuses(init):
    from tools.harness.process.refusal import Refusal

    raise Refusal("/home/me/kernel.py:4 cannot be imported: ImportError: libdevice.so is not there")


def gpu(how):
    """A device worker without a GPU that plays a GPU with some trouble."""

    def make(init):
        def serve(job):
            gone = os.environ.get("GPU_TROUBLE") == how
            if job["op"] == "info":
                return {"name": "NVIDIA H200", "torch": "none", "triton": "none"}
            if job["op"] == "open":
                lost = gone and (how == "left" or os.path.exists(os.environ["GPU_FLAG"]))
                return (
                    {"missing": "the GPU cannot be used: CUDA error: no CUDA-capable device is detected"}
                    if lost
                    else {}
                )
            if job["op"] == "prepare":
                return {"status": "correct"}
            if job["op"] == "ceilings":
                return {"copy_bytes_per_s": 4e12, "matmul_flops_per_s": 7e14}
            if gone and how == "lost_in_a_launch":
                open(os.environ["GPU_FLAG"], "w").close()
                return {"status": "runtime", "reason": "CUDA error: unknown error", "broken": True}
            if gone and how == "no_c_compiler":
                from tools.harness.process.machine_trouble import describe_trouble

                return {"trouble": describe_trouble(RuntimeError("Failed to find C compiler. Please specify via CC"))}
            if gone and how == "killed_at_work":
                os.kill(os.getpid(), signal.SIGKILL)
            if job["op"] == "stress":
                return {"status": "correct", "tried": ["large"], "seconds": 0.0}
            ms = 1.0 + job["config"]["BLOCK"] / 1e5 if "config" in job else 2.0
            samples = [ms * (1 + 1e-4 * i) for i in range(job["samples"])]
            return {"status": "correct", "samples_ms": samples, "error": 0.0, "bound": 1.0, "seconds": 0.0}

        return serve

    return make


gpu_left, gpu_lost_in_a_launch, gpu_no_c_compiler, gpu_killed_at_work, gpu_well = map(
    gpu, ("left", "lost_in_a_launch", "no_c_compiler", "killed_at_work", "well")
)
