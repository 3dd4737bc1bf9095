"""Two hosts: one with a GPU that dies in the middle of its work, one whose GPU goes on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

pytest.importorskip("ray", reason="several GPUs need triton-autokernel[ray]")
ROOT = Path(__file__).parents[3]


def test_a_host_that_goes_costs_nothing_but_time(tmp_path):
    """In a process of its own: Ray has one cluster a process. What Ray says of the host's end is not on stdout."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.tools.fleet.two_hosts", str(tmp_path)],
        cwd=ROOT, env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["FleetCompilePool", "2", "correct", "300", "1"]
