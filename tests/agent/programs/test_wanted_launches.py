"""Which launches of a capture the user names."""

from types import SimpleNamespace

import pytest

from agent.errors import UsageError
from agent.programs.improvement.wanted_launches import select_launches
from kernels.capture.reading.captured_launches import Capture


def test_a_kernel_whose_parts_are_missing_is_told_from_one_that_was_not_there():
    there = SimpleNamespace(name="gated", digest="0123456789", function={"module": "m", "qualname": "gated"})
    capture = Capture("run.capture", [there], {}, [], 1, [], 1, ["paged (3d19f617)"])
    assert select_launches(capture, "gated, 012345") == [there]
    with pytest.raises(UsageError, match="misses a part of each launch of paged: capture the program again"):
        select_launches(capture, "gated,paged")
    with pytest.raises(UsageError, match="holds no launch of softmax: choose one of gated"):
        select_launches(capture, "softmax")
