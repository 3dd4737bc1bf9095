"""What a spec launches is found out by several threads at once, as those of a pool of compilers ask for it."""

import time
from concurrent.futures import ThreadPoolExecutor

from triton.runtime import driver
from triton.runtime.jit import JITFunction

from evals.source.source_tasks import slow_kernel
from kernels.editing.owner_launches import owners_launches
from kernels.hardware import hardware_named
from kernels.slow_kernels.layouts import scale_columns

H200 = hardware_named("H200")


def test_threads_find_the_same_launches_and_leave_triton_as_it_was(monkeypatch):
    kernel = slow_kernel("uncoalesced")
    inputs = type(kernel).inputs
    monkeypatch.setattr(type(kernel), "inputs", lambda *given: (time.sleep(0.002), inputs(*given))[1])
    run, active = JITFunction.run, driver._active
    config = kernel.config_type()

    def found(n):
        (launch,) = owners_launches(kernel, kernel.problem_type(M=100, N=n), config, H200)
        return launch.function is scale_columns, launch.arguments["N"], launch.grid

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(found, range(1, 65)))
    assert results == [(True, n, (n, 1, 1)) for n in range(1, 65)]
    assert JITFunction.run is run
    assert driver._active is active
