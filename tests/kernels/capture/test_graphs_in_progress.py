"""While a CUDA graph is captured the recorder asks the GPU for nothing."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from kernels.capture.graphs_in_progress import in_progress
from kernels.capture.hooks import Hooks
from kernels.capture.launch_timer import LaunchTimer, Timing


class Event:
    def query(self):
        assert not in_progress(), "CUDA refuses this while a graph is being captured"
        return True

    def elapsed_time(self, other):
        return 1.5


class CUDAGraph:
    def capture_begin(self, fails=False):
        if fails:
            raise RuntimeError("no")

    def capture_end(self):
        pass

    def replay(self):
        pass


def test_readings_wait_until_the_graph_is_captured_and_a_capture_that_fails_ends():
    hooks = Hooks(SimpleNamespace(list_unseen=lambda *what: None))
    hooks._graphs(SimpleNamespace(CUDAGraph=CUDAGraph))
    timer, graph = LaunchTimer(), CUDAGraph()
    timer.pending.append(Timing(Event(), Event()))
    graph.capture_begin()
    assert in_progress()
    assert timer.read() == []
    with pytest.raises(RuntimeError, match="no"):
        graph.capture_begin(fails=True)
    assert in_progress()
    graph.capture_end()
    assert not in_progress()
    assert timer.read() == [1.5]
