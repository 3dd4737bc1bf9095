"""One small Ray cluster for all: four GPUs that Ray believes in, and no GPU."""

import os

import pytest


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    ray = pytest.importorskip("ray", reason="several GPUs need triton-autokernel[ray]")
    flags = tmp_path_factory.mktemp("flags")
    os.environ["AUTOKERNEL_TEST_FLAGS"] = str(flags)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init("local", num_cpus=8, num_gpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield flags
    ray.shutdown()
