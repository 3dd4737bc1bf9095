"""mypy reads the programs that measure: a stale call in one is found without a GPU."""

import re
import tomllib
from fnmatch import fnmatchcase

import pytest

from tests.docs.pages import ROOT

MYPY = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
PROGRAMS = sorted(p.name for p in (ROOT / "tests" / "bench").glob("*.py") if not p.name.startswith("test_"))


def setting(module, name, default):
    """As mypy reads it: of the overrides that fit a module the most special one counts."""
    fits = [
        (len(pattern), override[name])
        for override in MYPY["overrides"]
        for pattern in override["module"]
        if name in override and fnmatchcase(module, pattern)
    ]
    return max(fits, default=(0, default))[1]


def test_the_package_is_read():
    assert "tests.bench" in MYPY["packages"]
    assert {"bench_verdict.py", "record_captured.py", "planner_spaces.py"} <= set(PROGRAMS)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_read_and_its_functions_are_annotated(name):
    path, module = f"tests/bench/{name}", f"tests.bench.{name.removesuffix('.py')}"
    assert not any(re.search(pattern, path) for pattern in MYPY["exclude"])
    assert not setting(module, "ignore_errors", False)
    device_code = re.search(r"^@triton.jit", (ROOT / path).read_text(), re.MULTILINE)
    assert setting(module, "disallow_untyped_defs", True) or device_code
