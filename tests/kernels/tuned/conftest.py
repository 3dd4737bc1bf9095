from __future__ import annotations

import pytest

from tools.harness.process.child import Child

DEADLINE_S = 120


@pytest.fixture(scope="package")
def scene(one_cache):
    """A function: what a scene of ``interpreted_scenes.py`` returns."""
    child = Child("tests.kernels.tuned.interpreted_scenes:scenes", {}, {"TRITON_INTERPRET": "1"})
    yield lambda name, *arguments: child.call({"scene": name, "arguments": list(arguments)}, DEADLINE_S)
    child.kill()
