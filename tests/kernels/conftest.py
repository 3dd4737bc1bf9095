"""Children that interpret and compile kernels: one of a kind for the whole session."""

from __future__ import annotations

import functools
import json

import pytest

from tools.harness.compiling.cache import default_cache, triton_environment
from tools.harness.process.child import Child

COMPILED = "tests.kernels.compiled:compiled"
DEADLINE_S = 300
"""A case takes seconds at most; on a machine that has other things to do, many."""


@pytest.fixture(scope="session")
def interpreted():
    """A function: what became of a kernel in Triton's interpreter on inputs drawn from `seed`: its largest ``error``,
    the ``bound`` for it, and whether its inputs were left ``unchanged``."""
    child = Child("tests.kernels.interpreted:interpreted", {}, {"TRITON_INTERPRET": "1"})

    def interpret(kernel, problem, config, seed=0):
        return child.call({"kernel": kernel, "problem": problem, "config": config, "seed": seed}, DEADLINE_S)

    yield interpret
    child.kill()


@pytest.fixture(scope="session")
def compiled_for(one_cache):
    """A function: what the compiler makes of a config for a GPU model (:mod:`tests.kernels.compiled`), its machine code
    (`sass`) if wanted. A case is compiled once, whoever asks."""
    children = {}

    def compiled(hardware, kernel, problem, config, sass=False):
        case = {"kernel": kernel, "problem": problem, "config": config, "sass": sass}
        return ask(hardware, json.dumps({**case, "allocate": problem.get("M", 0) <= 4096 and not sass}))

    @functools.cache
    def ask(hardware, case):
        if hardware not in children:
            environment = triton_environment(default_cache())
            children[hardware] = Child(COMPILED, {"hardware": hardware}, environment, forked=True)
        return children[hardware].call(json.loads(case), DEADLINE_S)

    yield compiled
    for child in children.values():
        child.kill()
