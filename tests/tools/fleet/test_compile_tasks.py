"""Compiling as Ray tasks: same answers as in processes of one's own, and the code reaches another host's cache."""

import pytest

from kernels.hardware import hardware_named
from tests.exploits.axpy import Axpy, AxpyConfig, AxpyProblem
from tests.faults.broken import CompilerRefuses, Segfaults
from tools.fleet.artifacts import FIGURES, unpack
from tools.fleet.compile_tasks import FleetCompilePool
from tools.harness.compiling.compile_pool import LocalCompilePool

pytestmark = pytest.mark.compile

ray = pytest.importorskip("ray", reason="several GPUs need triton-autokernel[ray]")

H200 = hardware_named("H200")
CONFIG = AxpyConfig(BLOCK=512)


@pytest.fixture(scope="module")
def pool(cluster):
    pool = FleetCompilePool(ray, H200)
    yield pool
    pool.close()


def entries(cache):
    return {
        d.name: sorted((f.name, f.stat().st_mtime_ns) for f in d.iterdir())
        for d in cache.iterdir()
        if d.name != FIGURES
    }


def test_what_a_task_compiled_is_a_cache_hit_elsewhere(pool, tmp_path):
    [there] = pool.compile(Axpy(), AxpyProblem(), [CONFIG])
    assert there.status == "correct"
    unpack(ray.get(pool.files(CONFIG)), tmp_path)
    before = entries(tmp_path)
    assert any(name.endswith(".cubin") for files in before.values() for name, _ in files)
    here = LocalCompilePool(H200, workers=1, cache=tmp_path)
    [again] = here.compile(Axpy(), AxpyProblem(), [CONFIG])
    here.close()
    assert entries(tmp_path) == before
    assert (again.fingerprint, again.registers) == (there.fingerprint, there.registers)


def test_what_is_there_already_is_left_alone(pool, tmp_path):
    pool.compile(Axpy(), AxpyProblem(), [AxpyConfig(BLOCK=256)])
    files = ray.get(pool.files(AxpyConfig(BLOCK=256)))
    unpack(files, tmp_path)
    before = entries(tmp_path)
    unpack(files, tmp_path)
    assert entries(tmp_path) == before


@pytest.mark.parametrize(("spec", "reason"), [(CompilerRefuses(), "VALUE has to be two"), (Segfaults(), "SIGSEGV")])
def test_what_does_not_compile_has_its_status(pool, spec, reason):
    config = AxpyConfig(BLOCK=2048)
    [result] = pool.compile(spec, AxpyProblem(), [config])
    assert result.status == "compile"
    assert reason in result.reason
