"""What all tests of a session share, however many processes run them: a compile cache, children, the GPU's turn."""

from __future__ import annotations

import fcntl
import functools
import gc
import os
import re
from collections import Counter
from pathlib import Path

# One thread a process, before anything imports PyTorch or NumPy. The tests run one process a core, and threads that
# wait for one another in a spin take three quarters of what the cores have (85 s of CPU time against 23 s in one file).
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from tests.order import is_named, place, workers

# What the collection of tests makes stays to the end: looking for garbage in it finds none, at 0.4 s a time.
gc.disable()

OTHERS_VARIABLES = ("PYTEST_", "KMP_", "TORCHINDUCTOR_", "RAY_")
"""pytest, OpenMP, PyTorch and Ray set their own when they are first used."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """For ``-n auto``: one for each core; none where a file, a test or the GPU's part was asked for."""
    alone = bool(re.search(r"(?<!not )\bgpu\b", config.option.markexpr)) or any(map(is_named, config.args))
    return 0 if alone else workers()


@pytest.hookimpl(tryfirst=True)  # before pytest leaves out what -m names
def pytest_collection_modifyitems(items):
    """Slow files first: a worker that begins one last would leave the others idle. Of the cases of a test that is
    marked ``sampled(n)`` every n-th stays, and the others are ``long``."""
    items.sort(key=lambda item: place(item.path))
    seen = Counter()
    for item in items:
        if (sampled := item.get_closest_marker("sampled")) is not None:
            name = (item.path, item.originalname)
            if seen[name] % sampled.args[0]:
                item.add_marker(pytest.mark.long)
            seen[name] += 1


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


def pytest_unconfigure():
    gc.unfreeze()  # or nanobind counts as leaked what the modules of tests hold


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    """One GPU test at a time, whichever process has it: they measure. Those that are marked ``gpu(measures=False)`` run
    beside one another."""
    mark = item.get_closest_marker("gpu")
    if mark is None:
        return (yield)
    with (common_folder(item.config) / "gpu.lock").open("w") as turn:  # closing it ends the turn
        fcntl.flock(turn, fcntl.LOCK_EX if mark.kwargs.get("measures", True) else fcntl.LOCK_SH)
        return (yield)


def common_folder(config) -> Path:
    """A folder of this session that all its processes know."""
    own = config._tmp_path_factory.getbasetemp()
    return own.parent if hasattr(config, "workerinput") else own


@pytest.fixture(scope="session")
def common(pytestconfig) -> Path:
    return common_folder(pytestconfig)


@pytest.fixture(scope="session", autouse=True)
def one_cache(common):
    """Every process that the tests start keeps its compiled code where the others look. The developer's own cache is
    left alone, and cold as it is: what is measured in CI is what a fresh machine needs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(common / "cache"))
        yield


@pytest.fixture(autouse=True)
def same_environment(one_cache):
    """A variable that one test leaves behind changes what others see, in whichever order they come."""
    before = dict(os.environ)
    yield
    after = dict(os.environ)
    left = sorted(n for n in before.keys() | after.keys() if before.get(n) != after.get(n))
    if left := [n for n in left if not n.startswith(OTHERS_VARIABLES)]:
        os.environ.clear()
        os.environ.update(before)
        pytest.fail(f"the test left variables changed: {', '.join(left)}")


@pytest.fixture(scope="session")
def reader(one_cache, common):
    """Who types what the documentation says."""
    from tests.docs.reader import Reader

    found = Reader(common)
    yield found
    found.python.close()


@pytest.fixture(scope="session")
def captured_example(common):
    """The launches of the example program in Triton's interpreter: the path of their capture. Nobody adds to it."""
    from filelock import FileLock

    from tests.captures import capture_example

    path = common / "captured_example" / "run.capture"
    path.parent.mkdir(exist_ok=True)
    made = path.with_name("made")
    with FileLock(path.with_name("lock")):
        if not made.exists():
            path.unlink(missing_ok=True)
            capture_example(path)
            made.touch()
    return path


@pytest.fixture(scope="session")
def compile_pool(one_cache):
    """A function: the session's compile pool for a GPU model, with one child that compiles all that is asked of it."""
    from kernels.hardware import hardware_named
    from tools.harness.compiling.compile_pool import LocalCompilePool

    pools = []

    @functools.cache
    def pool(name: str) -> LocalCompilePool:
        pools.append(LocalCompilePool(hardware_named(name), 1))
        return pools[-1]

    yield pool
    for each in pools:
        each.close()


@pytest.fixture(scope="session")
def interpreter():
    """The harness's interpreter, with one child that checks all that is asked of it."""
    from tools.harness.checking.interpreter import Interpreter

    found = Interpreter()
    yield found
    found.close()


@pytest.fixture(scope="session")
def ready_workers(one_cache):
    """Devices on the GPU whose processes were started before they were asked for."""
    from tests.ready import ReadyWorkers
    from tools.harness.compiling.cache import default_cache

    found = ReadyWorkers(default_cache())
    yield found
    found.close()


@pytest.fixture(scope="session")
def shared_worker(one_cache):
    """A worker on the GPU that checks kernels which do no harm, one after another."""
    from tests.ready import SharedWorker
    from tools.harness.compiling.cache import default_cache

    found = SharedWorker(default_cache())
    yield found
    found.close()


@pytest.fixture(scope="session")
def compile_ahead(one_cache):
    """A function: begin to compile a kernel's cases on all cores for this machine's GPU, where this process, too, will
    look for the code (:class:`tests.ready.CompiledAhead`)."""
    import torch

    from kernels.hardware import hardware_for
    from tests.ready import CompiledAhead
    from tools.harness.compiling.cache import default_cache, triton_environment
    from tools.harness.compiling.compile_pool import LocalCompilePool

    pool = LocalCompilePool(hardware_for(torch.cuda.get_device_name()))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in triton_environment(default_cache()).items():
            patch.setenv(name, value)
        yield functools.partial(CompiledAhead, pool)
    pool.close()
