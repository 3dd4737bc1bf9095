"""Prints which compile pool a cluster of two hosts gets, how many GPUs measure, what becomes of the attempts when a
host ends in the middle of them, and how many GPUs are left."""

import sys
from collections import Counter
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from tests.exploits.axpy import AxpyProblem
from tests.faults.broken import Faulty, FaultyConfig
from tools.fleet.address import FleetAddress
from tools.fleet.device import FleetDevice


def main(folder):
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "num_gpus": 1})
    other = cluster.add_node(num_cpus=2, num_gpus=1)
    cluster.wait_for_nodes()
    device = FleetDevice.open(
        FleetAddress(cluster.address, None),
        Faulty(),
        AxpyProblem(N=1 << 28),
        cache=folder,
        factory="tests.tools.fleet.scripted:worker",
    )
    said = [type(device.compile_pool()).__name__, len(device.fleet.workers)]
    device.compile_pool().close()
    found = []
    for config, m in device.measure_iter(FaultyConfig(n=n) for n in range(300)):
        found.append((config, m))
        if len(found) == 5:
            cluster.remove_node(other, allow_graceful=False)
    [status] = Counter(m.status for _, m in found)
    print(*said, status, len({c.n for c, _ in found}), sum(w.ready for w in device.fleet.workers))
    device.fleet.close()
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
