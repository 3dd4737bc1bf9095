"""What engineers write with the language passes the fence, and runs."""

import json
import subprocess
import sys

import pytest

from kernels.editing.fence import fence
from kernels.editing.fencing.abstract_values import NUMBER, POINTER, whole
from kernels.editing.owner_function import owner_of
from tests.kernels.editing.fencing.honest_functions import FUNCTIONS, made, source_of

OWNER = owner_of(
    made, {n: POINTER if n.endswith("_ptr") else whole(128) if n == "B" else NUMBER for n in made.arg_names}
)


def test_there_are_at_least_thirty():
    assert len({name for name, *_ in FUNCTIONS}) == len(FUNCTIONS) >= 30


@pytest.mark.parametrize(("statements", "before", "meta"), [f[1:] for f in FUNCTIONS], ids=[f[0] for f in FUNCTIONS])
def test_it_passes(statements, before, meta):
    assert fence(OWNER, source_of(statements, before, meta), meta).source


@pytest.mark.process
@pytest.mark.long
@pytest.mark.parametrize("how", ["interpret", pytest.param("compile", marks=pytest.mark.compile)])
def test_they_run(how):
    command = [sys.executable, "-m", "tests.kernels.editing.fencing.function_results", how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) >= len(FUNCTIONS)
    assert {name: why for name, why in found.items() if why} == {}
