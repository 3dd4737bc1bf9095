"""Children that stand for the profiler's process, and what real profilers raise."""

import os
import sys

ABORTED = "terminate called after throwing an instance of 'std::runtime_error'\n  what():  {}\n"
"""What libstdc++ prints if Proton raises inside a callback of CUPTI."""
NO_PERMISSION = "Failed to execute cuptiPCSamplingEnable with error 35"
HELD = "Failed to execute cuptiSubscribe with error 39"


def dying(init):
    return lambda job: os._exit(3)


def empty(init):
    return lambda job: {"kernels": {}, "samples": {}, "frames": {}}


def aborted(init):
    """Times a kernel, and dies as Proton does where counters are not permitted."""

    def serve(job):
        if job["mode"] == "stalls":
            sys.stderr.write(ABORTED.format(NO_PERMISSION))
            sys.stderr.flush()
            os.abort()
        return showing(init)(job)

    return serve


def showing(init):
    """A card that shows the kernels of the first exam's memory-bound cases."""

    def serve(job):
        if job["mode"] == "about":
            from kernels.hardware import hardware_named
            from kernels.hardware.gpu_facts import to_json

            return {"name": "NVIDIA H200", "facts": to_json(hardware_named("H200"))}
        if job["mode"] == "times":
            return {"kernels": {"arithmetic": [20 * 63.9e3, 20]}, "samples": {}, "frames": {}, "cycles": {}}
        if job["mode"] == "cycles":
            return {"missing": "no scope"}
        samples = {"long_scoreboard": 14378, "selected": 427, "wait": 284}
        return {"kernels": {}, "samples": samples, "frames": {"planted.py:75@arithmetic": 15089}, "launches": 1}

    return serve


class Launch:
    """A :class:`ProfiledLaunch` without a GPU; `error` is raised by every launch under a profiler."""

    error = None
    watched = False

    def __init__(self, job, index):
        pass

    def again(self):
        if self.error is not None and self.watched:
            raise self.error

    def warm_up(self):
        self.again()
        return 0.2

    def flush(self):
        pass

    def wait(self):
        pass
